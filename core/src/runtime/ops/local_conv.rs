//! Depthwise 3x3 convolution between attention and MLP.

use std::prelude::v1::*;

use anyhow::Result;

use super::bytes::Bytes;
use super::{Block, Params};
use crate::runtime::kernels::{Gelu, Kernels, Scratch, Tiles};
use crate::runtime::workers::Workers;

/// Rows of a tile.
const BAND: usize = 8;

#[derive(Debug)]
pub(super) struct LocalConv {
    kernels: Kernels,
    height: usize,
    width: usize,
    channels: usize,
    taps: Vec<f32>,
    bias: Vec<f32>,
}

impl LocalConv {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let [height, width, channels] = p.sizes(0)?;
        let (taps, bias) = p.weights().depthwise(p.channels(channels)?)?;
        Ok(Self { kernels: p.settings.kernels, height, width, channels, taps, bias })
    }
}

impl Block for LocalConv {
    fn scratch(&self) -> usize {
        Scratch::needed(&[(self.width + 2) * self.channels; 4])
    }

    fn bytes(&self) -> usize {
        self.taps.bytes() + self.bias.bytes()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let (w, c) = (self.width, self.channels);
        let image = self.height * w * c;
        let mut team = workers.team();
        for (x, out) in inputs[0].chunks_exact(image).zip(out.chunks_exact_mut(image)) {
            let tiles = Tiles::new(out, w * c, BAND, w * c);
            team.each(|mut scratch| {
                // Rows between two pixels of zeros.
                let mut ring = [(); 4].map(|()| scratch.take((w + 2) * c));
                ring.iter_mut().for_each(|row| row.fill(0.0));
                let [first, second, third, zeros] = ring;
                let ring = [first, second, third];
                while let Some(mut tile) = tiles.next() {
                    let mut next = tile.top.saturating_sub(1);
                    for row in 0..tile.rows {
                        let y = tile.top + row;
                        while next <= y + 1 && next < self.height {
                            ring[next % 3][c..][..w * c].copy_from_slice(&x[next * w * c..][..w * c]);
                            next += 1;
                        }
                        let at = |y: usize| if y == 0 || y > self.height { &*zeros } else { &*ring[(y - 1) % 3] };
                        let rows = [at(y), at(y + 1), at(y + 2)];
                        self.kernels.depthwise(rows, c, 1, &self.taps, &self.bias, w, tile.row(row), Gelu::No);
                    }
                }
            });
        }
    }
}
