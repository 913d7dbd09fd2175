//! The decoder's heads: mask and predicted IoU.

use std::prelude::v1::*;

use anyhow::{Result, ensure};

use super::bytes::Bytes;
use super::params::Reader;
use super::{Block, Linear, Params};
use crate::Precision;
use crate::runtime::functions::LAYER_NORM_2D_EPS;
use crate::runtime::kernels::{Activation, Kernels, Matrix, Norm, Output, Prepare, Scratch, Tiles, Words};
use crate::runtime::workers::Workers;

/// The token of the predicted IoU, and that of the single mask.
const IOU_TOKEN: usize = 0;
const MASK_TOKEN: usize = 1;

/// The first two of a head's three layers, each followed by a ReLU.
#[derive(Debug)]
struct Hidden {
    layers: [Linear; 2],
    tokens: usize,
}

impl Hidden {
    fn new(p: &Params<'_>, weights: &mut Reader<'_>) -> Result<Self> {
        let [tokens, channels] = p.sizes(0)?;
        ensure!(tokens > MASK_TOKEN, "{tokens} tokens");
        let layers = [weights.linear(Precision::F32)?, weights.linear(Precision::F32)?];
        ensure!(layers[0].k == channels && layers[1].k == layers[0].n, "channels of a head");
        Ok(Self { layers, tokens })
    }

    fn bytes(&self) -> usize {
        self.layers.bytes()
    }

    /// Length of what [`run`](Self::run) needs for `boxes` boxes.
    fn len(&self, boxes: usize) -> usize {
        Scratch::needed(&self.layers.each_ref().map(|l| boxes * l.n))
    }

    /// The hidden values of one token of each box.
    fn run<'a>(&self, kernels: Kernels, tokens: &[f32], token: usize, scratch: &mut Scratch<'a>) -> &'a [f32] {
        let [first, second] = &self.layers;
        let boxes = tokens.len() / (self.tokens * first.k);
        let [a, b] = [scratch.take(boxes * first.n), scratch.take(boxes * second.n)];
        let rows = Matrix::f32(&tokens[token * first.k..], self.tokens * first.k, boxes, first.k);
        first.run(kernels, &rows, Output::new(a, first.n).activation(Activation::Relu));
        let rows = Matrix::f32(a, first.n, boxes, first.n);
        second.run(kernels, &rows, Output::new(b, second.n).activation(Activation::Relu));
        b
    }
}

/// Logits of the single mask: the image upscaled twice, times what the token makes of itself.
#[derive(Debug)]
pub(super) struct MaskHead {
    kernels: Kernels,
    side: usize,
    first: Linear,
    norm: [Vec<f32>; 2],
    second: Linear,
    hidden: Hidden,
    last: Linear,
}

impl MaskHead {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let [cells, channels] = p.sizes(1)?;
        p.same_batch(0, 1)?;
        let mut weights = p.weights();
        let first = weights.linear(p.settings.linear)?;
        ensure!(first.n.is_multiple_of(4), "channels of the upscaling");
        let norm = weights.norm(first.n / 4)?;
        let second = weights.linear(p.settings.linear)?;
        let (hidden, last) = (Hidden::new(p, &mut weights)?, weights.linear(Precision::F32)?);
        ensure!(first.k == p.channels(channels)? && first.n == 4 * p.channels(second.k)?, "channels of the upscaling");
        ensure!(second.n == 4 * last.n && last.k == hidden.layers[1].n, "channels of the mask head");
        Ok(Self { kernels: p.settings.kernels, side: cells.isqrt(), first, norm, second, hidden, last })
    }
}

impl Block for MaskHead {
    fn scratch(&self) -> usize {
        let w = self.side;
        Scratch::needed(&[w * self.first.n, 4 * w * self.second.n, 16 * w])
            + Words::len(w, self.first.k)
            + Words::len(4 * w, self.second.k)
    }

