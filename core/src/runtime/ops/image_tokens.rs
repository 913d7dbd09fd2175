//! The embedding as tokens, with the embedding of "no mask given" added.

use std::prelude::v1::*;

use anyhow::Result;

use super::bytes::Bytes;
use super::{Block, Params};
use crate::runtime::kernels::{Kernels, Scratch, Tiles};
use crate::runtime::workers::Workers;

/// Tokens of a tile.
const TOKENS: usize = 64;

#[derive(Debug)]
pub(super) struct ImageTokens {
    kernels: Kernels,
    cells: usize,
    no_mask: Vec<f32>,
}

impl ImageTokens {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let [channels, height, width] = p.sizes(0)?;
        Ok(Self {
            kernels: p.settings.kernels,
            cells: height * width,
            no_mask: p.weights().values(&[1, p.channels(channels)?])?,
        })
    }
}

impl Block for ImageTokens {
    fn scratch(&self) -> usize {
        Scratch::needed(&[self.no_mask.len() * TOKENS])
    }

    fn bytes(&self) -> usize {
        self.no_mask.bytes()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let c = self.no_mask.len();
        let tiles = Tiles::new(out, c, TOKENS, c);
        workers.team().each(|mut scratch| {
            // A plane's cells are far apart: fetched in whole lines before they are turned.
            let planes = scratch.take(c * TOKENS);
            while let Some(mut tile) = tiles.next() {
                let (image, first) = (tile.top / self.cells, tile.top % self.cells);
                let rows = tile.rows;
                for (channel, (to, &add)) in planes.chunks_exact_mut(rows).zip(&self.no_mask).enumerate() {
                    let plane = &inputs[0][(image * c + channel) * self.cells + first..][..rows];
                    to.iter_mut().zip(plane).for_each(|(to, v)| *to = v + add);
                }
                self.kernels.transpose(planes, rows, (c, rows), tile.whole(), c);
            }
        });
    }
}
