//! LayerNorm, linear, GELU, linear, residual.

use std::prelude::v1::*;

use anyhow::{Result, ensure};

use super::bytes::Bytes;
use super::{Block, Linear, Params};
use crate::runtime::functions::LAYER_NORM_EPS;
use crate::runtime::kernels::{Activation, Kernels, Norm, Output, Prepare, Residual, Scratch, Tiles, Words};
use crate::runtime::workers::Workers;

/// Tokens that pass through both layers together: enough that the weights are read seldom, few enough that the hidden
/// values stay near.
const TOKENS: usize = 96;

#[derive(Debug)]
pub(super) struct Mlp {
    kernels: Kernels,
    norm: [Vec<f32>; 2],
    first: Linear,
    second: Linear,
}

impl Mlp {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let [_, _, channels] = p.sizes(0)?;
        let mut weights = p.weights();
        let norm = weights.norm(p.channels(channels)?)?;
        let (first, second) = (weights.linear(p.settings.linear)?, weights.linear(p.settings.linear)?);
        ensure!(first.k == channels && second.k == first.n && second.n == channels, "channels of an MLP");
        Ok(Self { kernels: p.settings.kernels, norm, first, second })
    }
}

impl Block for Mlp {
    fn scratch(&self) -> usize {
        Scratch::needed(&[TOKENS * self.first.n]) + Words::len(TOKENS, self.first.k) + Words::len(TOKENS, self.first.n)
    }

    fn bytes(&self) -> usize {
        self.norm.bytes() + self.first.bytes() + self.second.bytes()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let (kernels, c, n) = (self.kernels, self.first.k, self.first.n);
        let norm = Norm { gamma: &self.norm[0], beta: &self.norm[1], epsilon: LAYER_NORM_EPS };
        let tiles = Tiles::new(out, c, TOKENS, c);
        workers.team().each(|mut scratch| {
            let f32s = scratch.take(TOKENS * n);
            let mut input = Words::take(&mut scratch, TOKENS, c);
            let mut hidden = Words::take(&mut scratch, TOKENS, n);
            while let Some(mut tile) = tiles.next() {
                let rows = tile.rows;
                let x = &inputs[0][tile.top * c..][..rows * c];
                kernels.rows(self.first.precision(), x, c, (rows, c), Prepare::Norm(norm), &mut input, 0);
                let normed = input.matrix(kernels, self.first.precision(), rows, c);
                let next = self.second.precision();
                self.first.run_into(kernels, &normed, rows, Activation::Gelu, next, f32s, &mut hidden);
                let out = Output::new(tile.whole(), c).residual(Residual::Rows(x, c));
                self.second.run(kernels, &hidden.matrix(kernels, next, rows, n), out);
            }
        });
    }
}
