//! Self-attention of a box's tokens. Seven tokens: plain loops will do between the projections.

use std::prelude::v1::*;

use anyhow::{Result, ensure};

use super::bytes::Bytes;
use super::{Block, Linear, Params};
use crate::runtime::functions::LAYER_NORM_EPS;
use crate::runtime::kernels::{Kernels, Norm, Output, Residual, Scratch, Tiles, Words};
use crate::runtime::workers::Workers;

#[derive(Debug)]
pub(super) struct SelfAttention {
    kernels: Kernels,
    tokens: usize,
    channels: usize,
    heads: usize,
    /// The first layer's: no positions, no residual.
    first: bool,
    /// Query, key, value, output.
    projections: [Linear; 4],
    norm: [Vec<f32>; 2],
}

impl SelfAttention {
    pub(super) fn new(p: &Params<'_>, first: bool) -> Result<Self> {
        let [tokens, channels] = p.sizes(0)?;
        if !first {
            p.same(0, 1)?;
        }
        let [_, _, heads, depth] = p.attribute("split")?;
        ensure!(heads > 0 && heads * depth == channels as i64, "{heads} heads of {depth} in {channels} channels");
        ensure!(tokens <= 64, "{tokens} tokens");
        let mut weights = p.weights();
        let mut projection = || {
            let linear = weights.linear(p.settings.float)?;
            ensure!(linear.k == channels && linear.n == channels, "channels of self-attention");
            Ok(linear)
        };
        let projections = [projection()?, projection()?, projection()?, projection()?];
        let norm = weights.norm(p.channels(channels)?)?;
        Ok(Self { kernels: p.settings.kernels, tokens, channels, heads: heads as usize, first, projections, norm })
    }

    /// Multi-head attention of one box's tokens.
    fn attend(&self, [q, k, v]: [&[f32]; 3], out: &mut [f32]) {
        let (c, depth) = (self.channels, self.channels / self.heads);
        let mut weights = [0.0f32; 64];
        for head in (0..c).step_by(depth) {
            let part = |values: &'_ [f32], token: usize| -> core::ops::Range<usize> {
                debug_assert!(values.len() >= (token + 1) * c);
                token * c + head..token * c + head + depth
            };
            for query in 0..self.tokens {
                let own = &q[part(q, query)];
                let weights = &mut weights[..self.tokens];
                for (token, weight) in weights.iter_mut().enumerate() {
                    *weight = own.iter().zip(&k[part(k, token)]).map(|(q, k)| q * k).sum();
                }
                let greatest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                weights.iter_mut().for_each(|w| *w = (*w - greatest).exp());
                let sum: f32 = weights.iter().sum();
                let to = &mut out[part(v, query)];
                to.fill(0.0);
                for (token, weight) in weights.iter().enumerate() {
                    to.iter_mut().zip(&v[part(v, token)]).for_each(|(to, v)| *to += weight / sum * v);
                }
            }
        }
    }
}

impl Block for SelfAttention {
    fn scratch(&self) -> usize {
        let values = self.tokens * self.channels;
        Scratch::needed(&[values; 5]) + Words::len(self.tokens, self.channels)
    }

    fn bytes(&self) -> usize {
        self.projections.bytes() + self.norm.bytes()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
        let (kernels, c, tokens) = (self.kernels, self.channels, self.tokens);
        let norm = Norm { gamma: &self.norm[0], beta: &self.norm[1], epsilon: LAYER_NORM_EPS };
        let tiles = Tiles::new(out, c, tokens, c);
        workers.team().each(|mut scratch| {
            let [q, k, v, attended, placed] = [(); 5].map(|()| scratch.take(tokens * c));
            let mut words = Words::take(&mut scratch, tokens, c);
            while let Some(mut tile) = tiles.next() {
                let own = tile.top * c..(tile.top + tokens) * c;
                let x = &inputs[0][own.clone()];
                placed.copy_from_slice(x);
                if !self.first {
                    placed.iter_mut().zip(&inputs[1][own]).for_each(|(to, p)| *to += p);
                }
                let sources = [&*placed, &*placed, x];
                for ((linear, source), to) in self.projections.iter().zip(sources).zip([&mut *q, &mut *k, &mut *v]) {
                    linear.run_f32(kernels, source, c, tokens, &mut words, Output::new(to, c));
                }
                self.attend([q, k, v], attended);
                let residual = if self.first { Residual::None } else { Residual::Rows(x, c) };
                let to = Output::new(tile.whole(), c).residual(residual);
                self.projections[3].run_f32(kernels, attended, c, tokens, &mut words, to);
                kernels.norm_in_place(tile.whole(), c, norm);
            }
        });
    }
}
