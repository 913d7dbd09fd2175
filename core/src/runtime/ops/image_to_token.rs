//! The image attends to the tokens: attention, residual, LayerNorm.

use std::prelude::v1::*;

use anyhow::{Result, ensure};

use super::bytes::Bytes;
use super::cross_attention::{HEADS, HeadsOut, Sizes, sum};
use super::{Block, Linear, Params};
use crate::Precision;
use crate::runtime::constant::Shared;
use crate::runtime::functions::LAYER_NORM_EPS;
use crate::runtime::kernels::{Kernels, Norm, Output, Packing, Prepare, Residual, Scratch, Tiles, Words};
use crate::runtime::workers::Workers;

/// Cells of a tile.
const CELLS: usize = 64;
/// A score that no other comes near: its exponential is 0.
const NEVER: f32 = -1e30;

#[derive(Debug)]
pub(super) struct ImageToToken {
    kernels: Kernels,
    precision: Precision,
    s: Sizes,
    positions: Shared,
    query: HeadsOut,
    query_bias: Vec<f32>,
    key: Linear,
    value: Linear,
    out: HeadsOut,
    out_bias: Vec<f32>,
    norm: [Vec<f32>; 2],
}

impl ImageToToken {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let s = Sizes::new(p)?;
        let mut weights = p.weights();
        let positions = weights.shared(&[1, s.cells, s.channels])?;
        let query = HeadsOut::transposed(p, &mut weights, s)?;
        let query_bias = weights.values(&[s.inner()])?;
        let (key, value) = (weights.linear(p.settings.float)?, weights.linear(p.settings.float)?);
        for linear in [&key, &value] {
            ensure!(linear.k == s.channels && linear.n == s.inner(), "channels of keys and values");
        }
        let out = HeadsOut::straight(p, &mut weights, s)?;
        let out_bias = weights.values(&[s.channels])?;
        let norm = weights.norm(s.channels)?;
        let (kernels, precision) = (p.settings.kernels, p.settings.float);
        Ok(Self { kernels, precision, s, positions, query, query_bias, key, value, out, out_bias, norm })
    }

    /// How a box's values are packed: a row for each token and head, and padding.
    const fn values(&self) -> Packing {
        Packing::new(self.precision, self.s.columns, self.s.channels)
    }

    /// What a box's tokens are to the image: packed keys, packed values, a bias for each score.
    fn sizes(&self) -> [usize; 3] {
        let words = [self.s.heads(self.precision), self.values()].map(|p| self.kernels.packed_words(p));
        [words[0], words[1], self.s.columns]
    }

    fn record(&self) -> usize {
        Scratch::needed(&self.sizes())
    }
}

impl Block for ImageToToken {
    fn scratch(&self) -> usize {
        let s = &self.s;
        let once = Scratch::needed(&[s.tokens * s.channels, s.tokens * s.inner(), s.columns * s.channels])
            + Words::len(s.tokens, s.channels);
        let tile = Scratch::needed(&[CELLS * s.columns, CELLS * s.columns]) + Words::len(CELLS, s.channels);
        once.max(tile)
    }

    fn shared(&self, batch: usize) -> usize {
        batch * self.record()
    }

    fn bytes(&self) -> usize {
        self.query.bytes()
            + self.query_bias.bytes()
            + self.key.bytes()
            + self.value.bytes()
            + self.out.bytes()
            + self.out_bias.bytes()
            + self.norm.bytes()
    }

    fn shared_weights(&self) -> &[f32] {
        self.positions.values()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let (kernels, precision, s) = (self.kernels, self.precision, self.s);
        let (c, rows, token_values) = (s.channels, s.tokens * HEADS, s.tokens * s.channels);
        let [tokens, positions, image] = [inputs[0], inputs[1], inputs[2]];
        let boxes = out.len() / (s.cells * c);
        let (mut shared, mut team) = workers.parts();
        let records = shared.take(boxes * self.record());
        let tiles = Tiles::new(records, self.record(), 1, self.record());
        team.each(|mut scratch| {
            let placed = scratch.take(token_values);
            let projected = scratch.take(s.tokens * s.inner());
            let turned = scratch.take(s.columns * c);
            let mut words = Words::take(&mut scratch, s.tokens, c);
            while let Some(mut tile) = tiles.next() {
                let own = tile.index * token_values..(tile.index + 1) * token_values;
                let mut record = Scratch::new(tile.whole());
                let [keys, values, bias] = self.sizes().map(|n| record.take(n));
                sum(&tokens[own.clone()], &positions[own.clone()], placed);
                self.key.run_f32(kernels, placed, c, s.tokens, &mut words, Output::new(projected, s.inner()));
                self.query.run(kernels, s, projected, turned);
                kernels.pack_columns(s.heads(precision), turned, c, keys);
                bias.fill(NEVER);
                let heads = projected.chunks_exact(s.depth).zip(self.query_bias.chunks_exact(s.depth).cycle());
                for (bias, (key, query)) in bias.iter_mut().zip(heads) {
                    *bias = key.iter().zip(query).map(|(k, q)| k * q).sum();
                }
                let x = &tokens[own];
                self.value.run_f32(kernels, x, c, s.tokens, &mut words, Output::new(projected, s.inner()));
                turned[rows * c..].fill(0.0);
                self.out.run(kernels, s, projected, turned);
                kernels.pack_rows(self.values(), turned, c, values);
            }
        });

        let norm = Norm { gamma: &self.norm[0], beta: &self.norm[1], epsilon: LAYER_NORM_EPS };
        let tiles = Tiles::new(out, c, CELLS, c);
        team.each(|mut scratch| {
            let [scores, weights] = [(); 2].map(|()| scratch.take(CELLS * s.columns));
            let mut words = Words::take(&mut scratch, CELLS, c);
            while let Some(mut tile) = tiles.next() {
                let (nth, cell) = (tile.top / s.cells, tile.top % s.cells);
                // The first layer's image is one for all boxes.
                let x = &image[(tile.top * c) % image.len()..][..CELLS * c];
                let record = &records[nth * self.record()..][..self.record()];
                let [keys, values, bias] = Scratch::pieces(record, self.sizes());
                let positions = Prepare::Add(&self.positions.values()[cell * c..]);
                kernels.rows(precision, x, c, (CELLS, c), positions, &mut words, 0);
                let placed = words.matrix(kernels, precision, CELLS, c);
                let to = Output::new(scores, s.columns).bias(bias);
                kernels.product(&placed, &kernels.packed(s.heads(precision), keys), to);
                let weights = kernels.softmax_of_heads(precision, scores, s.columns, weights);
                let to = Output::new(tile.whole(), c).bias(&self.out_bias).residual(Residual::Rows(x, c));
                kernels.product(&weights, &kernels.packed(self.values(), values), to);
                kernels.norm_in_place(tile.whole(), c, norm);
            }
        });
    }
}
