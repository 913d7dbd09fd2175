//! Inverted bottlenecks: conv1x1, GELU, depthwise 3x3, GELU, conv1x1, in strips narrow enough that nothing between the
//! convolutions leaves the second-level cache.

use std::prelude::v1::*;

use anyhow::{Result, ensure};

use super::bytes::Bytes;
use super::{Block, Linear, Params};
use crate::Precision;
use crate::runtime::kernels::{Activation, Gelu, Kernels, Output, Residual, Scratch, Tiles, Words};
use crate::runtime::workers::Workers;

/// Input pixels that a strip is wide.
const STRIP: usize = 64;

/// `MbConv` (with a residual and a GELU at the end) and `PatchMerging` (with neither, but with a stride).
#[derive(Debug)]
pub(super) struct Bottleneck {
    kernels: Kernels,
    height: usize,
    width: usize,
    stride: usize,
    residual: bool,
    expand: Linear,
    taps: Vec<f32>,
    bias: Vec<f32>,
    project: Linear,
}

/// A stride that is the same both ways.
fn square(strides: [i64; 2]) -> Result<usize> {
    ensure!(matches!(strides, [1, 1] | [2, 2]), "strides {strides:?}");
    Ok(strides[0] as usize)
}

impl Bottleneck {
    pub(super) fn new(p: &Params<'_>, residual: bool) -> Result<Self> {
        let [height, width, channels] = p.sizes(0)?;
        let stride = if residual { 1 } else { square(p.attribute("strides")?)? };
        let mut weights = p.weights();
        let expand = weights.pointwise(p.settings.float)?;
        let (taps, bias) = weights.depthwise(expand.n)?;
        let project = weights.pointwise(p.settings.float)?;
        ensure!(p.channels(expand.k)? == channels && project.k == expand.n, "channels of a bottleneck");
        ensure!(!residual || project.n == channels, "channels of a residual");
        Ok(Self { kernels: p.settings.kernels, height, width, stride, residual, expand, taps, bias, project })
    }

    /// Output pixels of a strip.
    const fn strip(&self) -> usize {
        STRIP / self.stride
    }

    /// Hidden pixels that a strip reads.
    const fn hidden_width(&self) -> usize {
        (self.strip() - 1) * self.stride + 3
    }

    /// One row of hidden values, with zeros where the image ends; `left` is the image's pixel that it begins with, plus 1.
    fn expand(&self, row: &[f32], left: usize, words: &mut Words<'_>, hidden: &mut [f32]) {
        let (c, n) = (self.expand.k, self.expand.n);
        let pixels = hidden.len() / n;
        let before = usize::from(left == 0);
        let inside = (pixels - before).min(self.width + 1 - left.max(1));
        hidden[..before * n].fill(0.0);
        hidden[(before + inside) * n..].fill(0.0);
        let rows = &row[(left + before - 1) * c..];
        let out = Output::new(&mut hidden[before * n..], n).activation(Activation::Gelu);
        self.expand.run_f32(self.kernels, rows, c, inside, words, out);
    }
}

impl Block for Bottleneck {
    fn scratch(&self) -> usize {
        let (pixels, n) = (self.hidden_width(), self.expand.n);
        Scratch::needed(&[pixels * n; 5]) + Words::len(pixels, n) + Words::len(pixels, self.expand.k)
    }

    fn bytes(&self) -> usize {
        self.expand.bytes() + self.taps.bytes() + self.bias.bytes() + self.project.bytes()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let (c, n, o) = (self.expand.k, self.expand.n, self.project.n);
        let (height, width) = (self.height.div_ceil(self.stride), self.width.div_ceil(self.stride));
        let mut team = workers.team();
        // Each band computes two rows of its neighbours again: no more bands than the threads need.
        let strips = width.div_ceil(self.strip());
        let bands = if team.threads() == 1 { 1 } else { (4 * team.threads()).div_ceil(strips) };
        let band = height.div_ceil(bands);
        let image = self.height * self.width * c;
        let gelu = if self.expand.precision() == Precision::F32 { Gelu::Exact } else { Gelu::Fast };
        for (x, out) in inputs[0].chunks_exact(image).zip(out.chunks_exact_mut(height * width * o)) {
            let tiles = Tiles::new(out, width * o, band, self.strip() * o);
            team.each(|mut scratch| {
                let most = self.hidden_width() * n;
                let ring = [(); 3].map(|()| scratch.take(most));
                let zeros = scratch.take(most);
                zeros.fill(0.0);
                let convolved = scratch.take(most);
                let mut words = Words::take(&mut scratch, self.hidden_width(), n);
                let mut input = Words::take(&mut scratch, self.hidden_width(), c);
                while let Some(mut tile) = tiles.next() {
                    let (left, count) = (tile.left / o, tile.width / o);
                    let hidden = ((count - 1) * self.stride + 3) * n;
                    let mut next = (tile.top * self.stride).saturating_sub(1);
                    for row in 0..tile.rows {
                        let y = (tile.top + row) * self.stride;
                        while next <= y + 1 && next < self.height {
                            let source = &x[next * self.width * c..][..self.width * c];
                            self.expand(source, left * self.stride, &mut input, &mut ring[next % 3][..hidden]);
                            next += 1;
                        }
                        let at = |y: usize| if y == 0 || y > self.height { &*zeros } else { &*ring[(y - 1) % 3] };
                        let rows = [at(y), at(y + 1), at(y + 2)];
                        let (taps, bias) = (&self.taps, &self.bias);
                        self.kernels.depthwise(rows, n, self.stride, taps, bias, count, convolved, gelu);
                        let mut out = Output::new(tile.row(row), o);
                        if self.residual {
                            let own = &x[(y * self.width + left) * c..];
                            out = out.residual(Residual::Rows(own, c)).activation(Activation::Gelu);
                        }
                        self.project.run_f32(self.kernels, convolved, n, count, &mut words, out);
                    }
                }
            });
        }
    }
}
