//! Exact Euclidean distance transform with anisotropic spacing.
//!
//! Axis by axis, the lower envelope of parabolas (Felzenszwalb and Huttenlocher, Theory of Computing 8, 2012). The
//! squares are summed from the first axis to the last, as scipy sums them, so that distances compare equal.

use std::prelude::v1::*;

/// Squared distance of every voxel of `shape` to the nearest one of `features`; infinite if there is none.
pub(super) fn squared_distances(features: &[bool], shape: [usize; 3], spacing: [f64; 3]) -> Vec<f64> {
    let mut map: Vec<f64> = features.iter().map(|&f| if f { 0.0 } else { f64::INFINITY }).collect();
    let longest = shape.into_iter().max().unwrap_or(0);
    let mut pass = Pass { line: vec![0.0; longest], vertices: vec![0; longest], bounds: vec![0.0; longest + 1] };
    let strides = [shape[1] * shape[2], shape[2], 1];
    for axis in 0..3 {
        let (length, stride) = (shape[axis], strides[axis]);
        // Along one axis of length 1 nothing can come nearer.
        if length == 1 {
            continue;
        }
        for start in (0..map.len()).filter(|i| i / stride % length == 0) {
            pass.run(&mut map, start, stride, length, spacing[axis]);
        }
    }
    map
}

/// Buffers for one line of voxels.
struct Pass {
    line: Vec<f64>,
    /// Positions of the parabolas of the envelope, and where each begins to be the lowest.
    vertices: Vec<usize>,
    bounds: Vec<f64>,
}

impl Pass {
    fn run(&mut self, map: &mut [f64], start: usize, stride: usize, length: usize, spacing: f64) {
        for (i, value) in self.line[..length].iter_mut().enumerate() {
            *value = map[start + i * stride];
        }
        let line = &self.line[..length];
        let mut count = 0;
        for q in (0..length).filter(|&q| line[q] < f64::INFINITY) {
            let mut bound = f64::NEG_INFINITY;
            while count > 0 {
                bound = crossing(line, self.vertices[count - 1], q, spacing);
                if bound > self.bounds[count - 1] {
                    break;
                }
                count -= 1;
                bound = f64::NEG_INFINITY;
            }
            self.vertices[count] = q;
            self.bounds[count] = bound;
            count += 1;
        }
        if count == 0 {
            return;
        }
        self.bounds[count] = f64::INFINITY;
        let mut k = 0;
        for i in 0..length {
            while self.bounds[k + 1] < i as f64 {
                k += 1;
            }
            let v = self.vertices[k];
            let offset = i.abs_diff(v) as f64 * spacing;
            map[start + i * stride] = line[v] + offset * offset;
        }
    }
}

/// Position at which the parabola of `q` comes below that of `v < q`.
fn crossing(line: &[f64], v: usize, q: usize, spacing: f64) -> f64 {
    let (a, b) = (v as f64, q as f64);
    let square = spacing * spacing;
    ((line[q] - line[v]) / square + (b * b - a * a)) / (2.0 * (b - a))
}
