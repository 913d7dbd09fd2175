//! Boxes in the patient.

use std::str::FromStr;

use umedsam::VoxelBox;

use crate::scan::Affine;

/// Which sides of the patient the axes point to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Right, anterior, superior: that of NIfTI, and of what 3D Slicer shows.
    Ras,
    /// Left, posterior, superior: that of DICOM, and of what 3D Slicer saves.
    Lps,
}

impl System {
    /// A point or a direction in right, anterior, superior.
    pub fn to_ras(self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        match self {
            Self::Ras => [x, y, z],
            Self::Lps => [-x, -y, z],
        }
    }
}

impl FromStr for System {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "ras" => Ok(Self::Ras),
            "lps" => Ok(Self::Lps),
            _ => Err(format!("'{text}' is neither ras nor lps")),
        }
    }
}

/// Corners in mm that are no box.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{axis} range {start}..{end} mm; two finite numbers in ascending order expected")]
#[non_exhaustive]
pub struct CornerError {
    /// `x`, `y` or `z`.
    pub axis: char,
    /// Where it starts.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
}

/// A box of any orientation in the patient, in mm to the right, to the front and to the head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PatientBox {
    centre: [f64; 3],
    /// From the centre to three of its faces.
    arms: [[f64; 3]; 3],
}

impl PatientBox {
    /// A box of this centre, whose arms reach from there to three of its faces, all in mm.
    pub const fn new(centre: [f64; 3], arms: [[f64; 3]; 3]) -> Self {
        Self { centre, arms }
    }

    /// A box along the patient's axes, in mm, of which the numbers of a [`VoxelBox`] are the corners.
    ///
    /// # Errors
    /// [`CornerError`] for one that is not finite or ends before it starts.
    pub fn along_axes(b: &VoxelBox, system: System) -> Result<Self, CornerError> {
        let ends = [[b.plane.x0, b.plane.x1], [b.plane.y0, b.plane.y1], [b.z0, b.z1]];
        for (axis, [start, end]) in ['x', 'y', 'z'].into_iter().zip(ends) {
            if !start.is_finite() || !end.is_finite() || end < start {
                return Err(CornerError { axis, start, end });
            }
        }
        let halves = ends.map(|[start, end]| (end - start) / 2.0);
        let arms = [0, 1, 2].map(|axis| {
            let mut arm = [0.0; 3];
            arm[axis] = halves[axis];
            arm
        });
        Ok(Self { centre: system.to_ras(ends.map(|[start, end]| f64::midpoint(start, end))), arms })
    }

    /// The least box along a scan's axes that holds this one. Its slices are those whose centres it holds; of a box
    /// between two slices, the nearer one.
    pub fn to_voxels(&self, affine: &Affine) -> VoxelBox {
        let centre = affine.index(self.centre);
        let arms = self.arms.map(|arm| affine.steps(arm));
        let half = [0, 1, 2].map(|axis| arms.iter().map(|arm| arm[axis].abs()).sum::<f64>());
        let [x, y, z] = [0, 1, 2].map(|axis| [centre[axis] - half[axis], centre[axis] + half[axis]]);
        // Centres that a rounding puts just outside belong to it.
        let (first, last) = ((z[0] - 1e-6).ceil(), (z[1] + 1e-6).floor());
        let [z0, z1] = if first <= last { [first, last] } else { [centre[2].round(); 2] };
        VoxelBox::new(x[0], y[0], z0, x[1], y[1], z1)
    }
}
