//! Attention within windows, window by window: nothing is padded, partitioned or reversed in memory.
//!
//! Windows reach over the image's right and lower edge. There the network was trained with zeros **before** the
//! LayerNorm, so that every token outside is the norm's bias: its key and value are the same wherever it is, computed
//! once, and its query is never asked for.

use std::prelude::v1::*;

use anyhow::{Result, ensure};

use super::bytes::Bytes;
use super::{Block, Linear, Params};
use crate::Precision;
use crate::runtime::functions::LAYER_NORM_EPS;
use crate::runtime::kernels::{
    Buffer, Kernels, Matrix, Norm, Output, Packing, Prepare, Residual, Scratch, Tiles, Words,
};
use crate::runtime::workers::Workers;

/// Queries that pass through a head together.
const QUERIES: usize = 48;
/// Tokens to one product with weights, at least.
const TOKENS: usize = 96;
/// A score that no other comes near: its exponential is 0.
const NEVER: f32 = -1e30;

#[derive(Debug)]
pub(super) struct WindowAttention {
    kernels: Kernels,
    attention: Precision,
    height: usize,
    width: usize,
    channels: usize,
    window: usize,
    heads: usize,
    norm: [Vec<f32>; 2],
    qkv: Linear,
    /// Keys and values of a token outside the image, at their places in a row of queries, keys and values.
    outside: Buffer,
    /// For each head and query a row of `columns` values, those beyond the window [`NEVER`].
    bias: Buffer,
    columns: usize,
    project: Linear,
}

impl WindowAttention {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let [height, width, channels] = p.sizes(0)?;
        let ([window], [heads]) = (p.attribute("window")?, p.attribute("num_heads")?);
        ensure!((1..=32).contains(&window) && (1..=64).contains(&heads), "{heads} heads in windows of {window}");
        let (window, heads) = (window as usize, heads as usize);
        ensure!(p.channels(channels)?.is_multiple_of(16 * heads), "{channels} channels of {heads} heads");
        ensure!(channels / heads <= 256, "heads of {} channels", channels / heads);
        let mut weights = p.weights();
        let norm = weights.norm(channels)?;
        let qkv = weights.linear(p.settings.linear)?;
        ensure!(qkv.k == channels && qkv.n == 3 * channels, "channels of queries, keys and values");

        let tokens = window * window;
        let columns = tokens.next_multiple_of(16);
        let table = weights.values(&[heads, tokens, tokens])?;
        let project = weights.linear(p.settings.linear)?;
        ensure!(project.k == channels && project.n == channels, "channels of the projection");
        let mut bias = Buffer::zeroed(heads * tokens * columns);
        for (to, row) in bias.chunks_exact_mut(columns).zip(table.chunks_exact(tokens)) {
            to[..tokens].copy_from_slice(row);
            to[tokens..].fill(NEVER);
        }
        let kernels = p.settings.kernels;
        let mut outside = Buffer::zeroed(3 * channels);
        let mut room = Buffer::zeroed(Words::len(1, channels));
        let mut words = Words::take(&mut Scratch::new(&mut room), 1, channels);
        qkv.run_f32(kernels, &norm[1], channels, 1, &mut words, Output::new(&mut outside, 3 * channels));
        Ok(Self {
            kernels,
            attention: p.settings.float,
            height,
            width,
            channels,
            window,
            heads,
            norm,
            qkv,
            outside,
            bias,
            columns,
            project,
        })
    }

    /// Windows side by side in one tile.
    fn group(&self) -> usize {
        TOKENS.div_ceil(self.window * self.window).min(self.width.div_ceil(self.window))
    }

    /// Tokens of a window, padding or not, and channels of a head.
    const fn head(&self) -> (usize, usize) {
        (self.window * self.window, self.channels / self.heads)
    }

    /// How a head's keys are packed: a column for each token, and columns of zeros.
    const fn keys(&self) -> Packing {
        let (tokens, depth) = self.head();
        Packing::new(self.attention, depth, tokens).padded_to(self.columns)
    }

    /// How a head's values are packed.
    const fn values(&self) -> Packing {
        let (tokens, depth) = self.head();
        Packing::new(self.attention, tokens, depth)
    }

    /// Attention of one head to all tokens of a window, whose rows of queries, keys and values are `qkv`, for the tokens
    /// that `runs` asks; their results follow each other in `out`.
    fn attend(&self, qkv: &[f32], runs: &Runs, head: usize, s: &mut HeadScratch<'_>, out: &mut [f32]) {
        let (kernels, precision, c) = (self.kernels, self.attention, self.channels);
        let (tokens, depth) = self.head();
        let column = head * depth;
        let keys = kernels.pack_columns(self.keys(), &qkv[c + column..], 3 * c, s.keys);
        let values = kernels.pack_rows(self.values(), &qkv[2 * c + column..], 3 * c, s.values);
        let bias = &self.bias[head * tokens * self.columns..][..tokens * self.columns];
        for run in 0..runs.count {
            let mut done = 0;
            while done < runs.length {
                let count = (runs.length - done).div_ceil((runs.length - done).div_ceil(QUERIES));
                let (query, token) = (run * runs.step + done, run * runs.length + done);
                let q = &qkv[query * 3 * c + column..];
                let scores = &mut s.scores[..count * self.columns];
                let bias = Residual::Rows(&bias[query * self.columns..], self.columns);
                let to = Output::new(scores, self.columns).residual(bias);
                if precision == Precision::F32 {
                    kernels.product(&Matrix::f32(q, 3 * c, count, depth), &keys, to);
                } else {
                    kernels.rows(precision, q, 3 * c, (count, depth), Prepare::Nothing, &mut s.queries, 0);
                    kernels.product(&s.queries.matrix(kernels, precision, count, depth), &keys, to);
                }
                kernels.softmax(precision, scores, self.columns, s.weights, s.sums, None);
                let ld = kernels.words(precision, self.columns);
                let weights = Matrix::words(precision, s.weights, ld, count, kernels.words(precision, tokens));
                let to = Output::new(&mut out[token * c + column..], c).row_factor(s.sums);
                kernels.product(&weights, &values, to);
                done += count;
            }
        }
    }
}

