//! From the three ways in which a file can tell its orientation to one affine, and back.

use super::header::Forms;
use crate::read::Problem;
use crate::scan::{Affine, cross, dot, length, times};

impl Forms {
    /// The affine, and whether the file tells an orientation: the matrix, else the quaternion, else a made-up one, as
    /// nibabel has it: x to the left, the centre of the volume at 0.
    pub(super) fn affine(&self, size: [u64; 3]) -> Result<(Affine, bool), Problem> {
        let told = self.sform_code > 0 || self.qform_code > 0;
        let (affine, field) = match (self.sform_code, self.qform_code) {
            (1.., _) => (Affine(self.matrix), "sform"),
            (_, 1..) => (self.rotation()?, "qform"),
            _ => (self.base(size), "pixdim"),
        };
        if !affine.is_regular() {
            return Err(Problem::field(field, format!("{:?}", affine.0), "finite steps that span a volume"));
        }
        Ok((affine, told))
    }

    fn rotation(&self) -> Result<Affine, Problem> {
        let [b, c, d] = self.quaternion;
        let [qfac, sizes @ ..] = self.pixdim;
        if sizes.iter().any(|v| *v < 0.0) {
            return Err(Problem::field("pixdim", format!("{sizes:?}"), "positive lengths beside a qform"));
        }
        let squares = b * b + c * c + d * d;
        if !squares.is_finite() || squares > 1.0 + 1e-5 {
            return Err(Problem::field("quatern", format!("{:?}", self.quaternion), "a unit quaternion"));
        }
        let a = (1.0 - squares).max(0.0).sqrt();
        let [x, y, z] = [sizes[0], sizes[1], if qfac < 0.0 { -sizes[2] } else { sizes[2] }];
        let [i, j, k] = self.offset;
        Ok(Affine([
            [(a * a + b * b - c * c - d * d) * x, 2.0 * (b * c - a * d) * y, 2.0 * (b * d + a * c) * z, i],
            [2.0 * (b * c + a * d) * x, (a * a + c * c - b * b - d * d) * y, 2.0 * (c * d - a * b) * z, j],
            [2.0 * (b * d - a * c) * x, 2.0 * (c * d + a * b) * y, (a * a + d * d - c * c - b * b) * z, k],
        ]))
    }

    fn base(&self, size: [u64; 3]) -> Affine {
        let [_, x, y, z] = self.pixdim.map(f64::abs);
        let middle = size.map(|n| (n as f64 - 1.0) / 2.0);
        Affine([[-x, 0.0, 0.0, middle[0] * x], [0.0, y, 0.0, -middle[1] * y], [0.0, 0.0, z, -middle[2] * z]])
    }

    /// Both ways of an affine, with the code of scanner coordinates. The quaternion, which has no shear, is the nearest
    /// one, for readers that take no sheared matrix (ITK); where it would be wrong by more than a tenth of a degree there
    /// is only the matrix.
    pub(super) fn of(affine: &Affine) -> Self {
        const SHEAR: f64 = 0.001_745;
        let spacing = affine.spacing();
        let [x, y, z] = [0, 1, 2].map(|axis| times(affine.step(axis), 1.0 / spacing[axis]));
        let sheared = [(x, y), (y, z), (x, z)].iter().any(|&(a, b)| dot(a, b).abs() > SHEAR);
        let normal = cross(x, y);
        let qfac = if dot(normal, z) < 0.0 { -1.0 } else { 1.0 };
        let normal = times(normal, 1.0 / length(normal));
        let axes = [x, cross(normal, x), normal];
        Self {
            qform_code: i16::from(!sheared),
            sform_code: 1,
            quaternion: if sheared { [0.0; 3] } else { quaternion(axes) },
            offset: affine.step(3),
            matrix: affine.0,
            pixdim: [qfac, spacing[0], spacing[1], spacing[2]],
        }
    }
}

/// b, c and d of the unit quaternion with a >= 0 that turns the axes to these directions.
fn quaternion([x, y, z]: [[f64; 3]; 3]) -> [f64; 3] {
    // The largest of the four is found from the diagonal, and the others from it.
    let diagonal = [x[0] + y[1] + z[2], x[0] - y[1] - z[2], y[1] - x[0] - z[2], z[2] - x[0] - y[1]];
    let largest = (0..4).max_by(|&i, &j| diagonal[i].total_cmp(&diagonal[j])).unwrap_or(0);
    let w = (1.0 + diagonal[largest]).max(0.0).sqrt() / 2.0;
    let (p, q, r) = (y[2] - z[1], z[0] - x[2], x[1] - y[0]);
    let (s, t, u) = (x[1] + y[0], z[0] + x[2], y[2] + z[1]);
    let (a, bcd) = match largest {
        0 => return [p, q, r].map(|v| v / (4.0 * w)),
        1 => (p, [4.0 * w * w, s, t]),
        2 => (q, [s, 4.0 * w * w, u]),
        _ => (r, [t, u, 4.0 * w * w]),
    };
    let sign = if a < 0.0 { -1.0 } else { 1.0 };
    bcd.map(|v| sign * v / (4.0 * w))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_affine_comes_back_from_its_quaternion() {
        let turn = |axis: usize, angle: f64, v: [f64; 3]| {
            let (mut r, s, c) = (v, angle.sin(), angle.cos());
            let (i, j) = ((axis + 1) % 3, (axis + 2) % 3);
            (r[i], r[j]) = (c * v[i] - s * v[j], s * v[i] + c * v[j]);
            r
        };
        for (angles, qfac) in
            [([0.3, -2.9, 1.1], 1.0), ([3.1, 0.0, 0.0], -1.0), ([0.0, 3.1, 3.0], 1.0), ([0.0; 3], -1.0)]
        {
            let axis = |i: usize, size: f64| {
                let mut v = [0.0; 3];
                v[i] = size;
                (0..3).fold(v, |v, k| turn(k, angles[k], v))
            };
            let [x, y, z] = [axis(0, 0.7), axis(1, 1.5), axis(2, 4.0 * qfac)];
            let affine = Affine([0, 1, 2].map(|i| [x[i], y[i], z[i], 10.0 * i as f64 - 5.0]));
            let forms = Forms::of(&affine);
            let back = Forms { sform_code: 0, ..forms }.affine([1; 3]).unwrap().0;
            for (a, b) in affine.0.as_flattened().iter().zip(back.0.as_flattened()) {
                assert!((a - b).abs() < 1e-9, "{affine:?} {back:?}");
            }
            assert!(length(forms.quaternion) <= 1.0 + 1e-12);
        }
    }
    #[test]
    fn a_slight_shear_has_the_nearest_quaternion_and_a_tilt_none() {
        let with = |drift: f64| Affine([[0.5, 0.0, 0.0, 1.0], [0.0, 0.5, drift, 2.0], [0.0, 0.0, 7.0, 3.0]]);
        let slight = Forms::of(&with(0.004));
        let (back, _) = Forms { sform_code: 0, ..slight }.affine([1; 3]).unwrap();
        assert_eq!((slight.qform_code, slight.matrix), (1, with(0.004).0));
        assert!((back.step(2)[2] - 7.0).abs() < 1e-5 && back.step(2)[1] == 0.0, "{back:?}");
        assert_eq!(Forms::of(&with(0.1)).qform_code, 0);
    }
}
