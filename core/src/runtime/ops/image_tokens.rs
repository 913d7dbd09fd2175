//! The embedding as tokens, with the embedding of "no mask given" added.

use std::prelude::v1::*;

use tract_core::internal::*;

use super::{Block, Params};
use crate::runtime::kernels::Tiles;
use crate::runtime::workers::Workers;

/// Tokens of a tile.
const TOKENS: usize = 64;

#[derive(Debug)]
pub(super) struct ImageTokens {
    cells: usize,
    no_mask: Vec<f32>,
}

impl ImageTokens {
    pub(super) fn new(p: &Params<'_>) -> TractResult<Self> {
        let [channels, height, width] = p.sizes(0)?;
        Ok(Self { cells: height * width, no_mask: p.values(1, &[1, p.channels(channels)?])? })
    }
}

impl Block for ImageTokens {
    fn scratch(&self) -> usize {
        0
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers) {
        let c = self.no_mask.len();
        let tiles = Tiles::new(out, c, TOKENS, c);
        workers.team().each(|_| {
            while let Some(mut tile) = tiles.next() {
                let (image, first) = (tile.top / self.cells, tile.top % self.cells);
                let rows = tile.rows;
                let values = tile.whole();
                for (channel, &add) in self.no_mask.iter().enumerate() {
                    let plane = &inputs[0][(image * c + channel) * self.cells + first..][..rows];
                    for (to, &v) in values[channel..].iter_mut().step_by(c).zip(plane) {
                        *to = v + add;
                    }
                }
            }
        });
    }
}