/// Which tokens of a window are asked: `count` runs of `length`, `step` apart.
#[derive(Debug)]
struct Runs {
    count: usize,
    length: usize,
    step: usize,
}

/// Scratch memory of one head.
#[derive(Debug)]
struct HeadScratch<'a> {
    keys: &'a mut [f32],
    values: &'a mut [f32],
    queries: Words<'a>,
    scores: &'a mut [f32],
    weights: &'a mut [f32],
    sums: &'a mut [f32],
}

impl<'a> HeadScratch<'a> {
    fn sizes(a: &WindowAttention) -> [usize; 5] {
        let (keys, values) = (a.kernels.packed_words(a.keys()), a.kernels.packed_words(a.values()));
        [keys, values, QUERIES * a.columns, QUERIES * a.columns, QUERIES]
    }

    fn take(scratch: &mut Scratch<'a>, a: &WindowAttention) -> Self {
        let [keys, values, scores, weights, sums] = Self::sizes(a).map(|n| scratch.take(n));
        Self { keys, values, queries: Words::take(scratch, QUERIES, a.head().1), scores, weights, sums }
    }

    fn needed(a: &WindowAttention) -> usize {
        Scratch::needed(&Self::sizes(a)) + Words::len(QUERIES, a.head().1)
    }
}

impl Block for WindowAttention {
    fn scratch(&self) -> usize {
        let (c, window) = (self.channels, self.window * self.window);
        let tokens = self.group() * window;
        Scratch::needed(&[tokens * 3 * c, window * 3 * c, tokens * c, tokens * c])
            + Words::len(tokens, c)
            + HeadScratch::needed(self)
    }

    fn bytes(&self) -> usize {
        self.norm.bytes() + self.qkv.bytes() + self.outside.bytes() + self.bias.bytes() + self.project.bytes()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let (kernels, c, w) = (self.kernels, self.channels, self.width);
        let (window, group) = (self.window, self.group());
        let norm = Norm { gamma: &self.norm[0], beta: &self.norm[1], epsilon: LAYER_NORM_EPS };
        let precision = self.qkv.precision();
        let image = self.height * w * c;
        let mut team = workers.team();
        for (x, out) in inputs[0].chunks_exact(image).zip(out.chunks_exact_mut(image)) {
            let tiles = Tiles::new(out, w * c, window, group * window * c);
            team.each(|mut scratch| {
                let tokens = group * window * window;
                let qkv = scratch.take(tokens * 3 * c);
                let padded = scratch.take(window * window * 3 * c);
                let attended = scratch.take(tokens * c);
                let projected = scratch.take(tokens * c);
                let mut words = Words::take(&mut scratch, tokens, c);
                let mut head_scratch = HeadScratch::take(&mut scratch, self);
                while let Some(mut tile) = tiles.next() {
                    let (rows, across) = (tile.rows, tile.width / c);
                    let corner = tile.top * w + tile.left / c;
                    let pixel = |row: usize, column: usize| (corner + row * w + column) * c;
                    // Tokens go window by window, row by row.
                    let mut count = 0;
                    for left in (0..across).step_by(window) {
                        let length = window.min(across - left);
                        for row in 0..rows {
                            let source = &x[pixel(row, left)..];
                            kernels.rows(precision, source, c, (length, c), Prepare::Norm(norm), &mut words, count);
                            count += length;
                        }
                    }
                    let normed = words.matrix(kernels, precision, count, c);
                    self.qkv.run(kernels, &normed, Output::new(qkv, 3 * c));

                    let mut first = 0;
                    for left in (0..across).step_by(window) {
                        let length = window.min(across - left);
                        let own = &qkv[first * 3 * c..][..rows * length * 3 * c];
                        let whole = rows == window && length == window;
                        let (source, runs) = if whole {
                            (own, Runs { count: 1, length: window * window, step: 0 })
                        } else {
                            for row in 0..window {
                                let line = &mut padded[row * window * 3 * c..][..window * 3 * c];
                                let inside = if row < rows { length } else { 0 };
                                if inside > 0 {
                                    let own = &own[row * length * 3 * c..][..length * 3 * c];
                                    line[..length * 3 * c].copy_from_slice(own);
                                }
                                for token in line[inside * 3 * c..].chunks_exact_mut(3 * c) {
                                    token.copy_from_slice(&self.outside);
                                }
                            }
                            (&*padded, Runs { count: rows, length, step: window })
                        };
                        for head in 0..self.heads {
                            self.attend(source, &runs, head, &mut head_scratch, &mut attended[first * c..]);
                        }
                        first += rows * length;
                    }

                    let to = Output::new(projected, c);
                    self.project.run_f32(kernels, attended, c, count, &mut words, to);
                    let mut token = 0;
                    for left in (0..across).step_by(window) {
                        let length = window.min(across - left);
                        for row in 0..rows {
                            let own = x[pixel(row, left)..].iter().zip(&projected[token * c..]);
                            let line = &mut tile.row(row)[left * c..][..length * c];
                            line.iter_mut().zip(own).for_each(|(to, (x, p))| *to = x + p);
                            token += length;
                        }
                    }
                }
            });
        }
    }
}
