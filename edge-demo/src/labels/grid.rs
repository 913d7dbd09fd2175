//! Grids of voxels, and whether two are of the same voxels.

use std::fmt;
use std::str::FromStr;

use umedsam::{VolumeSize, memory};

use crate::scan::{Affine, Scan, length};

/// Farthest that the voxels of two grids may lie apart and still be the same, in voxels.
const SAME: f64 = 0.1;

/// Where voxels lie.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Grid {
    /// Number of slices, rows and columns.
    pub size: VolumeSize,
    /// From voxels to the patient, where that is known.
    pub affine: Option<Affine>,
    /// Size of a voxel along x, y and z in mm, where it is known.
    pub spacing: Option<[f64; 3]>,
}

/// Why the voxels of a label map are not those of an image.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GridError {
    /// They are not as many.
    #[error("the label map has {} voxels, the image {}", shown(.found), shown(.expected))]
    Size {
        /// Slices, rows and columns of the label map.
        found: [usize; 3],
        /// Slices, rows and columns of the image.
        expected: [usize; 3],
    },
    /// They lie elsewhere.
    #[error(
        "the label map lies elsewhere than the image: its first voxel is at {} mm (R, A, S) with axes to {found_axes}, the \
         image's at {} mm with axes to {expected_axes}; voxels are up to {apart:.2} voxels apart", point(.found), point(.expected)
    )]
    Place {
        /// Place of the label map's first voxel, in mm.
        found: [f64; 3],
        /// Its axes, as [`Affine::axes`] has them.
        found_axes: String,
        /// Place of the image's first voxel, in mm.
        expected: [f64; 3],
        /// Its axes.
        expected_axes: String,
        /// How far a corner of the label map is from the nearest voxel, in voxels of the image.
        apart: f64,
    },
    /// Some lie beyond the image.
    #[error("the label map reaches beyond the image: a corner is at its voxel ({}, {}, {}) of {}", .at[0], .at[1], .at[2], shown(.size))]
    Beyond {
        /// Index of the corner along x, y and z.
        at: [i64; 3],
        /// Slices, rows and columns of the image.
        size: [usize; 3],
    },
}

fn shown([depth, height, width]: &[usize; 3]) -> String {
    format!("{width}x{height}x{depth}")
}

fn point([x, y, z]: &[f64; 3]) -> String {
    format!("({x:.2}, {y:.2}, {z:.2})")
}

/// The patient's sides that x, y and z of a grid point to, such as `LPS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation([(usize, bool); 3]);

impl FromStr for Orientation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |letter: char| match letter.to_ascii_uppercase() {
            'R' => Some((0, false)),
            'L' => Some((0, true)),
            'A' => Some((1, false)),
            'P' => Some((1, true)),
            'S' => Some((2, false)),
            'I' => Some((2, true)),
            _ => None,
        };
        let sides: Option<Vec<(usize, bool)>> = text.chars().map(side).collect();
        match sides.as_deref() {
            Some(&[a, b, c]) if a.0 != b.0 && b.0 != c.0 && a.0 != c.0 => Ok(Self([a, b, c])),
            _ => Err(format!("'{text}': one letter each of R or L, A or P and S or I expected, such as LPS")),
        }
    }
}

impl fmt::Display for Orientation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |(side, flipped): (usize, bool)| [['R', 'L'], ['A', 'P'], ['S', 'I']][side][usize::from(flipped)];
        f.write_str(&self.0.map(letter).iter().collect::<String>())
    }
}

impl Grid {
    /// A grid of this size, with the spacing of its affine.
    pub fn new(size: VolumeSize, affine: impl Into<Option<Affine>>) -> Self {
        let affine = affine.into();
        Self { size, affine, spacing: affine.map(|affine| affine.spacing()) }
    }

    /// Sets the spacing, where there is no affine.
    #[must_use]
    pub fn with_spacing(self, spacing: Option<[f64; 3]>) -> Self {
        Self { spacing: self.spacing.or(spacing), ..self }
    }

    /// Number of voxels along x, y and z.
    fn sides(&self) -> [usize; 3] {
        [self.size.width, self.size.height, self.size.depth]
    }

    fn listed(&self) -> [usize; 3] {
        [self.size.depth, self.size.height, self.size.width]
    }

    pub(crate) fn voxels(&self) -> usize {
        self.size.depth * self.size.height * self.size.width
    }

    /// The same voxels with x, y and z along other axes, those nearest to the orientation; `None` without an affine.
    pub fn oriented(&self, orientation: Orientation) -> Option<Self> {
        let affine = self.affine?;
        let steps = [0, 1, 2].map(|axis| {
            let step = affine.step(axis);
            step.map(|v| v / length(step))
        });
        const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        // The axes that lie along the sides best, taken together.
        let along = |order: &[usize; 3]| -> f64 {
            order.iter().zip(orientation.0).map(|(&axis, (side, _))| steps[axis][side].abs()).sum()
        };
        let order = ORDERS.into_iter().max_by(|a, b| along(a).total_cmp(&along(b)))?;
        let sides = order.map(|axis| self.sides()[axis]);
        let (mut columns, mut origin) = ([[0.0; 3]; 3], [0.0; 3]);
        for (k, (&axis, (side, flipped))) in order.iter().zip(orientation.0).enumerate() {
            let turned = (steps[axis][side] < 0.0) != flipped;
            columns[k] = affine.step(axis).map(|v| if turned { -v } else { v });
            origin[axis] = if turned { sides[k] as f64 - 1.0 } else { 0.0 };
        }
        let [x, y, z] = columns;
        let origin = affine.place(origin);
        let affine = Affine([0, 1, 2].map(|row| [x[row], y[row], z[row], origin[row]]));
        Some(Self::new(VolumeSize { depth: sides[2], height: sides[1], width: sides[0] }, affine))
    }

