//! Tokens attend to the image: attention, residual, LayerNorm.

use std::prelude::v1::*;

use anyhow::{Result, ensure};

use super::bytes::Bytes;
use super::cross_attention::{HEADS, HeadsIn, HeadsOut, Sizes, sum};
use super::{Block, Linear, Params};
use crate::Precision;
use crate::runtime::constant::Shared;
use crate::runtime::functions::LAYER_NORM_EPS;
use crate::runtime::kernels::{Kernels, Norm, Output, Packing, Prepare, Residual, Scratch, Tiles, Words};
use crate::runtime::workers::Workers;

/// Cells of an image that are attended to together; what chunks find is put together at the end.
const CHUNK: usize = 256;

#[derive(Debug)]
pub(super) struct TokenToImage {
    kernels: Kernels,
    precision: Precision,
    s: Sizes,
    positions: Shared,
    query: Linear,
    key: HeadsOut,
    value: HeadsIn,
    out: Linear,
    norm: [Vec<f32>; 2],
}

impl TokenToImage {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let s = Sizes::new(p)?;
        ensure!(s.cells.is_multiple_of(CHUNK), "{} cells", s.cells);
        let mut weights = p.weights();
        let positions = weights.shared(&[1, s.cells, s.channels])?;
        let query = weights.linear(p.settings.float)?;
        let key = HeadsOut::transposed(p, &mut weights, s)?;
        // The key's bias adds the same to all scores of a query: softmax does not see it.
        weights.values(&[s.inner()])?;
        let value = HeadsIn::new(p, &mut weights, s)?;
        let out = weights.linear(p.settings.float)?;
        ensure!(query.k == s.channels && query.n == s.inner(), "channels of the query");
        ensure!(out.k == s.inner() && out.n == s.channels, "channels of the output");
        let norm = weights.norm(s.channels)?;
        let (kernels, precision) = (p.settings.kernels, p.settings.float);
        Ok(Self { kernels, precision, s, positions, query, key, value, out, norm })
    }

    /// Rows (token, head) of a box.
    const fn rows(&self) -> usize {
        self.s.tokens * HEADS
    }

    /// Words of what a box asks of the image, packed.
    const fn asked(&self) -> usize {
        self.kernels.packed_words(self.s.heads(self.precision))
    }

    /// How a chunk's cells are packed.
    const fn cells(&self) -> Packing {
        Packing::new(self.precision, CHUNK, self.s.channels)
    }

    /// What one chunk finds for one box: sums of cells, greatest scores, sums of weights.
    const fn record(&self) -> usize {
        self.rows() * (self.s.channels + 2)
    }
}

impl Block for TokenToImage {
    fn scratch(&self) -> usize {
        let (s, rows) = (&self.s, self.rows());
        let tokens = s.tokens * s.channels;
        let once = Scratch::needed(&[tokens, tokens, rows * s.channels]) + Words::len(s.tokens, s.channels);
        let cells = self.kernels.packed_words(self.cells());
        let chunk = [cells, CHUNK * s.columns, CHUNK * s.columns, CHUNK * s.columns];
        once.max(Scratch::needed(&chunk) + Words::len(CHUNK, s.channels))
    }

    fn shared(&self, batch: usize) -> usize {
        let chunks = self.s.cells / CHUNK;
        Scratch::needed(&[batch * self.asked(), batch * chunks * self.record()])
    }

    fn bytes(&self) -> usize {
        self.query.bytes() + self.key.bytes() + self.value.bytes() + self.out.bytes() + self.norm.bytes()
    }

