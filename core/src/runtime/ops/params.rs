//! The weights and sizes of a call.

use std::prelude::v1::*;

use tract_core::internal::*;

use super::{Call, Linear, Settings};
use crate::runtime::kernels::{Format, Weights};

/// Values of f32 that blocks share.
#[derive(Clone, Debug)]
pub(super) struct Constant(Arc<Tensor>);

impl Constant {
    pub(super) fn values(&self) -> &[f32] {
        // Checked when it was made.
        self.0.try_as_plain_ram().and_then(|t| t.as_slice()).unwrap_or_default()
    }
}

/// A call's inputs and attributes, read with their shapes checked.
#[derive(Debug)]
pub(super) struct Params<'a> {
    call: &'a Call,
    inputs: &'a [&'a TypedFact],
    pub(super) settings: Settings,
}

impl<'a> Params<'a> {
    pub(super) const fn new(call: &'a Call, inputs: &'a [&'a TypedFact], settings: Settings) -> Self {
        Self { call, inputs, settings }
    }

    fn input(&self, index: usize) -> TractResult<&'a TypedFact> {
        let found = self.inputs.get(index).copied();
        found.with_context(|| format!("{}: input {index} is missing", self.call.function))
    }

    /// The sizes of an input without the first, which is the batch.
    pub(super) fn sizes<const N: usize>(&self, index: usize) -> TractResult<[usize; N]> {
        let shape = &self.input(index)?.shape;
        ensure!(shape.rank() == N + 1, "{}: input {index} has {} axes", self.call.function, shape.rank());
        let mut sizes = [0; N];
        for (size, dim) in sizes.iter_mut().zip(shape.iter().skip(1)) {
            *size = dim.to_usize()?;
        }
        Ok(sizes)
    }

    /// The shape of an input that is a weight.
    pub(super) fn shape<const N: usize>(&self, index: usize) -> TractResult<[usize; N]> {
        let shape = self.input(index)?.shape.as_concrete().map(<[usize]>::to_vec).unwrap_or_default();
        let found = shape.as_slice().try_into();
        found.with_context(|| format!("{}: input {index} has shape {shape:?}", self.call.function))
    }

    /// The values of a weight of this shape.
    pub(super) fn values(&self, index: usize, shape: &[usize]) -> TractResult<Vec<f32>> {
        Ok(self.constant(index, shape)?.values().to_vec())
    }

    /// A weight of this shape, shared with other blocks that use it.
    pub(super) fn constant(&self, index: usize, shape: &[usize]) -> TractResult<Constant> {
        let function = &self.call.function;
        let fact = self.input(index)?;
        let tensor = fact.konst.as_ref().with_context(|| format!("{function}: input {index} is no constant"))?;
        ensure!(tensor.shape() == shape, "{function}: input {index} is {:?}, not {shape:?}", tensor.shape());
        tensor.try_as_plain_ram()?.as_slice::<f32>()?;
        Ok(Constant(tensor.clone()))
    }

    pub(super) fn attribute(&self, name: &str) -> TractResult<&'a [i64]> {
        self.call.attribute(name)
    }

    /// Channels that kernels can take.
    pub(super) fn channels(&self, n: usize) -> TractResult<usize> {
        ensure!(n.is_multiple_of(16) && n > 0, "{}: {n} channels, not a multiple of 16", self.call.function);
        ensure!(n <= super::super::kernels::MAX_ROW, "{}: {n} channels", self.call.function);
        Ok(n)
    }

    /// A linear layer: weight (k, n) and, at the next input, bias.
    pub(super) fn linear(&self, index: usize, format: Format) -> TractResult<Linear> {
        let [k, n] = self.shape(index)?;
        self.channels(n)?;
        let weights = Weights::pack(self.settings.kernels, format, &self.values(index, &[k, n])?, n);
        Ok(Linear { weights, bias: self.values(index + 1, &[n])?, k, n })
    }

    /// A 1x1 convolution: weight (n, k, 1, 1) and, at the next input, bias.
    pub(super) fn pointwise(&self, index: usize, format: Format) -> TractResult<Linear> {
        let [n, k, ..] = self.shape::<4>(index)?;
        self.channels(n)?;
        let values = self.values(index, &[n, k, 1, 1])?;
        let matrix: Vec<f32> = (0..k * n).map(|i| values[i % n * k + i / n]).collect();
        let weights = Weights::pack(self.settings.kernels, format, &matrix, n);
        Ok(Linear { weights, bias: self.values(index + 1, &[n])?, k, n })
    }

    /// A depthwise 3x3 convolution (n, 1, 3, 3), its nine taps one after another, and its bias.
    pub(super) fn depthwise(&self, index: usize, n: usize) -> TractResult<(Vec<f32>, Vec<f32>)> {
        let values = self.values(index, &[n, 1, 3, 3])?;
        let taps = (0..9 * n).map(|i| values[i % n * 9 + i / n]).collect();
        Ok((taps, self.values(index + 1, &[n])?))
    }

    /// A norm: gamma and, at the next input, beta.
    pub(super) fn norm(&self, index: usize, n: usize) -> TractResult<[Vec<f32>; 2]> {
        Ok([self.values(index, &[n])?, self.values(index + 1, &[n])?])
    }
}