    /// Which voxel of another grid each voxel is: of all of them, with axes swapped or turned where they are. If one of the
    /// grids has no affine, the first voxel is the first, and only the sizes are compared.
    ///
    /// # Errors
    /// [`GridError`] if the grids are not of the same voxels.
    pub fn same(&self, other: &Self) -> Result<Voxels, GridError> {
        let sizes = || GridError::Size { found: self.listed(), expected: other.listed() };
        if self.voxels() != other.voxels() {
            return Err(sizes());
        }
        if self.affine.is_none() || other.affine.is_none() {
            return if self.size == other.size { Ok(self.plainly()) } else { Err(sizes()) };
        }
        // As many voxels, each of them a voxel of the other: these are all.
        self.within(other)
    }

    fn plainly(&self) -> Voxels {
        let [x, y, _] = self.sides();
        Voxels { start: 0, steps: [1, x as isize, (x * y) as isize], sides: self.sides() }
    }

    /// As [`Self::same`], of a grid that may be a part of the other. Both have an affine, or the first voxel is the first.
    pub(crate) fn within(&self, other: &Self) -> Result<Voxels, GridError> {
        let (Some(own), Some(into)) = (self.affine, other.affine) else { return self.same(other) };
        let place = |apart: f64| GridError::Place {
            found: own.step(3),
            found_axes: own.axes(),
            expected: into.step(3),
            expected_axes: into.axes(),
            apart,
        };
        let steps = [0, 1, 2].map(|axis| into.steps(own.step(axis)));
        let origin = into.index(own.step(3));
        let map = Affine([0, 1, 2].map(|row| [steps[0][row], steps[1][row], steps[2][row], origin[row]]));
        let (sides, sizes) = (self.sides(), other.sides());
        // The axis of the other grid that each axis runs along, and whether backwards. An axis of one voxel takes what is
        // left.
        let (mut axes, mut taken) = ([(0, false); 3], [false; 3]);
        let mut ordered = [0, 1, 2];
        ordered.sort_by_key(|&axis| sides[axis] == 1);
        for axis in ordered {
            let step = map.step(axis);
            let free = (0..3).filter(|&i| !taken[i]);
            let nearest = free.max_by(|&a, &b| step[a].abs().total_cmp(&step[b].abs())).unwrap_or(0);
            taken[nearest] = true;
            axes[axis] = (nearest, step[nearest] < 0.0 && sides[axis] > 1);
        }
        let mut start = [0i64; 3];
        if origin.iter().any(|v| !v.is_finite() || v.abs() > 1e9) {
            return Err(place(f64::INFINITY));
        }
        (0..3).for_each(|i| start[i] = origin[i].round() as i64);
        let corner = |n: usize| [0, 1, 2].map(|axis| if n >> axis & 1 == 1 { sides[axis] - 1 } else { 0 });
        let index = |corner: [usize; 3]| {
            let mut index = start;
            for (axis, (other, back)) in axes.into_iter().enumerate() {
                index[other] += if back { -(corner[axis] as i64) } else { corner[axis] as i64 };
            }
            index
        };
        let apart = (0..8).map(corner).fold(0.0, |worst: f64, corner| {
            let (at, whole) = (map.place(corner.map(|v| v as f64)), index(corner));
            (0..3).fold(worst, |worst, i| worst.max((at[i] - whole[i] as f64).abs()))
        });
        if apart > SAME {
            return Err(place(apart));
        }
        let outside = |at: &[i64; 3]| (0..3).any(|i| at[i] < 0 || at[i] >= sizes[i] as i64);
        if let Some(at) = (0..8).map(corner).map(index).find(outside) {
            return Err(GridError::Beyond { at, size: other.listed() });
        }
        let linear = [1, sizes[0], sizes[0] * sizes[1]].map(|n| n as isize);
        let steps = axes.map(|(other, back)| if back { -linear[other] } else { linear[other] });
        let start = (0..3).map(|i| start[i] as isize * linear[i]).sum();
        Ok(Voxels { start, steps, sides })
    }
}

impl From<&Scan> for Grid {
    fn from(scan: &Scan) -> Self {
        Self::new(scan.size, scan.affine).with_spacing(scan.spacing)
    }
}

/// Which voxels of one grid those of another are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voxels {
    start: isize,
    /// From a voxel to the next along x, y and z.
    steps: [isize; 3],
    sides: [usize; 3],
}

