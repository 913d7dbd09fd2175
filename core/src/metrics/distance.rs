//! Exact Euclidean distance transform of an anisotropic grid.
//!
//! Separable: along each axis the squared distances so far define parabolas whose lower envelope is the next result
//! (P. Felzenszwalb and D. Huttenlocher, "Distance transforms of sampled functions", Theory of Computing 2012). The
//! envelope is built with the predicate of C. Maurer, R. Qi and V. Raghavan (IEEE PAMI 25(2), 2003), which needs no
//! division, and in the order of operations of `scipy.ndimage.distance_transform_edt`: of two sites at equal distance
//! both choose the same, so that also the last bit agrees. A tolerance of 2 mm is often met exactly.

use std::prelude::v1::*;

/// Lines gathered at once where an axis is not contiguous: one cache line of `f64`.
const BLOCK: usize = 8;

/// Squared Euclidean distance of every voxel of a grid (depth,height,width), row-major, to the nearest voxel that is
/// true in `sites`; infinite if there is no such voxel.
///
/// `spacing` is the size of a voxel along the axes of the shape; results are in its unit squared. A 2D image has a
/// depth of 1.
///
/// `limit` is a squared distance that bounds the work: results above it may be too great but are never below it;
/// infinity makes all of them exact. Results up to half the limit are exact to the last bit.
///
/// # Panics
/// If `sites` is not of the shape.
pub fn squared_distances(sites: &[bool], [d, h, w]: [usize; 3], spacing: [f64; 3], limit: f64) -> Vec<f64> {
    assert_eq!(sites.len(), d * h * w, "size of the sites");
    let mut field: Vec<f64> = sites.iter().map(|&site| if site { 0.0 } else { f64::INFINITY }).collect();
    if field.is_empty() {
        return field;
    }
    first_axis(&mut field, h * w, spacing[0]);
    let mut line = Line { envelope: Vec::new(), limit: limit.min(f64::MAX) };
    let mut columns = vec![0.0; BLOCK * h];
    for plane in field.chunks_exact_mut(h * w).take(d) {
        for x0 in (0..w).step_by(BLOCK) {
            let x1 = w.min(x0 + BLOCK);
            for (y, row) in plane.chunks_exact(w).enumerate() {
                for (column, value) in row[x0..x1].iter().enumerate() {
                    columns[column * h + y] = *value;
                }
            }
            for column in columns.chunks_exact_mut(h).take(x1 - x0) {
                line.transform(column, spacing[1]);
            }
            for (y, row) in plane.chunks_exact_mut(w).enumerate() {
                for (column, value) in row[x0..x1].iter_mut().enumerate() {
                    *value = columns[column * h + y];
                }
            }
        }
    }
    for row in field.chunks_exact_mut(w) {
        line.transform(row, spacing[2]);
    }
    field
}

/// On the first axis the nearest site is a matter of counting steps, for whole planes at once.
fn first_axis(field: &mut [f64], plane: usize, spacing: f64) {
    let depth = field.len() / plane;
    for z in 1..depth {
        let (before, here) = field[(z - 1) * plane..(z + 1) * plane].split_at_mut(plane);
        for (value, from) in here.iter_mut().zip(before) {
            *value = value.min(*from + 1.0);
        }
    }
    for z in (1..depth).rev() {
        let (here, after) = field[(z - 1) * plane..(z + 1) * plane].split_at_mut(plane);
        for (value, from) in here.iter_mut().zip(after) {
            *value = value.min(*from + 1.0);
        }
    }
    for value in field {
        *value *= spacing;
        *value *= *value;
    }
}

/// A parabola: a position on the line and the squared distance to the nearest site off the line.
#[derive(Clone, Copy)]
struct Parabola {
    position: f64,
    height: f64,
}

impl Parabola {
    fn at(self, position: f64, spacing: f64) -> f64 {
        let offset = (self.position - position) * spacing;
        self.height + offset * offset
    }
}

/// Lower envelope of one line; the buffer is kept from line to line.
struct Line {
    envelope: Vec<Parabola>,
    /// Height above which a parabola is left out.
    limit: f64,
}

impl Line {
    fn transform(&mut self, line: &mut [f64], spacing: f64) {
        self.envelope.clear();
        for (i, &height) in line.iter().enumerate() {
            if height <= self.limit {
                self.push(Parabola { position: i as f64, height }, spacing);
            }
        }
        let Some((&(mut nearest), mut rest)) = self.envelope.split_first() else { return };
        for (i, value) in line.iter_mut().enumerate() {
            let position = i as f64;
            let mut distance = nearest.at(position, spacing);
            while let Some((&next, after)) = rest.split_first() {
                let further = next.at(position, spacing);
                if distance <= further {
                    break;
                }
                (distance, nearest, rest) = (further, next, after);
            }
            *value = distance;
        }
    }

    /// Adds `new` at the end, after removing what lies above the envelope of its neighbours.
    fn push(&mut self, new: Parabola, spacing: f64) {
        while let [.., before, last] = self.envelope[..] {
            let a = (last.position - before.position) * spacing;
            let b = (new.position - last.position) * spacing;
            let c = a + b;
            if c * last.height - b * before.height - a * new.height - a * b * c <= 0.0 {
                break;
            }
            self.envelope.pop();
        }
        self.envelope.push(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHAPE: [usize; 3] = [6, 10, 10];

    fn sites() -> impl Strategy<Value = Vec<bool>> {
        proptest::collection::vec(prop::bool::weighted(0.05), 600)
    }

    /// FNV-1a over the bits of `scipy.ndimage.distance_transform_edt(k * k % 37 != 3, sampling=spacing)`, k the index.
    #[test]
    fn distances_are_those_of_scipy_to_the_last_bit() {
        let sites: Vec<bool> = (0..600).map(|k| k * k % 37 == 3).collect();
        for (spacing, expected) in [
            ([0.4, 0.4, 0.4], 0x08e023cd8b55a0db),
            ([0.1, 0.3, 0.7], 0xbc1d7c4de34b345b),
            ([3.0, 0.7, 0.9], 0x6fae3438b5119616),
            ([0.3, 0.1, 0.2], 0x96ae3f63f9bc62b7),
        ] {
            let mut digest = 0xcbf2_9ce4_8422_2325_u64;
            for squared in squared_distances(&sites, SHAPE, spacing, f64::INFINITY) {
                for byte in libm::sqrt(squared).to_le_bytes() {
                    digest = (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
                }
            }
            assert_eq!(digest, expected, "{spacing:?}");
        }
    }

    proptest! {
        #[test]
        fn a_limit_changes_no_bit_up_to_its_half(
            sites in sites(),
            steps in [1_u32..8, 1..8, 1..8],
            reach in 1_u32..12,
        ) {
            // Multiples of 0.1 have many ties that are none in floats.
            let spacing = steps.map(|s| f64::from(s) * 0.1);
            let tolerance = f64::from(reach) * 0.1;
            let limit = 2.0 * tolerance * tolerance;
            let exact = squared_distances(&sites, SHAPE, spacing, f64::INFINITY);
            for (a, b) in exact.into_iter().zip(squared_distances(&sites, SHAPE, spacing, limit)) {
                prop_assert!(if a <= limit / 2.0 { a == b } else { b > limit / 2.0 }, "{a} {b}");
            }
        }
    }
}
