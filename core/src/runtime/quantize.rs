//! Weights in 8 bits.

use std::prelude::v1::*;

/// Quantizes weights symmetrically to integers of -127 to 127, with a scale for each of `channels` output channels:
/// the largest magnitude of a channel becomes 127, and values are rounded to nearest, ties to even. `channel(i)` is the
/// output channel of `values[i]`. Returns the integers, in the order of `values`, and the scales.
///
/// # Panics
/// If `channel` returns a number of `channels` or more.
pub fn quantize_weights(values: &[f32], channels: usize, channel: impl Fn(usize) -> usize) -> (Vec<i8>, Vec<f32>) {
    let mut scale = vec![0.0f32; channels];
    for (i, v) in values.iter().enumerate() {
        let scale = &mut scale[channel(i)];
        *scale = scale.max(v.abs());
    }
    // A channel of zeros has no scale: any will do.
    scale.iter_mut().for_each(|s| *s = if *s > 0.0 { *s / 127.0 } else { 1.0 });
    let integers = values.iter().enumerate().map(|(i, v)| (v / scale[channel(i)]).round_ties_even() as i8).collect();
    (integers, scale)
}
