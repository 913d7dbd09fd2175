//! A call of one of our functions.

use std::prelude::v1::*;

use anyhow::{Context, Result, ensure};

use super::attributes::Attributes;
use super::shape::Sizes;
use crate::runtime::calls::Size;
use crate::runtime::functions::{EXACT, Function, STRIDES};
use crate::runtime::onnx::message::Attribute;

/// One call: the function, its form and its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The function's name in this form.
    pub(crate) name: String,
    pub(super) function: &'static Function,
    /// Whether it is the 8-bit form, in which a matrix takes two inputs: integers and scales.
    int8: bool,
    attributes: Attributes,
}

impl Call {
    /// A call of the function of this name.
    pub(in crate::runtime) fn new(name: &str, attributes: &[Attribute<'_>]) -> Result<Self> {
        let (function, int8) = Function::find(name).with_context(|| format!("function {name} is not known"))?;
        ensure!(function.is_fused(), "function {name} has no block");
        let attributes = Attributes::read(name, attributes)?;
        Ok(Self { name: name.into(), function, int8, attributes })
    }

    /// The `N` integers of an attribute.
    pub(super) fn attribute<const N: usize>(&self, name: &str) -> Result<[i64; N]> {
        Ok(self.attributes.get(name)?)
    }

    /// Whether the file wants it in f32, whatever the session computes in: what lower precision would harm.
    pub(super) fn exact(&self) -> Result<bool> {
        Ok(self.attributes.flag(EXACT)?)
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
        let strides = match self.function.attributes.contains(&STRIDES) {
            true => Some(self.attribute(STRIDES)?),
            false => None,
        };
        sizes.shape(self.function.output, strides).with_context(|| self.name.clone())
    }
}
