//! A call of one of our functions.

use std::prelude::v1::*;

use anyhow::{Context, Result, ensure};

use super::shape::Sizes;
use crate::runtime::calls::Size;
use crate::runtime::functions::{EXACT, Function, STRIDES};

/// One call: the function, its form, and the attributes that are lists of integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The function's name in this form.
    pub(crate) name: String,
    pub(super) function: &'static Function,
    /// Whether it is the 8-bit form, in which a matrix takes two inputs: integers and scales.
    int8: bool,
    attributes: Vec<(String, Vec<i64>)>,
}

impl Call {
    /// A call of the function of this name.
    pub(crate) fn new(name: &str, attributes: Vec<(String, Vec<i64>)>) -> Result<Self> {
        let (function, int8) = Function::find(name).with_context(|| format!("function {name} is not known"))?;
        ensure!(function.is_fused(), "function {name} has no block");
        Ok(Self { name: name.into(), function, int8, attributes })
    }

    /// An attribute's integers.
    pub(crate) fn attribute(&self, name: &str) -> Result<&[i64]> {
        let found = self.attributes.iter().find(|(n, _)| n == name);
        found.map(|(_, v)| v.as_slice()).with_context(|| format!("{}: attribute {name} is missing", self.name))
    }

    /// Whether the file wants it in f32, whatever the session computes in: what lower precision would harm.
    pub(super) fn exact(&self) -> bool {
        self.attribute(EXACT).is_ok_and(|v| v == [1])
    }

    /// What an input is called in messages.
    pub(super) fn input_name(&self, index: usize) -> String {
        let name = self.function.inputs_in(self.int8).nth(index).map_or_else(String::new, |(name, _)| name);
        format!("{}: input {index} ({name})", self.name)
    }

    /// Number of its inputs, the first ones, that other blocks compute; the rest are weights.
    pub(crate) fn activations(&self) -> usize {
        self.function.activations()
    }

    /// The output's shape for inputs of these shapes, which must be those of the function.
    pub(in crate::runtime) fn shape(&self, inputs: &[impl AsRef<[Size]>]) -> Result<Vec<Size>> {
        let expected = self.function.inputs_in(self.int8).count();
        ensure!(inputs.len() == expected, "{}: {} inputs, {expected} expected", self.name, inputs.len());
        let mut sizes = Sizes::default();
        for (index, ((_, shape), given)) in self.function.inputs_in(self.int8).zip(inputs).enumerate() {
            sizes.bind(shape, given.as_ref()).with_context(|| self.input_name(index))?;
        }
        let shape = sizes.shape(self.function.output, self.attribute(STRIDES).ok());
        shape.with_context(|| self.name.clone())
    }
}
