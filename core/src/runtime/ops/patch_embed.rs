//! Patch embedding: two 1x1 convolutions with a GELU between, from channels-first pixels.

use std::prelude::v1::*;

use anyhow::{Result, ensure};

use super::bytes::Bytes;
use super::{Block, Linear, Params};
use crate::Precision;
use crate::runtime::kernels::{Activation, Kernels, Matrix, Output, Scratch, Tiles, Words};
use crate::runtime::workers::Workers;

#[derive(Debug)]
pub(super) struct PatchEmbed {
    kernels: Kernels,
    height: usize,
    width: usize,
    first: Linear,
    second: Linear,
}

impl PatchEmbed {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let [channels, height, width] = p.sizes(0)?;
        let mut weights = p.weights();
        let first = weights.pointwise(Precision::F32)?;
        // Of two hundredths of the work: 8 bits would cost more than they save.
        let second = weights.pointwise(p.settings.float)?;
        ensure!(first.k == channels && second.k == first.n, "channels of the patch embedding");
        Ok(Self { kernels: p.settings.kernels, height, width, first, second })
    }
}

impl Block for PatchEmbed {
    fn scratch(&self) -> usize {
        let (w, hidden) = (self.width, self.first.n);
        Scratch::needed(&[w * self.first.k, w * hidden]) + Words::len(w, hidden)
    }

    fn bytes(&self) -> usize {
        self.first.bytes() + self.second.bytes()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let (w, c) = (self.width, self.first.k);
        let plane = self.height * w;
        let tiles = Tiles::new(out, w * self.second.n, 1, w * self.second.n);
        workers.team().each(|mut scratch| {
            let pixels = scratch.take(w * c);
            let f32s = scratch.take(w * self.first.n);
            let mut words = Words::take(&mut scratch, w, self.first.n);
            while let Some(mut tile) = tiles.next() {
                let (image, y) = (tile.top / self.height, tile.top % self.height);
                for channel in 0..c {
                    let row = &inputs[0][(image * c + channel) * plane + y * w..][..w];
                    for (pixel, &v) in pixels.chunks_exact_mut(c).zip(row) {
                        pixel[channel] = v;
                    }
                }
                let rows = Matrix::f32(pixels, c, w, c);
                let next = self.second.precision();
                self.first.run_into(self.kernels, &rows, w, Activation::Gelu, next, f32s, &mut words);
                let hidden = words.matrix(self.kernels, next, w, self.first.n);
                self.second.run(self.kernels, &hidden, Output::new(tile.whole(), self.second.n));
            }
        });
    }
}
