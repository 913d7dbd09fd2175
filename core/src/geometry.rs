//! Coordinates: pixels of the given image, and the 256x256 grid that the network sees.
//!
//! Every box is in one of two coordinate spaces, and each space has its own type: [`PixelBox`] and [`ModelBox`].
//! A [`Frame`] maps an image to the model's grid and is the only way from one space to the other.

use std::prelude::v1::*;

use crate::Error;

/// Side of the network's square input, in pixels.
pub const MODEL_SIDE: usize = 256;

/// Largest image side that is accepted, in pixels. A larger size is more likely a damaged header than a picture.
pub const MAX_SIDE: usize = 1 << 16;

/// A box in pixels of the given image: `x` runs to the right and `y` down, from 0 at the first pixel.
///
/// Coordinates are indices of pixels, and both ends belong to the box, as in the challenge's data: a box of a single
/// pixel has `x0 == x1` and `y0 == y1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelBox {
    /// Left column.
    pub x0: f64,
    /// Top row.
    pub y0: f64,
    /// Right column.
    pub x1: f64,
    /// Bottom row.
    pub y1: f64,
}

impl PixelBox {
    /// A box of these left, top, right and bottom coordinates in pixels, which are checked when the box is used.
    pub const fn new(x0: f64, y0: f64, x1: f64, y1: f64) -> Self {
        Self { x0, y0, x1, y1 }
    }
}

/// A rectangle of whole pixels in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub x: usize,
    /// First row.
    pub y: usize,
    /// Number of columns.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
}

impl Region {
    /// The longer side, in pixels.
    pub fn side(&self) -> usize {
        self.width.max(self.height)
    }
}

/// A box in voxels of a volume: a [`PixelBox`] in the slices `z0..=z1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VoxelBox {
    /// The box in x and y.
    pub plane: PixelBox,
    /// First slice.
    pub z0: f64,
    /// Last slice, which belongs to the box.
    pub z1: f64,
    /// The slice whose section of the object is in `plane`, which tells nothing of the others then; without it all sections
    /// are.
    pub slice: Option<usize>,
}

impl VoxelBox {
    /// A box of the coordinates in the challenge's order: x, y, z of its first corner, then of its last, in voxels.
    pub const fn new(x0: f64, y0: f64, z0: f64, x1: f64, y1: f64, z1: f64) -> Self {
        Self { plane: PixelBox::new(x0, y0, x1, y1), z0, z1, slice: None }
    }

    /// Says that the box in x and y is that of the object's section in one slice. The object's way begins there, and may
    /// leave that box in other slices. A slice beyond the first or the last counts as that one.
    #[must_use]
    pub const fn with_slice(self, slice: usize) -> Self {
        Self { slice: Some(slice), ..self }
    }
}

/// Size of a volume in voxels. Its values are stored slice by slice, row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeSize {
    /// Number of slices.
    pub depth: usize,
    /// Number of rows of a slice.
    pub height: usize,
    /// Number of columns of a slice.
    pub width: usize,
}

/// A box on the model's 256x256 grid, as the prompt encoder takes it; the encoder adds half a pixel itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelBox {
    /// Left column, 0 to 256.
    pub x0: f32,
    /// Top row, 0 to 256.
    pub y0: f32,
    /// Right column, 0 to 256.
    pub x1: f32,
    /// Bottom row, 0 to 256.
    pub y1: f32,
}

impl ModelBox {
    /// The coordinates x0, y0, x1, y1, in the order of the decoder's input.
    pub const fn to_array(self) -> [f32; 4] {
        [self.x0, self.y0, self.x1, self.y1]
    }
}

/// How an image is mapped to the model's grid: its longest side becomes 256, and the rest is padded on the right and
/// below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    width: usize,
    height: usize,
    scaled_width: usize,
    scaled_height: usize,
}

