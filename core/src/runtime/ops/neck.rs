//! The neck: linear, LayerNorm, conv3x3, LayerNorm, to channels-first.

use std::prelude::v1::*;

use anyhow::{Result, ensure};

use super::bytes::Bytes;
use super::{Block, Linear, Params};
use crate::Precision;
use crate::runtime::functions::LAYER_NORM_2D_EPS;
use crate::runtime::kernels::{Kernels, Matrix, Norm, Output, Scratch, Tiles, Weights, Words};
use crate::runtime::workers::Workers;

#[derive(Debug)]
pub(super) struct Neck {
    kernels: Kernels,
    height: usize,
    width: usize,
    first: Linear,
    norms: [[Vec<f32>; 2]; 2],
    /// Nine taps, one after another along the summed axis.
    conv: Weights,
    channels: usize,
}

impl Neck {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let [height, width, c] = p.sizes(0)?;
        let mut inputs = p.weights();
        let (weights, k, n) = inputs.matrix(p.settings.linear)?;
        ensure!(p.channels(k)? == c, "channels of the neck");
        let first = Linear { weights, bias: vec![0.0; n], k, n };
        let before = inputs.norm(n)?;
        let conv = inputs.conv3x3(n, p.settings.linear)?;
        let norms = [before, inputs.norm(n)?];
        let kernels = p.settings.kernels;
        Ok(Self { kernels, height, width, first, norms, conv, channels: n })
    }

    /// Values of the image with a border of one pixel.
    const fn bordered(&self) -> usize {
        (self.height + 2) * (self.width + 2) * self.channels
    }
}

impl Block for Neck {
    fn scratch(&self) -> usize {
        Scratch::needed(&[self.width * self.channels; 2]) + Words::len(self.width, self.first.k)
    }

    fn shared(&self, _: usize) -> usize {
        Scratch::needed(&[self.bordered(), self.bordered(), self.width, self.width])
    }

    fn bytes(&self) -> usize {
        self.first.bytes() + self.norms.bytes() + self.conv.bytes()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let (kernels, w, c, n) = (self.kernels, self.width, self.first.k, self.channels);
        let precision = self.conv.precision();
        let norm = |i: usize| Norm { gamma: &self.norms[i][0], beta: &self.norms[i][1], epsilon: LAYER_NORM_2D_EPS };
        let (mut shared, mut team) = workers.parts();
        let normed = shared.take(self.bordered());
        let words = shared.take(self.bordered());
        let (scales, zeros) = (shared.take(w), shared.take(w));
        let row = (w + 2) * n;
        for (x, out) in inputs[0].chunks_exact(self.height * w * c).zip(out.chunks_exact_mut(self.height * w * n)) {
            let tiles = Tiles::new(normed, row, 1, row);
            team.each(|mut scratch| {
                let mut rows = Words::take(&mut scratch, w, c);
                while let Some(mut tile) = tiles.next() {
                    let y = tile.top;
                    let line = tile.whole();
                    if y == 0 || y > self.height {
                        line.fill(0.0);
                        continue;
                    }
                    line[..n].fill(0.0);
                    line[row - n..].fill(0.0);
                    let inner = &mut line[n..row - n];
                    let x = &x[(y - 1) * w * c..][..w * c];
                    self.first.run_f32(kernels, x, c, w, &mut rows, Output::new(inner, n));
                    kernels.norm_in_place(inner, n, norm(0));
                }
            });
            // One scale for the whole image: a sum runs over nine pixels.
            let mut steps = (1.0, 0.0);
            if precision == Precision::Int8 {
                let extremes = normed.iter().fold((0.0f32, 0.0f32), |(l, g), &v| (l.min(v), g.max(v)));
                // 0 unless a value is no number: rounded, it would pass for one.
                let fault: f32 = normed.iter().map(|v| v * 0.0).sum();
                steps = kernels.steps(extremes.0, extremes.1);
                scales.fill(steps.0 + fault);
                zeros.fill(steps.1 - kernels.int8_offset() as f32);
            }
            let per_row = kernels.words(precision, row);
            if precision != Precision::F32 {
                let tiles = Tiles::new(&mut words[..per_row * (self.height + 2)], per_row, 1, per_row);
                team.each(|_| {
                    while let Some(mut tile) = tiles.next() {
                        let source = &normed[tile.top * row..][..row];
                        kernels.rows_with_scale(precision, source, n, steps, tile.whole());
                    }
                });
            }
            let image: &[f32] = if precision == Precision::F32 { normed } else { words };
            let ld = kernels.words(precision, n);
            let taps: [usize; 9] = core::array::from_fn(|i| i / 3 * per_row + i % 3 * ld);
            let tiles = Tiles::new(out, self.height * w, n, w);
            team.each(|mut scratch| {
                let [convolved, turned] = [(); 2].map(|()| scratch.take(w * n));
                while let Some(mut tile) = tiles.next() {
                    let rows = &image[tile.index * per_row..];
                    let rows = if precision == Precision::Int8 {
                        Matrix::int8(rows, ld, w, ld, scales, zeros)
                    } else {
                        Matrix::words(precision, rows, ld, w, ld)
                    };
                    kernels.product_of_taps(&rows, &taps, &self.conv.panels(), Output::new(convolved, n));
                    kernels.norm_in_place(convolved, n, norm(1));
                    kernels.transpose(convolved, n, (w, n), turned, w);
                    for (channel, line) in turned.chunks_exact(w).enumerate() {
                        tile.row(channel).copy_from_slice(line);
                    }
                }
            });
        }
    }
}
