//! Shape-distance loss: the prediction against a map of the object that is highest at its rim.

use std::ops::Range;

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
    let mut target = vec![0.0; mask.len()];
    let Some([columns, rows]) = surroundings(mask, width) else { return target };
    // The nearest background pixel is never beyond the pixels around the object's box.
    let part = |y: usize| y * width + columns.start..y * width + columns.end;
    let object: Vec<bool> = rows.clone().flat_map(|y| mask[part(y)].iter().copied()).collect();
    let background: Vec<bool> = object.iter().map(|&g| !g).collect();
    let mut distances = squared_distances(&background, [1, rows.len(), columns.len()], [1.0; 3], f64::INFINITY);
    for distance in &mut distances {
        *distance = if distance.is_finite() { distance.sqrt() } else { 0.0 };
    }
    let greatest = distances.iter().copied().fold(0.0, f64::max) + LEAST_DISTANCE;
    let value = |(&g, &d): (&bool, &f64)| if g { 1.0 / (1.0 + (-(1.0 - d / greatest) / STEEPNESS).exp()) } else { 0.0 };
    let lines = object.chunks_exact(columns.len()).zip(distances.chunks_exact(columns.len()));
    for (y, (object, distances)) in rows.zip(lines) {
        for (target, pixel) in target[part(y)].iter_mut().zip(object.iter().zip(distances)) {
            *target = value(pixel) as f32;
        }
    }
    target
}

/// Columns and rows of the box of the pixels that are set, and of those around it that the image has.
fn surroundings(mask: &[bool], width: usize) -> Option<[Range<usize>; 2]> {
    let line = |y: usize| &mask[y * width..][..width];
    let height = mask.len() / width.max(1);
    let top = (0..height).find(|&y| line(y).contains(&true))?;
    let bottom = (0..height).rev().find(|&y| line(y).contains(&true))?;
    let left = (top..=bottom).filter_map(|y| line(y).iter().position(|&g| g)).min()?;
    let right = (top..=bottom).filter_map(|y| line(y).iter().rposition(|&g| g)).max()?;
    Some([left.saturating_sub(1)..(right + 2).min(width), top.saturating_sub(1)..(bottom + 2).min(height)])
}

/// Mean over the batch of `sum |D - p| / sum p`.
pub(super) fn shape_distance(logits: &Tensor, shape: &Tensor) -> Tensor {
    let p = logits.sigmoid();
    assert_eq!(shape.size(), p.size(), "shape of the shape maps");
    let numerator = sum_pixels(&(shape - &p).abs()) + SMOOTH;
    (numerator / (sum_pixels(&p) + SMOOTH)).mean(None::<Kind>)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The part of the image around the object says all.
        #[test]
        fn the_target_does_not_depend_on_the_rest_of_the_image(
            side in 1..9_usize,
            bits in proptest::collection::vec(any::<bool>(), 64),
            [left, top, right, bottom] in [0..4_usize, 0..4, 0..4, 0..4],
        ) {
            let mask = &bits[..side * side];
            // With a border of background, which alone is no part of the object's rim at the image's edge.
            let (width, height) = (side + left + right, side + top + bottom);
            let mut framed = vec![false; width * height];
            for y in 0..side {
                framed[(y + top) * width + left..][..side].copy_from_slice(&mask[y * side..][..side]);
            }
            let background: Vec<bool> = framed.iter().map(|&g| !g).collect();
            let distances = squared_distances(&background, [1, height, width], [1.0; 3], f64::INFINITY);
            let root = |d: f64| if d.is_finite() { d.sqrt() } else { 0.0 };
            let greatest = distances.iter().copied().map(root).fold(0.0, f64::max) + LEAST_DISTANCE;
            for ((value, g), d) in shape_target(&framed, height, width).into_iter().zip(framed).zip(distances) {
                let expected = 1.0 / (1.0 + (-(1.0 - root(d) / greatest) / STEEPNESS).exp());
                prop_assert_eq!(value, if g { expected as f32 } else { 0.0 });
            }
        }
    }
}