impl Voxels {
    /// The index of each voxel in the other grid, in the order of the own grid.
    pub(crate) fn indices(self) -> impl Iterator<Item = usize> {
        let [width, height, depth] = self.sides;
        let [x, y, z] = self.steps;
        let rows = (0..depth as isize).flat_map(move |k| (0..height as isize).map(move |j| self.start + k * z + j * y));
        rows.flat_map(move |row| (0..width as isize).map(move |i| (row + i * x) as usize))
    }

    /// A slice, as it is, of a volume of this size.
    pub(crate) fn slice(size: VolumeSize, z: usize) -> Self {
        let VolumeSize { height, width, .. } = size;
        let (x, area) = (width as isize, (height * width) as isize);
        Self { start: z as isize * area, steps: [1, x, area], sides: [width, height, 1] }
    }

    /// The voxels in the order of the other grid, each of so many channels.
    ///
    /// # Errors
    /// [`umedsam::Error`] without memory.
    pub fn arranged<T: Copy + Default>(&self, values: &[T], channels: usize) -> Result<Vec<T>, umedsam::Error> {
        let mut arranged = memory::filled(values.len(), T::default())?;
        for (voxel, index) in values.chunks_exact(channels).zip(self.indices()) {
            arranged[index * channels..][..channels].copy_from_slice(voxel);
        }
        Ok(arranged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: VolumeSize = VolumeSize { depth: 4, height: 3, width: 2 };

    /// Oblique, with x to the left, y to the front, z to the head.
    fn oblique() -> Grid {
        let (s, c) = (0.2f64.sin(), 0.2f64.cos());
        Grid::new(SIZE, Affine([[-0.5, 0.0, 0.0, 9.0], [0.0, 0.7 * c, -3.0 * s, -4.0], [0.0, 0.7 * s, 3.0 * c, 30.0]]))
    }

    #[test]
    fn voxels_keep_their_places_whatever_the_axes() {
        let grid = oblique();
        let values: Vec<u16> = (0..24).collect();
        for text in ["LPS", "RAS", "SRP", "AIL", "LAS"] {
            let turned = grid.oriented(text.parse().unwrap()).unwrap();
            assert_eq!(turned.affine.unwrap().axes(), text);
            let arranged = grid.same(&turned).unwrap().arranged(&values, 1).unwrap();
            let [w, h, _] = turned.sides();
            for (i, &value) in arranged.iter().enumerate() {
                let place = |grid: &Grid, i: usize, w: usize, h: usize| {
                    grid.affine.unwrap().place([(i % w) as f64, (i / w % h) as f64, (i / w / h) as f64])
                };
                let (here, there) = (place(&turned, i, w, h), place(&grid, value.into(), 2, 3));
                assert!(here.iter().zip(there).all(|(a, b)| (a - b).abs() < 1e-9), "{text}");
            }
            assert_eq!(turned.same(&grid).unwrap().arranged(&arranged, 1).unwrap(), values, "{text}");
        }
        assert_eq!("lps".parse::<Orientation>().unwrap().to_string(), "LPS");
        for wrong in ["LP", "LRS", "XYZ", "LPSA", ""] {
            assert!(wrong.parse::<Orientation>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn grids_that_differ_are_told() {
        let grid = oblique();
        let moved = |axis: usize, by: f64| {
            let mut other = grid;
            other.affine.as_mut().unwrap().0[axis][3] += by;
            other
        };
        assert!(moved(0, 0.04).same(&grid).is_ok(), "a twelfth of a voxel");
        assert!(matches!(moved(0, 0.1).same(&grid), Err(GridError::Place { apart, .. }) if (apart - 0.2).abs() < 1e-9));
        assert!(matches!(moved(0, -0.5).same(&grid), Err(GridError::Beyond { at: [2, 0, 0], .. })));
        let mut other = grid;
        other.affine.as_mut().unwrap().0[0][0] = -0.6;
        assert!(matches!(other.same(&grid), Err(GridError::Place { .. })), "another spacing");
        // Fewer voxels are a part, and not all.
        let mut other = grid;
        other.size.depth = 3;
        let error = other.same(&grid).unwrap_err();
        assert_eq!(error.to_string(), "the label map has 2x3x3 voxels, the image 2x3x4");
        assert_eq!(other.within(&grid).unwrap().indices().last(), Some(17));
        // Without an affine the size decides.
        let plain = Grid::new(SIZE, None);
        assert_eq!(plain.same(&grid).unwrap().indices().collect::<Vec<_>>(), (0..24).collect::<Vec<_>>());
        let turned = Grid::new(VolumeSize { depth: 2, height: 3, width: 4 }, None);
        assert!(matches!(turned.same(&grid), Err(GridError::Size { .. })));
        // A single slice has no direction across.
        let one = VolumeSize { depth: 1, ..SIZE };
        let slice = Grid::new(one, grid.affine);
        let mut thick = slice;
        (0..3).for_each(|row| thick.affine.as_mut().unwrap().0[row][2] *= -7.0);
        assert!(thick.same(&slice).is_ok() && slice.same(&thick).is_ok());
    }
}
