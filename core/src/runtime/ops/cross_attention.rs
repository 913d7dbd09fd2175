//! What both directions of attention between tokens and image share.
//!
//! A box has seven tokens, an image 4096. Projecting the image for each direction and box would be most of the work;
//! instead the projections are moved to the tokens' side, where they cost next to nothing: a score is
//! `(x Wk) q = x (Wk q)`, and a sum of values `sum p (x Wv) = (sum p x) Wv`. The result is the same but for rounding.

use std::prelude::v1::*;

use anyhow::{Result, ensure};

use super::Params;
use super::bytes::Bytes;
use super::params::Reader;
use crate::Precision;
use crate::runtime::kernels::{Kernels, Matrix, Output, Packing, Weights};

/// Heads of the decoder: what the kernel for softmax over heads is written for.
pub(super) const HEADS: usize = 8;

/// Sizes of an attention between tokens and image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Tokens of a box.
    pub(super) tokens: usize,
    /// Cells of an image.
    pub(super) cells: usize,
    /// Channels of both.
    pub(super) channels: usize,
    /// Channels of a head.
    pub(super) depth: usize,
    /// A column for each token and head, the heads side by side, and padding.
    pub(super) columns: usize,
}

impl Sizes {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let [tokens, channels] = p.sizes(0)?;
        p.same(0, 1)?;
        if !p.is_one(2)? {
            p.same_batch(0, 2)?;
        }
        let [cells, image_channels] = p.sizes(2)?;
        let [_, _, heads, depth] = p.attribute("split")?;
        ensure!(heads == HEADS as i64 && depth == 16, "{heads} heads of {depth}, not {HEADS} of 16");
        ensure!(p.channels(channels)? == image_channels && channels <= 256, "channels of cross-attention");
        ensure!((1..=64).contains(&tokens) && cells.is_multiple_of(64), "{tokens} tokens, {cells} cells");
        let columns = (tokens * HEADS).next_multiple_of(16);
        Ok(Self { tokens, cells, channels, depth: depth as usize, columns })
    }

    /// How rows (token, head) of all channels are packed: a column for each, and columns of zeros.
    pub(super) const fn heads(&self, precision: Precision) -> Packing {
        Packing::new(precision, self.channels, self.tokens * HEADS).padded_to(self.columns)
    }

    /// Channels of all heads.
    pub(super) const fn inner(&self) -> usize {
        HEADS * self.depth
    }
}

/// A projection's weights head by head, turned: from a head's channels to the model's.
#[derive(Debug)]
pub(super) struct HeadsOut(Vec<Weights>);

impl HeadsOut {
    /// From a weight (channels, inner), whose turn it is to be transposed.
    pub(super) fn transposed(p: &Params<'_>, weights: &mut Reader<'_>, s: Sizes) -> Result<Self> {
        let values = weights.values(&[s.channels, s.inner()])?;
        let pack = |h| {
            let value = |i: usize| values[i % s.channels * s.inner() + h * s.depth + i / s.channels];
            Weights::pack(p.settings.kernels, Precision::F32, [s.depth, s.channels], value)
        };
        Ok(Self((0..HEADS).map(pack).collect()))
    }

    /// From a weight (inner, channels), as it is.
    pub(super) fn straight(p: &Params<'_>, weights: &mut Reader<'_>, s: Sizes) -> Result<Self> {
        let values = weights.values(&[s.inner(), s.channels])?;
        let pack = |head: &[f32]| Weights::pack(p.settings.kernels, Precision::F32, [s.depth, s.channels], |i| head[i]);
        Ok(Self(values.chunks_exact(s.depth * s.channels).map(pack).collect()))
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(Weights::bytes).sum()
    }

    /// Rows (token, head) of all channels, from rows of tokens with their heads side by side.
    pub(super) fn run(&self, kernels: Kernels, s: Sizes, tokens: &[f32], out: &mut [f32]) {
        for (head, weights) in self.0.iter().enumerate() {
            let rows = Matrix::f32(&tokens[head * s.depth..], s.inner(), s.tokens, s.depth);
            let to = Output::new(&mut out[head * s.channels..], HEADS * s.channels);
            kernels.product(&rows, &weights.panels(), to);
        }
    }
}

/// A projection's weights head by head: from the model's channels to a head's.
#[derive(Debug)]
pub(super) struct HeadsIn {
    heads: Vec<Weights>,
    bias: Vec<f32>,
}

impl HeadsIn {
    /// From a weight (channels, inner) and its bias.
    pub(super) fn new(p: &Params<'_>, weights: &mut Reader<'_>, s: Sizes) -> Result<Self> {
        let values = weights.values(&[s.channels, s.inner()])?;
        let pack = |h| {
            let value = |i: usize| values[i / s.depth * s.inner() + h * s.depth + i % s.depth];
            Weights::pack(p.settings.kernels, Precision::F32, [s.channels, s.depth], value)
        };
        Ok(Self { heads: (0..HEADS).map(pack).collect(), bias: weights.values(&[s.inner()])? })
    }

    pub(super) fn bytes(&self) -> usize {
        self.heads.iter().map(Weights::bytes).sum::<usize>() + self.bias.bytes()
    }

    /// Rows of tokens with their heads side by side, from rows (token, head) of all channels.
    pub(super) fn run(&self, kernels: Kernels, s: Sizes, rows: &[f32], out: &mut [f32]) {
        for (head, weights) in self.heads.iter().enumerate() {
            let rows = Matrix::f32(&rows[head * s.channels..], HEADS * s.channels, s.tokens, s.channels);
            let to = Output::new(&mut out[head * s.depth..], s.inner());
            kernels.product(&rows, &weights.panels(), to.bias(&self.bias[head * s.depth..]));
        }
    }
}

/// `to = a + b`.
pub(super) fn sum(a: &[f32], b: &[f32], to: &mut [f32]) {
    to.iter_mut().zip(a.iter().zip(b)).for_each(|(to, (a, b))| *to = a + b);
}
