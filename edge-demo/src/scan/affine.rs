//! From voxels to the patient.

use serde::Serialize;

/// Maps a voxel's index to its place in the patient, in mm: rows are R, A and S (from the patient's left to the right,
/// from the back to the front, from the feet to the head), columns are a step along x, along y, along z, and the centre
/// of voxel (0, 0, 0). x counts the columns of a slice, y its rows, and z the slices, each from 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Affine(pub [[f64; 4]; 3]);

impl Affine {
    /// The place of the index (x, y, z).
    pub fn place(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        self.0.map(|[a, b, c, origin]| a * x + b * y + c * z + origin)
    }

    /// The index at a place, which lies between voxels as a rule: the inverse of [`place`](Self::place). It is NaN or
    /// infinite where the affine is not [regular](Self::is_regular).
    pub fn index(&self, place: [f64; 3]) -> [f64; 3] {
        self.steps(minus(place, self.0.map(|row| row[3])))
    }

    /// How many steps along x, y and z make up a way in the patient.
    pub fn steps(&self, way: [f64; 3]) -> [f64; 3] {
        let [x, y, z] = [0, 1, 2].map(|axis| self.step(axis));
        let volume = dot(cross(x, y), z);
        [cross(y, z), cross(z, x), cross(x, y)].map(|normal| dot(way, normal) / volume)
    }

    /// A step along x, y or z.
    pub fn step(&self, axis: usize) -> [f64; 3] {
        self.0.map(|row| row[axis])
    }

    /// Lengths of a step along x, y and z, in mm.
    pub fn spacing(&self) -> [f64; 3] {
        [0, 1, 2].map(|axis| length(self.step(axis)))
    }

    /// Distance of slices along their normal, in mm.
    pub fn between(&self) -> f64 {
        let normal = cross(self.step(0), self.step(1));
        dot(self.step(2), normal).abs() / length(normal)
    }

    /// Whether all numbers are finite and steps have a length and span a volume.
    pub fn is_regular(&self) -> bool {
        let [sx, sy, sz] = self.spacing();
        let volume = dot(cross(self.step(0), self.step(1)), self.step(2)).abs();
        self.0.as_flattened().iter().all(|v| v.is_finite()) && volume > 1e-6 * sx * sy * sz
    }

    /// The same place with the first two rows negated: between RAS, which NIfTI has, and LPS, which DICOM has.
    #[must_use]
    pub fn flipped(&self) -> Self {
        let [r, a, s] = self.0;
        Self([r.map(|v| -v), a.map(|v| -v), s])
    }

    /// The directions nearest to x, y and z, as letters of the patient's sides that they point to, such as `LPS`.
    pub fn axes(&self) -> String {
        let letter = |axis: usize| {
            let step = self.step(axis);
            let side = (0..3).max_by(|&a, &b| step[a].abs().total_cmp(&step[b].abs())).unwrap_or(0);
            [['R', 'L'], ['A', 'P'], ['S', 'I']][side][usize::from(step[side] < 0.0)]
        };
        (0..3).map(letter).collect()
    }
}

pub(crate) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(crate) fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(crate) fn minus(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(crate) fn times(a: [f64; 3], factor: f64) -> [f64; 3] {
    a.map(|v| v * factor)
}

pub(crate) fn length(a: [f64; 3]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_spacing_and_letters() {
        let affine = Affine([[-2.0, 0.0, 0.0, 90.0], [0.0, 0.0, -3.0, 20.0], [0.0, 4.0, 0.5, -70.0]]);
        assert_eq!(affine.place([1.0, 2.0, 3.0]), [88.0, 11.0, -60.5]);
        let index = affine.index([88.0, 11.0, -60.5]);
        assert!(
            index.iter().zip([1.0, 2.0, 3.0]).all(|(found, expected)| (found - expected).abs() < 1e-12),
            "{index:?}"
        );
        assert_eq!(affine.axes(), "LSP");
        assert_eq!(affine.spacing()[..2], [2.0, 4.0]);
        assert!((affine.between() - 3.0).abs() < 1e-12, "the shear is no distance");
        assert!(affine.is_regular());
        assert_eq!(affine.flipped().flipped(), affine);
        let flat = Affine([[1.0, 2.0, 0.0, 0.0], [1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
        assert!(!flat.is_regular(), "x and y are one direction");
    }
}
