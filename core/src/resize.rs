//! OpenCV's `resize(..., INTER_AREA)` on 8-bit images, bit for bit.
//!
//! The network was trained on images that were resized so. There are three cases, as in OpenCV: shrinking by integer
//! factors (integer sums), other shrinking (exact fractional coverage in f32), and enlarging (bilinear on shifted
//! coordinates in 11-bit fixed point). They follow `modules/imgproc/src/resize.cpp` of OpenCV 4.

use std::prelude::v1::*;

use crate::image::ImageView;

/// One source pixel's share of a destination pixel.
#[derive(Clone, Copy, Debug)]
struct Share {
    source: usize,
    target: usize,
    weight: f32,
}

/// One destination pixel of the enlarging branch: two source pixels and their 11-bit weights.
#[derive(Clone, Copy, Debug)]
struct Blend {
    first: usize,
    second: usize,
    weights: [i32; 2],
}

/// Resizes images. It keeps its buffers: a second image of the same size allocates nothing.
#[derive(Debug, Default)]
pub struct Resizer {
    columns: Vec<Share>,
    rows: Vec<Share>,
    blend_columns: Vec<Blend>,
    blend_rows: Vec<Blend>,
    partial: Vec<f32>,
    sums: Vec<f32>,
    lines: [Vec<i32>; 2],
}

impl Resizer {
    /// A resizer with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Memory of the buffers, in bytes.
    pub fn capacity_bytes(&self) -> usize {
        (self.columns.capacity() + self.rows.capacity()) * size_of::<Share>()
            + (self.blend_columns.capacity() + self.blend_rows.capacity()) * size_of::<Blend>()
            + (self.partial.capacity() + self.sums.capacity()) * 4
            + (self.lines[0].capacity() + self.lines[1].capacity()) * 4
    }

    /// Resizes `image` to `width` x `height` pixels in `target`: rows from top to bottom, the image's channels
    /// interleaved.
    ///
    /// # Panics
    /// If `target` does not hold `width * height * channels` bytes, or one of the sizes is 0.
    pub fn resize_into(&mut self, image: &ImageView<'_>, width: usize, height: usize, target: &mut [u8]) {
        let channels = image.channels().count();
        assert!(width > 0 && height > 0 && target.len() == width * height * channels, "size of the resized image");
        if (width, height) == (image.width(), image.height()) {
            for (y, row) in target.chunks_exact_mut(width * channels).enumerate() {
                row.copy_from_slice(image.row(y));
            }
            return;
        }
        let scale_x = scale(image.width(), width);
        let scale_y = scale(image.height(), height);
        if scale_x >= 1.0 && scale_y >= 1.0 {
            match (whole(scale_x), whole(scale_y)) {
                (Some(fx), Some(fy)) => shrink_whole(image, fx, fy, width, target),
                _ => self.shrink(image, scale_x, scale_y, width, height, target),
            }
        } else {
            self.enlarge(image, scale_x, scale_y, width, height, target);
        }
    }

    fn shrink(&mut self, image: &ImageView<'_>, sx: f64, sy: f64, width: usize, height: usize, target: &mut [u8]) {
        let channels = image.channels().count();
        let row_len = width * channels;
        area_shares(image.width(), width, sx, &mut self.columns);
        area_shares(image.height(), height, sy, &mut self.rows);
        self.partial.resize(row_len, 0.0);
        self.sums.resize(row_len, 0.0);
        let mut current = 0;
        self.sums.fill(0.0);
        for share in &self.rows {
            self.partial.fill(0.0);
            let source = image.row(share.source);
            for s in &self.columns {
                for c in 0..channels {
                    self.partial[s.target * channels + c] += f32::from(source[s.source * channels + c]) * s.weight;
                }
            }
            if share.target != current {
                store(&self.sums, &mut target[current * row_len..][..row_len]);
                current = share.target;
                for (sum, &p) in self.sums.iter_mut().zip(&self.partial) {
                    *sum = share.weight * p;
                }
            } else {
                for (sum, &p) in self.sums.iter_mut().zip(&self.partial) {
                    *sum += share.weight * p;
                }
            }
        }
        store(&self.sums, &mut target[current * row_len..][..row_len]);
    }

