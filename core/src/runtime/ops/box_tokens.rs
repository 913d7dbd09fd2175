//! The tokens of boxes: learned output tokens, then the corners' Fourier features.

use std::prelude::v1::*;

use anyhow::{Result, ensure};

use super::bytes::Bytes;
use super::{Block, Params};
use crate::MODEL_SIDE;
use crate::runtime::workers::Workers;

#[derive(Debug)]
pub(super) struct BoxTokens {
    /// Frequencies: those of x, then those of y.
    gaussian: Vec<f32>,
    corners: Vec<f32>,
    outputs: Vec<f32>,
    channels: usize,
}

impl BoxTokens {
    pub(super) fn new(p: &Params<'_>) -> Result<Self> {
        let [corners] = p.sizes(0)?;
        ensure!(corners == 4, "a box of {corners} coordinates");
        let [_, tokens, channels] = p.shape(3)?;
        p.channels(channels)?;
        let mut weights = p.weights();
        let gaussian = weights.values(&[2, channels / 2])?;
        let corners = weights.values(&[1, 2, channels])?;
        Ok(Self { gaussian, corners, outputs: weights.values(&[1, tokens, channels])?, channels })
    }
}

impl Block for BoxTokens {
    fn scratch(&self) -> usize {
        0
    }

    fn bytes(&self) -> usize {
        self.gaussian.bytes() + self.corners.bytes() + self.outputs.bytes()
    }

    fn run(&self, inputs: &[&[f32]], out: &mut [f32], _: &mut Workers<'_>) {
        let c = self.channels;
        let (fx, fy) = self.gaussian.split_at(c / 2);
        for (b, out) in inputs[0].chunks_exact(4).zip(out.chunks_exact_mut(self.outputs.len() + 2 * c)) {
            let (outputs, corners) = out.split_at_mut(self.outputs.len());
            outputs.copy_from_slice(&self.outputs);
            let points = b.chunks_exact(2).zip(corners.chunks_exact_mut(c)).zip(self.corners.chunks_exact(c));
            for ((point, token), learned) in points {
                let [x, y] = [0, 1].map(|i| 2.0 * ((point[i] + 0.5) / MODEL_SIDE as f32) - 1.0);
                for i in 0..c / 2 {
                    let angle = std::f32::consts::TAU * (x * fx[i] + y * fy[i]);
                    token[i] = angle.sin() + learned[i];
                    token[c / 2 + i] = angle.cos() + learned[c / 2 + i];
                }
            }
        }
    }
}
