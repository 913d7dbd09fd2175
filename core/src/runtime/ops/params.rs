//! The weights and sizes of a call.

use std::prelude::v1::*;

use anyhow::{Context, Result, ensure};

use super::{Call, Linear, Settings};
use crate::Precision;
use crate::runtime::calls::{Fact, Size};
use crate::runtime::constant::{Constant, Shared};
use crate::runtime::kernels::Weights;

/// A call's inputs and attributes, read with their shapes checked.
#[derive(Debug)]
pub(super) struct Params<'a> {
    call: &'a Call,
    inputs: &'a [Fact<'a>],
    pub(super) settings: Settings,
}

impl<'a> Params<'a> {
    pub(super) const fn new(call: &'a Call, inputs: &'a [Fact<'a>], settings: Settings) -> Self {
        Self { call, inputs, settings }
    }

    fn input(&self, index: usize) -> Result<&'a Fact<'a>> {
        let found = self.inputs.get(index);
        found.with_context(|| format!("{} is missing", self.call.input_name(index)))
    }

    /// The sizes of an input without the first, which is the batch.
    pub(super) fn sizes<const N: usize>(&self, index: usize) -> Result<[usize; N]> {
        let shape = &self.input(index)?.shape;
        ensure!(shape.len() == N + 1, "{} has {} axes", self.call.input_name(index), shape.len());
        let mut sizes = [0; N];
        for (number, size) in sizes.iter_mut().zip(&shape[1..]) {
            *number = size.number()?;
        }
        Ok(sizes)
    }

    /// Makes sure that two inputs are of one shape, the batch included.
    pub(super) fn same(&self, first: usize, second: usize) -> Result<()> {
        let [a, b] = [&self.input(first)?.shape, &self.input(second)?.shape];
        ensure!(a == b, "{}: inputs {first} and {second} are of shapes {a:?} and {b:?}", self.call.name);
        Ok(())
    }

    /// Whether an input is one for the whole batch.
    pub(super) fn is_one(&self, index: usize) -> Result<bool> {
        Ok(self.input(index)?.shape.first() == Some(&Size::fixed(1)))
    }

    /// Makes sure that two inputs are of one batch.
    pub(super) fn same_batch(&self, first: usize, second: usize) -> Result<()> {
        let [a, b] = [&self.input(first)?.shape, &self.input(second)?.shape];
        ensure!(a.first() == b.first(), "{}: inputs {first} and {second} are of two batches", self.call.name);
        Ok(())
    }

    /// The shape of an input that is a weight.
    pub(super) fn shape<const N: usize>(&self, index: usize) -> Result<[usize; N]> {
        let shape = &self.weight(index)?.shape;
        let found = shape.as_slice().try_into();
        found.with_context(|| format!("{} has shape {shape:?}", self.call.input_name(index)))
    }

    /// The values of a weight of this shape.
    fn values(&self, index: usize, shape: &[usize]) -> Result<Vec<f32>> {
        let values = self.shaped(index, shape)?.f32();
        Ok(values.with_context(|| self.call.input_name(index))?.into_owned())
    }

    /// A weight of this shape, shared with other blocks that use it.
    fn shared(&self, index: usize, shape: &[usize]) -> Result<Shared> {
        self.shaped(index, shape)?.kept().with_context(|| self.call.input_name(index))
    }

    fn shaped(&self, index: usize, shape: &[usize]) -> Result<&'a Constant<'a>> {
        let constant = self.weight(index)?;
        let name = || self.call.input_name(index);
        ensure!(constant.shape == shape, "{} is {:?}, not {shape:?}", name(), constant.shape);
        Ok(constant)
    }

    fn weight(&self, index: usize) -> Result<&'a Constant<'a>> {
        self.input(index)?.constant.with_context(|| format!("{} is no constant", self.call.input_name(index)))
    }

    pub(super) fn attribute<const N: usize>(&self, name: &str) -> Result<[i64; N]> {
        self.call.attribute(name)
    }

    /// Channels that kernels can take.
    pub(super) fn channels(&self, n: usize) -> Result<usize> {
        ensure!(n.is_multiple_of(16) && n > 0, "{}: {n} channels, not a multiple of 16", self.call.name);
        ensure!(n <= super::super::kernels::MAX_ROW, "{}: {n} channels", self.call.name);
        Ok(n)
    }

    /// A reader of the weights, which follow the activations.
    pub(super) fn weights(&'a self) -> Reader<'a> {
        Reader { p: self, next: self.call.activations() }
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
    pub(super) fn values(&mut self, shape: &[usize]) -> Result<Vec<f32>> {
        let index = self.take();
        self.p.values(index, shape)
    }

    /// Values of this shape, shared with other blocks that use them.
    pub(super) fn shared(&mut self, shape: &[usize]) -> Result<Shared> {
        let index = self.take();
        self.p.shared(index, shape)
    }

    /// A norm: gamma and beta.
    pub(super) fn norm(&mut self, n: usize) -> Result<[Vec<f32>; 2]> {
        Ok([self.values(&[n])?, self.values(&[n])?])
    }

    /// A matrix (k, n), packed for a product in `precision`.
    pub(super) fn matrix(&mut self, precision: Precision) -> Result<(Weights, usize, usize)> {
        let index = self.take();
        let [k, n] = self.p.shape(index)?;
        self.p.channels(n)?;
        let weights = self.pack(index, &[k, n], n, precision, |i| i)?;
        Ok((weights, k, n))
    }

    /// A linear layer: matrix (k, n) and bias.
    pub(super) fn linear(&mut self, precision: Precision) -> Result<Linear> {
        let (weights, k, n) = self.matrix(precision)?;
        Ok(Linear { weights, bias: self.values(&[n])?, k, n })
    }

    /// A 1x1 convolution: weight (n, k, 1, 1) and bias.
    pub(super) fn pointwise(&mut self, precision: Precision) -> Result<Linear> {
        let index = self.take();
        let [n, k, ..] = self.p.shape::<4>(index)?;
        self.p.channels(n)?;
        let weights = self.pack(index, &[n, k, 1, 1], n, precision, |i| i % n * k + i / n)?;
        Ok(Linear { weights, bias: self.values(&[n])?, k, n })
    }

    /// A 3x3 convolution (n, n, 3, 3) as a matrix (tap, input, output).
    pub(super) fn conv3x3(&mut self, n: usize, precision: Precision) -> Result<Weights> {
        let index = self.take();
        self.pack(index, &[n, n, 3, 3], n, precision, |i| (i % n * n + i / n % n) * 9 + i / (n * n))
    }

    /// A depthwise 3x3 convolution (n, 1, 3, 3), its nine taps one after another, and its bias.
    pub(super) fn depthwise(&mut self, n: usize) -> Result<(Vec<f32>, Vec<f32>)> {
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
        precision: Precision,
        order: impl Fn(usize) -> usize,
    ) -> Result<Weights> {
        let kernels = self.p.settings.kernels;
        let constant = self.p.shaped(index, shape)?;
        let Some(integers) = constant.i8() else {
            let values = constant.f32().with_context(|| self.p.call.input_name(index))?;
            return Ok(Weights::pack(kernels, precision, [values.len() / n, n], |i| values[order(i)]));
        };
        let k = integers.len() / n;
        let scale = self.values(&[n])?;
        let name = || self.p.call.input_name(index);
        ensure!(!integers.contains(&i8::MIN), "{} holds -128; weights are -127 to 127", name());
        if precision == Precision::Int8 {
            return Ok(Weights::int8(kernels, k, |i| integers[order(i)], scale));
        }
        Ok(Weights::pack(kernels, precision, [k, n], |i| f32::from(integers[order(i)]) * scale[i % n]))
    }
}
