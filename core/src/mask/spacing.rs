//! The size of a pixel or voxel.

use crate::Error;

/// The size of a voxel along x (columns), y (rows) and z (slices), in mm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spacing {
    x: f64,
    y: f64,
    z: f64,
}

impl Spacing {
    /// Voxels of side 1, where nothing is known of their size: lengths are then in pixels.
    pub const PIXELS: Self = Self { x: 1.0, y: 1.0, z: 1.0 };

    /// A spacing along x, y and z. Of an image z counts for nothing but the volume.
    ///
    /// # Errors
    /// [`Error::Spacing`] unless all are finite and above 0.
    pub fn new(x: f64, y: f64, z: f64) -> Result<Self, Error> {
        for (axis, value) in [('x', x), ('y', y), ('z', z)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::Spacing { axis, value });
            }
        }
        Ok(Self { x, y, z })
    }

    /// Along the columns.
    pub const fn x(&self) -> f64 {
        self.x
    }

    /// Along the rows.
    pub const fn y(&self) -> f64 {
        self.y
    }

    /// From slice to slice.
    pub const fn z(&self) -> f64 {
        self.z
    }
}

impl Default for Spacing {
    fn default() -> Self {
        Self::PIXELS
    }
}
