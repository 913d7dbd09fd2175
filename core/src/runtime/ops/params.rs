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

    /// Makes sure that two inputs are of one shape, the batch included.
    pub(super) fn same(&self, first: usize, second: usize) -> TractResult<()> {
        let [a, b] = [&self.input(first)?.shape, &self.input(second)?.shape];
        ensure!(a == b, "{}: inputs {first} and {second} are of shapes {a:?} and {b:?}", self.call.function);
        Ok(())
    }

    /// Whether an input is one for the whole batch.
    pub(super) fn is_one(&self, index: usize) -> TractResult<bool> {
        Ok(self.input(index)?.shape.first().is_some_and(|n| n.is_one()))
    }

    /// Makes sure that two inputs are of one batch.
    pub(super) fn same_batch(&self, first: usize, second: usize) -> TractResult<()> {
        let [a, b] = [&self.input(first)?.shape, &self.input(second)?.shape];
        ensure!(a.first() == b.first(), "{}: inputs {first} and {second} are of two batches", self.call.function);
        Ok(())
    }

    /// The shape of an input that is a weight.
    pub(super) fn shape<const N: usize>(&self, index: usize) -> TractResult<[usize; N]> {
        let shape = self.input(index)?.shape.as_concrete().map(<[usize]>::to_vec).unwrap_or_default();
        let found = shape.as_slice().try_into();
        found.with_context(|| format!("{}: input {index} has shape {shape:?}", self.call.function))
    }

    /// The values of a weight of this shape.
    fn values(&self, index: usize, shape: &[usize]) -> TractResult<Vec<f32>> {
        Ok(self.constant(index, shape)?.values().to_vec())
    }

    /// A weight of this shape, shared with other blocks that use it.
    fn constant(&self, index: usize, shape: &[usize]) -> TractResult<Constant> {
        let tensor = self.tensor(index, shape)?;
        tensor.try_as_plain_ram()?.as_slice::<f32>()?;
        Ok(Constant(tensor.clone()))
    }

    fn tensor(&self, index: usize, shape: &[usize]) -> TractResult<&'a Arc<Tensor>> {
        let function = &self.call.function;
        let fact = self.input(index)?;
        let tensor = fact.konst.as_ref().with_context(|| format!("{function}: input {index} is no constant"))?;
        ensure!(tensor.shape() == shape, "{function}: input {index} is {:?}, not {shape:?}", tensor.shape());
        Ok(tensor)
    }

    pub(super) fn attribute<const N: usize>(&self, name: &str) -> TractResult<[i64; N]> {
        self.call.attribute(name)
    }

    /// Channels that kernels can take.
    pub(super) fn channels(&self, n: usize) -> TractResult<usize> {
        ensure!(n.is_multiple_of(16) && n > 0, "{}: {n} channels, not a multiple of 16", self.call.function);
        ensure!(n <= super::super::kernels::MAX_ROW, "{}: {n} channels", self.call.function);
        Ok(n)
    }

    /// A reader of the weights from the input `first` on.
    pub(super) const fn weights(&'a self, first: usize) -> Reader<'a> {
        Reader { p: self, next: first }
    }
}

/// Reads weights in the order in which a function takes them.
///
/// A matrix comes as one input of f32, or as two: integers of 8 bits and a scale for each output channel. Which of them
/// a product is computed with is the session's choice, not the file's.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    p: &'a Params<'a>,
    next: usize,
}

impl Reader<'_> {
    fn take(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    /// Values of this shape.
    pub(super) fn values(&mut self, shape: &[usize]) -> TractResult<Vec<f32>> {
        let index = self.take();
        self.p.values(index, shape)
    }

    /// Values of this shape, shared with other blocks that use them.
    pub(super) fn constant(&mut self, shape: &[usize]) -> TractResult<Constant> {
        let index = self.take();
        self.p.constant(index, shape)
    }

    /// A norm: gamma and beta.
    pub(super) fn norm(&mut self, n: usize) -> TractResult<[Vec<f32>; 2]> {
        Ok([self.values(&[n])?, self.values(&[n])?])
    }

    /// A matrix (k, n), packed for a product in `format`.
    pub(super) fn matrix(&mut self, format: Format) -> TractResult<(Weights, usize, usize)> {
        let index = self.take();
        let [k, n] = self.p.shape(index)?;
        self.p.channels(n)?;
        let weights = self.pack(index, &[k, n], n, format, |i| i)?;
        Ok((weights, k, n))
    }

    /// A linear layer: matrix (k, n) and bias.
    pub(super) fn linear(&mut self, format: Format) -> TractResult<Linear> {
        let (weights, k, n) = self.matrix(format)?;
        Ok(Linear { weights, bias: self.values(&[n])?, k, n })
    }

    /// A 1x1 convolution: weight (n, k, 1, 1) and bias.
    pub(super) fn pointwise(&mut self, format: Format) -> TractResult<Linear> {
        let index = self.take();
        let [n, k, ..] = self.p.shape::<4>(index)?;
        self.p.channels(n)?;
        let weights = self.pack(index, &[n, k, 1, 1], n, format, |i| i % n * k + i / n)?;
        Ok(Linear { weights, bias: self.values(&[n])?, k, n })
    }

    /// A 3x3 convolution (n, n, 3, 3) as a matrix (tap, input, output).
    pub(super) fn conv3x3(&mut self, n: usize, format: Format) -> TractResult<Weights> {
        let index = self.take();
        self.pack(index, &[n, n, 3, 3], n, format, |i| (i % n * n + i / n % n) * 9 + i / (n * n))
    }

    /// A depthwise 3x3 convolution (n, 1, 3, 3), its nine taps one after another, and its bias.
    pub(super) fn depthwise(&mut self, n: usize) -> TractResult<(Vec<f32>, Vec<f32>)> {
        let values = self.values(&[n, 1, 3, 3])?;
        let taps = (0..9 * n).map(|i| values[i % n * 9 + i / n]).collect();
        Ok((taps, self.values(&[n])?))
    }

    /// Packs the input `index`, whose value `order(i)` comes at place `i` of a matrix of `n` columns.
    fn pack(
        &mut self,
        index: usize,
        shape: &[usize],
        n: usize,
        format: Format,
        order: impl Fn(usize) -> usize,
    ) -> TractResult<Weights> {
        let kernels = self.p.settings.kernels;
        if self.p.input(index)?.datum_type != i8::datum_type() {
            let values = self.p.constant(index, shape)?;
            let values = values.values();
            let matrix: Vec<f32> = (0..values.len()).map(|i| values[order(i)]).collect();
            return Ok(Weights::pack(kernels, format, &matrix, n));
        }
        let tensor = self.p.tensor(index, shape)?;
        let values = tensor.try_as_plain_ram()?.as_slice::<i8>()?;
        let scale = self.values(&[n])?;
        let function = &self.p.call.function;
        ensure!(!values.contains(&i8::MIN), "{function}: input {index} holds -128; weights are -127 to 127");
        let integers: Vec<i8> = (0..values.len()).map(|i| values[order(i)]).collect();
        if format == Format::Int8 {
            return Ok(Weights::int8(kernels, &integers, scale));
        }
        let matrix: Vec<f32> = integers.iter().enumerate().map(|(i, &v)| f32::from(v) * scale[i % n]).collect();
        Ok(Weights::pack(kernels, format, &matrix, n))
    }
}
