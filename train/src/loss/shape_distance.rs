//! Shape-distance loss: the prediction against a map of the object that is highest at its rim.

use tch::{Kind, Tensor};
use umedsam::metrics::squared_distances;

use super::sum_pixels;

/// Steepness k of the map.
const STEEPNESS: f64 = 0.2;
/// Keeps the greatest distance from being a divisor of 0.
const LEAST_DISTANCE: f64 = 1e-8;
/// In numerator and denominator, in pixels: below f32's resolution from 16 predicted pixels on. A prediction of nothing
/// stays finite, and where there is no object the loss is 1 whatever was predicted.
const SMOOTH: f64 = 1e-6;

/// The map D (H,W) of a mask: `g / (1 + exp(-(1 - d') / 0.2))`, where d' is the distance to the nearest background pixel
/// as a part of the object's greatest.
///
/// D tends to 0.9933 at the rim and is 0.5 at the deepest pixel; the image's border is no rim. Two cases the formula
/// leaves open: a mask of nothing gives 0 everywhere, with which the loss is exactly 1; in a mask without background no
/// pixel is deeper than another and all count as rim, 0.9933, since 0.5 would be neither object nor background.
///
/// # Panics
/// If `mask` is not `height` times `width` long.
pub fn shape_target(mask: &[bool], height: usize, width: usize) -> Vec<f32> {
    assert_eq!(mask.len(), height * width, "size of the mask");
    let background: Vec<bool> = mask.iter().map(|&g| !g).collect();
    let mut distances = squared_distances(&background, [1, height, width], [1.0; 3], f64::INFINITY);
    for distance in &mut distances {
        *distance = if distance.is_finite() { distance.sqrt() } else { 0.0 };
    }
    let greatest = distances.iter().copied().fold(0.0, f64::max) + LEAST_DISTANCE;
    let value = |(&g, d): (&bool, f64)| if g { 1.0 / (1.0 + (-(1.0 - d / greatest) / STEEPNESS).exp()) } else { 0.0 };
    mask.iter().zip(distances).map(|pixel| value(pixel) as f32).collect()
}

/// Mean over the batch of `sum |D - p| / sum p`.
pub(super) fn shape_distance(logits: &Tensor, shape: &Tensor) -> Tensor {
    let p = logits.sigmoid();
    assert_eq!(shape.size(), p.size(), "shape of the shape maps");
    let numerator = sum_pixels(&(shape - &p).abs()) + SMOOTH;
    (numerator / (sum_pixels(&p) + SMOOTH)).mean(None::<Kind>)
}