impl Frame {
    /// The frame of an image of the model's own size.
    pub(crate) const MODEL: Self =
        Self { width: MODEL_SIDE, height: MODEL_SIDE, scaled_width: MODEL_SIDE, scaled_height: MODEL_SIDE };

    /// The frame of an image of `width` x `height` pixels; each side must be 1 to [`MAX_SIDE`].
    ///
    /// The scaled sides are `int(side * 256 / max(width, height) + 0.5)`, as upstream rounds them. Upstream fails on
    /// an image more than 512 times as long as wide, whose short side would become 0; here it becomes 1.
    ///
    /// # Errors
    /// [`Error::ImageSize`] if a side is 0 or greater than [`MAX_SIDE`].
    pub fn new(width: usize, height: usize) -> Result<Self, Error> {
        if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
            return Err(Error::ImageSize { width, height, max: MAX_SIDE });
        }
        let scale = MODEL_SIDE as f64 / width.max(height) as f64;
        let side = |n: usize| ((n as f64 * scale + 0.5) as usize).max(1);
        Ok(Self { width, height, scaled_width: side(width), scaled_height: side(height) })
    }

    /// Width of the image, in pixels.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Height of the image, in pixels.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// Pixels of the image, and bytes of its mask.
    pub const fn pixels(&self) -> usize {
        self.width * self.height
    }

    /// Columns of the model's grid that the image covers, 1 to 256.
    pub const fn scaled_width(&self) -> usize {
        self.scaled_width
    }

    /// Rows of the model's grid that the image covers, 1 to 256.
    pub const fn scaled_height(&self) -> usize {
        self.scaled_height
    }

    /// Maps a box to the model's grid: each coordinate is multiplied by `256 / max(width, height)` and truncated.
    ///
    /// Parts of the box beyond the image are cut off. `index`, the box's position in the request, stands in errors.
    ///
    /// # Errors
    /// Those of [`clamp`](Self::clamp).
    pub fn to_model(&self, pixel_box: &PixelBox, index: usize) -> Result<ModelBox, Error> {
        let b = self.clamp(pixel_box, index)?;
        let scale = MODEL_SIDE as f64 / self.width.max(self.height) as f64;
        let map = |v: f64| (v * scale) as i32 as f32;
        Ok(ModelBox { x0: map(b.x0), y0: map(b.y0), x1: map(b.x1), y1: map(b.y1) })
    }

    /// Checks a box and cuts off what lies beyond the image. `index`, the box's position in the request, stands in
    /// errors.
    ///
    /// # Errors
    /// [`Error::BoxNotFinite`], [`Error::BoxReversed`], or [`Error::BoxOutside`] if it does not touch the image.
    pub fn clamp(&self, pixel_box: &PixelBox, index: usize) -> Result<PixelBox, Error> {
        let (x0, x1) = clamp_range('x', pixel_box.x0, pixel_box.x1, self.width, index)?;
        let (y0, y1) = clamp_range('y', pixel_box.y0, pixel_box.y1, self.height, index)?;
        Ok(PixelBox { x0, y0, x1, y1 })
    }
}

/// Checks one axis of a box against an image of `size` pixels and cuts off what lies beyond it.
pub(crate) fn clamp_range(axis: char, start: f64, end: f64, size: usize, index: usize) -> Result<(f64, f64), Error> {
    let names: [&'static str; 2] = match axis {
        'x' => ["x0", "x1"],
        'y' => ["y0", "y1"],
        _ => ["z0", "z1"],
    };
    for (coordinate, value) in names.into_iter().zip([start, end]) {
        if !value.is_finite() {
            return Err(Error::BoxNotFinite { index, coordinate, value });
        }
    }
    if end < start {
        return Err(Error::BoxReversed { index, axis, start, end });
    }
    if end < 0.0 || start >= size as f64 {
        return Err(Error::BoxOutside { index, axis, start, end, size });
    }
    Ok((start.max(0.0), end.min(size as f64)))
}
