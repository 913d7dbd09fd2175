//! MLP of the tokens: linear, ReLU, linear, residual, LayerNorm.

use std::prelude::v1::*;

use anyhow::{Result, ensure};

use super::bytes::Bytes;
use super::{Block, Linear, Params};
use crate::runtime::functions::LAYER_NORM_EPS;
use crate::runtime::kernels::{Activation, Kernels, Norm, Output, Residual, Scratch, Tiles, Words};
use crate::runtime::workers::Workers;

/// Tokens that pass together: those of a few boxes.
const TOKENS: usize = 56;

#[derive(Debug)]
pub(super) struct TokenMlp {
    kernels: Kernels,
    first: Linear,
    second: Linear,
    norm: [Vec<f32>; 2],
}

impl TokenMlp {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let [_, channels] = p.sizes(0)?;
        let mut weights = p.weights();
        let (first, second) = (weights.linear(p.settings.float)?, weights.linear(p.settings.float)?);
        ensure!(first.k == p.channels(channels)? && second.k == first.n && second.n == channels, "channels of an MLP");
        Ok(Self { kernels: p.settings.kernels, first, second, norm: weights.norm(channels)? })
    }
}

impl Block for TokenMlp {
    fn scratch(&self) -> usize {
        let (c, n) = (self.first.k, self.first.n);
        Scratch::needed(&[TOKENS * n]) + Words::len(TOKENS, c) + Words::len(TOKENS, n)
    }

    fn bytes(&self) -> usize {
        self.first.bytes() + self.second.bytes() + self.norm.bytes()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let (kernels, c, n) = (self.kernels, self.first.k, self.first.n);
        let norm = Norm { gamma: &self.norm[0], beta: &self.norm[1], epsilon: LAYER_NORM_EPS };
        let tiles = Tiles::new(out, c, TOKENS, c);
        workers.team().each(|mut scratch| {
            let hidden = scratch.take(TOKENS * n);
            let mut input = Words::take(&mut scratch, TOKENS, c);
            let mut words = Words::take(&mut scratch, TOKENS, n);
            while let Some(mut tile) = tiles.next() {
                let rows = tile.rows;
                let x = &inputs[0][tile.top * c..][..rows * c];
                let to = Output::new(hidden, n).activation(Activation::Relu);
                self.first.run_f32(kernels, x, c, rows, &mut input, to);
                let to = Output::new(tile.whole(), c).residual(Residual::Rows(x, c));
                self.second.run_f32(kernels, hidden, n, rows, &mut words, to);
                kernels.norm_in_place(tile.whole(), c, norm);
            }
        });
    }
}