    fn shared(&self, batch: usize) -> usize {
        self.hidden.len(batch) + Scratch::needed(&[batch * self.last.n])
    }

    fn bytes(&self) -> usize {
        self.first.bytes() + self.norm.bytes() + self.second.bytes() + self.hidden.bytes() + self.last.bytes()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let (kernels, w) = (self.kernels, self.side);
        let [tokens, image] = [inputs[0], inputs[1]];
        let boxes = out.len() / (16 * w * w);
        let (mut shared, mut team) = workers.parts();
        let hidden = self.hidden.run(kernels, tokens, MASK_TOKEN, &mut shared);
        let n = self.last.n;
        let hyper = shared.take(boxes * n);
        let rows = Matrix::f32(hidden, self.last.k, boxes, self.last.k);
        self.last.run(kernels, &rows, Output::new(hyper, n));
        let norm = Norm { gamma: &self.norm[0], beta: &self.norm[1], epsilon: LAYER_NORM_2D_EPS };
        let precision = self.second.precision();
        // One row of cells becomes four rows of logits.
        let tiles = Tiles::new(out, 4 * w, 4, 4 * w);
        team.each(|mut scratch| {
            let first = scratch.take(w * self.first.n);
            let second = scratch.take(4 * w * self.second.n);
            let logits = scratch.take(16 * w);
            let mut words = Words::take(&mut scratch, w, self.first.k);
            let mut quarters = Words::take(&mut scratch, 4 * w, self.second.k);
            while let Some(mut tile) = tiles.next() {
                let (nth, y) = (tile.index / w, tile.index % w);
                let x = &image[(nth * w + y) * w * self.first.k..][..w * self.first.k];
                self.first.run_f32(kernels, x, self.first.k, w, &mut words, Output::new(first, self.first.n));
                let size = (4 * w, self.second.k);
                kernels.rows(precision, first, self.second.k, size, Prepare::NormGelu(norm), &mut quarters, 0);
                let rows = quarters.matrix(kernels, precision, 4 * w, self.second.k);
                let to = Output::new(second, self.second.n).activation(Activation::Gelu);
                self.second.run(kernels, &rows, to);
                kernels.dot_rows(second, &hyper[nth * n..][..n], logits);
                // (x, dy1, dx1, dy2, dx2) to rows (dy1, dy2) of (x, dx1, dx2).
                for row in 0..4 {
                    let (dy1, dy2) = (row / 2, row % 2);
                    for (to, cell) in tile.row(row).chunks_exact_mut(4).zip(logits.chunks_exact(16)) {
                        for (dx, to) in to.iter_mut().enumerate() {
                            *to = cell[dy1 * 8 + dx / 2 * 4 + dy2 * 2 + dx % 2];
                        }
                    }
                }
            }
        });
    }
}

/// Predicted IoU of the single mask.
#[derive(Debug)]
pub(super) struct IouHead {
    kernels: Kernels,
    hidden: Hidden,
    weights: Vec<f32>,
    bias: f32,
}

impl IouHead {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let mut inputs = p.weights();
        let hidden = Hidden::new(p, &mut inputs)?;
        let weights = inputs.values(&[hidden.layers[1].n, 1])?;
        Ok(Self { kernels: p.settings.kernels, hidden, weights, bias: inputs.values(&[1])?[0] })
    }
}

impl Block for IouHead {
    fn scratch(&self) -> usize {
        0
    }

    fn shared(&self, batch: usize) -> usize {
        self.hidden.len(batch)
    }

    fn bytes(&self) -> usize {
        self.hidden.bytes() + self.weights.bytes()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let (mut shared, _) = workers.parts();
        let hidden = self.hidden.run(self.kernels, inputs[0], IOU_TOKEN, &mut shared);
        for (out, hidden) in out.iter_mut().zip(hidden.chunks_exact(self.weights.len())) {
            *out = self.bias + hidden.iter().zip(&self.weights).map(|(h, w)| h * w).sum::<f32>();
        }
    }
}