    fn shared_weights(&self) -> &[f32] {
        self.positions.values()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let (kernels, precision, s) = (self.kernels, self.precision, self.s);
        let (c, rows) = (s.channels, self.rows());
        let token_values = s.tokens * c;
        let [tokens, positions, image] = [inputs[0], inputs[1], inputs[2]];
        let (boxes, images) = (out.len() / token_values, image.len() / (s.cells * c));
        let (mut shared, mut team) = workers.parts();
        let panels = shared.take(boxes * self.asked());
        let chunks = s.cells / CHUNK;
        let found = shared.take(boxes * chunks * self.record());

        // What each box asks, as columns for a product with the image.
        let tiles = Tiles::new(panels, self.asked(), 1, self.asked());
        team.each(|mut scratch| {
            let [placed, query] = [(); 2].map(|()| scratch.take(token_values));
            let asked = scratch.take(rows * c);
            let mut words = Words::take(&mut scratch, s.tokens, c);
            while let Some(mut tile) = tiles.next() {
                let own = tile.index * token_values..(tile.index + 1) * token_values;
                sum(&tokens[own.clone()], &positions[own], placed);
                self.query.run_f32(kernels, placed, c, s.tokens, &mut words, Output::new(query, s.inner()));
                self.key.run(kernels, s, query, asked);
                kernels.pack_columns(s.heads(precision), asked, c, tile.whole());
            }
        });

        // Each chunk of each image, for all boxes that look at it.
        let per_image = boxes / images;
        let record = self.record();
        let tiles = Tiles::new(found, per_image * record, 1, per_image * record);
        team.each(|mut scratch| {
            let cell_panels = scratch.take(kernels.packed_words(self.cells()));
            let [scores, turned, weights] = [(); 3].map(|()| scratch.take(CHUNK * s.columns));
            let mut words = Words::take(&mut scratch, CHUNK, c);
            while let Some(mut tile) = tiles.next() {
                let (picture, chunk) = (tile.index / chunks, tile.index % chunks);
                let x = &image[(picture * s.cells + chunk * CHUNK) * c..][..CHUNK * c];
                let positions = Prepare::Add(&self.positions.values()[chunk * CHUNK * c..]);
                kernels.rows(precision, x, c, (CHUNK, c), positions, &mut words, 0);
                let cells = kernels.pack_rows(self.cells(), x, c, cell_panels);
                for (nth, record) in tile.whole().chunks_exact_mut(record).enumerate() {
                    let own = &panels[(picture * per_image + nth) * self.asked()..][..self.asked()];
                    let asked = kernels.packed(s.heads(precision), own);
                    let placed = words.matrix(kernels, precision, CHUNK, c);
                    kernels.product(&placed, &asked, Output::new(scores, s.columns));
                    kernels.transpose(scores, s.columns, (CHUNK, rows), turned, CHUNK);
                    let (sums, extremes) = record.split_at_mut(rows * c);
                    let (greatest, total) = extremes.split_at_mut(rows);
                    let turned = &mut turned[..rows * CHUNK];
                    let weights = kernels.softmax(precision, turned, CHUNK, weights, total, Some(greatest));
                    kernels.product(&weights, &cells, Output::new(sums, c));
                }
            }
        });

        // The chunks of each box together.
        let norm = Norm { gamma: &self.norm[0], beta: &self.norm[1], epsilon: LAYER_NORM_EPS };
        let tiles = Tiles::new(out, token_values, 1, token_values);
        team.each(|mut scratch| {
            let attended = scratch.take(token_values);
            let sums = scratch.take(rows * c);
            let mut words = Words::take(&mut scratch, s.tokens, c);
            while let Some(mut tile) = tiles.next() {
                let (picture, nth) = (tile.index / per_image, tile.index % per_image);
                let records = (0..chunks)
                    .map(|chunk| &found[((picture * chunks + chunk) * per_image + nth) * record..][..record]);
                merge(records, rows, c, sums);
                self.value.run(kernels, s, sums, attended);
                let x = &tokens[tile.index * token_values..][..token_values];
                let to = Output::new(tile.whole(), c).residual(Residual::Rows(x, c));
                self.out.run_f32(kernels, attended, s.inner(), s.tokens, &mut words, to);
                kernels.norm_in_place(tile.whole(), c, norm);
            }
        });
    }
}

/// Weighted means over all chunks, from what each found.
fn merge<'a>(records: impl Iterator<Item = &'a [f32]> + Clone, rows: usize, c: usize, means: &mut [f32]) {
    for (row, mean) in means.chunks_exact_mut(c).enumerate() {
        let greatest_of = |record: &[f32]| record[rows * c + row];
        let greatest = records.clone().map(greatest_of).fold(f32::NEG_INFINITY, f32::max);
        let weight = |record: &[f32]| (greatest_of(record) - greatest).exp();
        let total: f32 = records.clone().map(|r| weight(r) * r[rows * (c + 1) + row]).sum();
        mean.fill(0.0);
        for record in records.clone() {
            let weight = weight(record) / total;
            mean.iter_mut().zip(&record[row * c..]).for_each(|(mean, v)| *mean += weight * v);
        }
    }
}
