//! Whether a mask still shows the object that is followed.

use std::prelude::v1::*;

/// What a mask in the next slice tells of whether the object goes on there. The network does not know: asked for a box it
/// always draws something.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Evidence {
    /// Log-odds of the predicted IoU, -6.2 to 6.2.
    pub confidence: f64,
    /// How far the confidence is below the greatest one since the user's slice, at most 0.
    pub drop: f64,
    /// Dice overlap with the mask of the slice before on the model's grid, 0 to 1.
    pub overlap: f64,
    /// Logarithm of the area beside that of the slice before, both in cells of the model's grid.
    pub growth: f64,
    /// Distance of the mean intensity from that of the mask in the user's slice, in standard deviations of the latter,
    /// 0 to 4.
    pub tone: f64,
    /// Distance of the mean intensity from that of the rest of the box, in standard deviations of the latter, 0 to 4.
    pub contrast: f64,
}

/// Weights of the evidence in the order of its fields, and what is added: fitted by `benches/src/bin/follow/fit.py` on
/// objects of 61 training volumes from ten sources, followed from their largest sections by exact boxes.
const WEIGHTS: ([f64; 6], f64) = ([0.757, 0.322, -0.906, -1.194, -0.602, 0.316], 1.294);

impl Evidence {
    /// The fields in order.
    pub const fn to_array(&self) -> [f64; 6] {
        [self.confidence, self.drop, self.overlap, self.growth, self.tone, self.contrast]
    }

    /// Log-odds that the mask shows the object: above 0 it rather does.
    pub fn log_odds(&self) -> f64 {
        let (weights, bias) = WEIGHTS;
        weights.iter().zip(self.to_array()).map(|(weight, value)| weight * value).sum::<f64>() + bias
    }
}

/// Log-odds of a share, which is cut to 0.002 to 0.998.
pub(super) fn log_odds_of(share: f32) -> f64 {
    let share = f64::from(share).clamp(0.002, 0.998);
    libm::log(share / (1.0 - share))
}
