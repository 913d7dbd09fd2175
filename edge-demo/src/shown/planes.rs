//! Slices along any of the three axes of voxels, and parts of volumes.

use std::ops::Range;

use umedsam::VolumeSize;

use super::Unfit;

/// A slice of a volume: axis 0 counts slices as they are stored, axis 1 rows, axis 2 columns. Its own rows are those of
/// the first remaining axis, its columns those of the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// The axis that it is across.
    pub axis: usize,
    /// Its number, from 0.
    pub index: usize,
}

/// Sizes along the axes 0, 1 and 2.
pub const fn sides(size: VolumeSize) -> [usize; 3] {
    [size.depth, size.height, size.width]
}

/// A part of a volume: voxels along the three axes.
pub type Region = [Range<usize>; 3];

/// Calls `take` with the places of each row of a region.
pub fn each_row(shape: [usize; 3], region: &Region, mut take: impl FnMut(Range<usize>)) {
    for z in region[0].clone() {
        for y in region[1].clone() {
            let row = (z * shape[1] + y) * shape[2];
            take(row + region[2].start..row + region[2].end);
        }
    }
}

/// The voxels of a region.
pub fn cut(volume: &[u8], shape: [usize; 3], region: &Region) -> Vec<u8> {
    let mut part = Vec::with_capacity(region.iter().map(Range::len).product());
    each_row(shape, region, |row| part.extend_from_slice(&volume[row]));
    part
}

/// Puts the voxels of a region in their place.
pub fn paste(volume: &mut [u8], shape: [usize; 3], region: &Region, part: &[u8]) {
    let mut part = part.chunks_exact(region[2].len().max(1));
    each_row(shape, region, |row| {
        if let Some(part) = part.next() {
            volume[row].copy_from_slice(part);
        }
    });
}

impl Plane {
    /// A slice that a volume of this size has.
    ///
    /// # Errors
    /// If it has no such axis or slice.
    pub fn new(axis: usize, index: usize, size: VolumeSize) -> Result<Self, Unfit> {
        let Some(&count) = sides(size).get(axis) else {
            return Err(Unfit::asked(format!("axis is {axis}; 0, 1 or 2 expected")));
        };
        if index >= count {
            return Err(Unfit::asked(format!("slice is {index}; 0 to {} expected along axis {axis}", count - 1)));
        }
        Ok(Self { axis, index })
    }

    /// The axes of its rows and of its columns.
    pub const fn axes(self) -> [usize; 2] {
        match self.axis {
            0 => [1, 2],
            1 => [0, 2],
            _ => [0, 1],
        }
    }

    /// Its height and width.
    pub fn size(self, size: VolumeSize) -> [usize; 2] {
        self.axes().map(|axis| sides(size)[axis])
    }

    /// Calls `take` with the place of the first value of each of its rows, and the distance of the row's values.
    pub fn rows(self, size: VolumeSize, mut take: impl FnMut(usize, usize)) {
        let strides = [size.height * size.width, size.width, 1];
        let [down, across] = self.axes();
        for row in 0..sides(size)[down] {
            take(self.index * strides[self.axis] + row * strides[down], strides[across]);
        }
    }

    /// Its values, of `channels` each.
    pub fn values<T: Copy>(self, volume: &[T], size: VolumeSize, channels: usize) -> Vec<T> {
        let [height, width] = self.size(size);
        let mut values = Vec::with_capacity(height * width * channels);
        self.rows(size, |first, step| {
            if step == 1 {
                values.extend_from_slice(&volume[first * channels..][..width * channels]);
            } else {
                let places = (0..width).map(|x| (first + x * step) * channels);
                places.for_each(|place| values.extend_from_slice(&volume[place..][..channels]));
            }
        });
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_each_axis() {
        let size = VolumeSize { depth: 2, height: 3, width: 4 };
        let volume: Vec<u8> = (0..24).collect();
        let plane = |axis, index| Plane::new(axis, index, size).unwrap();
        assert_eq!(plane(0, 1).values(&volume, size, 1), volume[12..]);
        assert_eq!(plane(1, 2).values(&volume, size, 1), [8, 9, 10, 11, 20, 21, 22, 23]);
        assert_eq!(plane(2, 3).values(&volume, size, 1), [3, 7, 11, 15, 19, 23]);
        assert_eq!(plane(2, 0).size(size), [2, 3]);
        let colour: Vec<u8> = (0..72).collect();
        assert_eq!(plane(2, 1).values(&colour, size, 3)[..6], [3, 4, 5, 15, 16, 17]);
        assert!(Plane::new(0, 2, size).is_err() && Plane::new(3, 0, size).is_err());
    }
}