    fn enlarge(&mut self, image: &ImageView<'_>, sx: f64, sy: f64, width: usize, height: usize, target: &mut [u8]) {
        let channels = image.channels().count();
        let row_len = width * channels;
        blends(image.width(), width, sx, &mut self.blend_columns);
        blends(image.height(), height, sy, &mut self.blend_rows);
        for line in &mut self.lines {
            line.resize(row_len, 0);
        }
        for (row, blend) in target.chunks_exact_mut(row_len).zip(&self.blend_rows) {
            for (line, y) in self.lines.iter_mut().zip([blend.first, blend.second]) {
                let source = image.row(y);
                for (pixel, b) in line.chunks_exact_mut(channels).zip(&self.blend_columns) {
                    for (c, value) in pixel.iter_mut().enumerate() {
                        *value = i32::from(source[b.first * channels + c]) * b.weights[0]
                            + i32::from(source[b.second * channels + c]) * b.weights[1];
                    }
                }
            }
            let [w0, w1] = blend.weights;
            for ((out, &a), &b) in row.iter_mut().zip(&self.lines[0]).zip(&self.lines[1]) {
                *out = ((((w0 * (a >> 4)) >> 16) + ((w1 * (b >> 4)) >> 16) + 2) >> 2).clamp(0, 255) as u8;
            }
        }
    }
}

/// Source pixels for each destination pixel, through the inverse as OpenCV computes it (the roundings matter).
fn scale(source: usize, target: usize) -> f64 {
    1.0 / (target as f64 / source as f64)
}

fn whole(scale: f64) -> Option<usize> {
    let rounded = libm::rint(scale);
    ((scale - rounded).abs() < f64::EPSILON).then_some(rounded as usize)
}

fn store(sums: &[f32], target: &mut [u8]) {
    for (out, &sum) in target.iter_mut().zip(sums) {
        *out = round_u8(sum);
    }
}

fn round_u8(value: f32) -> u8 {
    libm::rintf(value).clamp(0.0, 255.0) as u8
}

fn shrink_whole(image: &ImageView<'_>, fx: usize, fy: usize, width: usize, target: &mut [u8]) {
    let channels = image.channels().count();
    let scale = 1.0 / (fx as f32 * fy as f32);
    for (y, row) in target.chunks_exact_mut(width * channels).enumerate() {
        for (i, out) in row.iter_mut().enumerate() {
            let (x, c) = (i / channels, i % channels);
            // A row's sum fits 32 bits for every side that is accepted, that of 4200 white rows does not.
            let mut sum = 0u64;
            for dy in 0..fy {
                let source = &image.row(y * fy + dy)[x * fx * channels + c..];
                sum += u64::from(source.iter().step_by(channels).take(fx).map(|&v| u32::from(v)).sum::<u32>());
            }
            // OpenCV halves upwards in its 2x2 kernel and to even in the general one.
            *out = if (fx, fy) == (2, 2) { ((sum + 2) >> 2) as u8 } else { round_u8(sum as f32 * scale) };
        }
    }
}

fn area_shares(source: usize, target: usize, scale: f64, shares: &mut Vec<Share>) {
    shares.clear();
    for t in 0..target {
        let start = t as f64 * scale;
        let end = start + scale;
        let cell = scale.min(source as f64 - start);
        let last = (libm::floor(end) as usize).min(source - 1);
        let first = (libm::ceil(start) as usize).min(last);
        if first as f64 - start > 1e-3 {
            shares.push(Share { source: first - 1, target: t, weight: ((first as f64 - start) / cell) as f32 });
        }
        for s in first..last {
            shares.push(Share { source: s, target: t, weight: (1.0 / cell) as f32 });
        }
        if end - last as f64 > 1e-3 {
            let weight = ((end - last as f64).min(1.0).min(cell) / cell) as f32;
            shares.push(Share { source: last, target: t, weight });
        }
    }
}

fn blends(source: usize, target: usize, scale: f64, blends: &mut Vec<Blend>) {
    const ONE: f32 = 2048.0;
    let inverse = target as f64 / source as f64;
    blends.clear();
    for t in 0..target {
        let first = libm::floor(t as f64 * scale) as usize;
        let shift = ((t + 1) as f64 - (first + 1) as f64 * inverse) as f32;
        let fraction = if shift <= 0.0 { 0.0 } else { shift - libm::floorf(shift) };
        let blend = if first >= source - 1 {
            Blend { first: source - 1, second: source - 1, weights: [ONE as i32, 0] }
        } else {
            let weights = [libm::rintf((1.0 - fraction) * ONE) as i32, libm::rintf(fraction * ONE) as i32];
            Blend { first, second: first + 1, weights }
        };
        blends.push(blend);
    }
}
