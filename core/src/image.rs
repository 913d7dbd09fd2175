//! Borrowed views of 8-bit images.

use crate::{Error, Frame};

/// Number of interleaved channels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channels {
    Gray,
    Rgb,
}

impl Channels {
    pub(crate) const fn count(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
        }
    }
}

/// An 8-bit gray or RGB image in the caller's memory: rows from top to bottom, channels interleaved.
///
/// Images of more than 8 bits must be mapped to 0..=255 first ([`crate::intensity`]). The network was trained on such
/// windows, and the choice of a window depends on the modality.
#[derive(Clone, Copy, Debug)]
pub struct ImageView<'a> {
    pixels: &'a [u8],
    channels: Channels,
    stride: usize,
    frame: Frame,
}

impl<'a> ImageView<'a> {
    /// A gray image of `width` x `height` bytes without gaps between rows.
    ///
    /// # Errors
    /// [`Error::ImageSize`] if a side is out of its bounds, [`Error::BufferSize`] if `pixels` is too short.
    pub fn gray8(pixels: &'a [u8], width: usize, height: usize) -> Result<Self, Error> {
        Self::new(pixels, width, height, width, Channels::Gray)
    }

    /// A gray image whose rows start `stride` bytes apart.
    ///
    /// # Errors
    /// [`Error::ImageSize`] if a side is out of its bounds, [`Error::BufferSize`] if `pixels` is too short,
    /// [`Error::Stride`] if `stride` is less than a row.
    pub fn gray8_strided(pixels: &'a [u8], width: usize, height: usize, stride: usize) -> Result<Self, Error> {
        Self::new(pixels, width, height, stride, Channels::Gray)
    }

    /// An RGB image of `width` x `height` x 3 bytes without gaps between rows.
    ///
    /// # Errors
    /// [`Error::ImageSize`] if a side is out of its bounds, [`Error::BufferSize`] if `pixels` is too short.
    pub fn rgb8(pixels: &'a [u8], width: usize, height: usize) -> Result<Self, Error> {
        Self::new(pixels, width, height, width.saturating_mul(3), Channels::Rgb)
    }

    /// An RGB image whose rows start `stride` bytes apart.
    ///
    /// # Errors
    /// [`Error::ImageSize`] if a side is out of its bounds, [`Error::BufferSize`] if `pixels` is too short,
    /// [`Error::Stride`] if `stride` is less than a row.
    pub fn rgb8_strided(pixels: &'a [u8], width: usize, height: usize, stride: usize) -> Result<Self, Error> {
        Self::new(pixels, width, height, stride, Channels::Rgb)
    }

    fn new(pixels: &'a [u8], width: usize, height: usize, stride: usize, channels: Channels) -> Result<Self, Error> {
        let frame = Frame::new(width, height)?;
        let row = width * channels.count();
        if stride < row {
            return Err(Error::Stride { stride, row });
        }
        let expected = stride.saturating_mul(height - 1).saturating_add(row);
        if pixels.len() < expected {
            return Err(Error::BufferSize { expected, actual: pixels.len() });
        }
        Ok(Self { pixels, channels, stride, frame })
    }

    /// The part of `width` x `height` pixels whose first pixel is at (`x`, `y`), in the same memory.
    ///
    /// # Errors
    /// [`Error::CropOutside`] if the part reaches beyond the image, [`Error::ImageSize`] if a side is 0.
    pub fn crop(&self, x: usize, y: usize, width: usize, height: usize) -> Result<Self, Error> {
        let (image_width, image_height) = (self.width(), self.height());
        if x.saturating_add(width) > image_width || y.saturating_add(height) > image_height {
            return Err(Error::CropOutside { x, y, width, height, image_width, image_height });
        }
        let frame = Frame::new(width, height)?;
        Ok(Self { pixels: &self.pixels[y * self.stride + x * self.channels.count()..], frame, ..*self })
    }

    /// How this image is mapped to the model's grid.
    pub const fn frame(&self) -> Frame {
        self.frame
    }

    /// Width in pixels.
    pub const fn width(&self) -> usize {
        self.frame.width()
    }

    /// Height in pixels.
    pub const fn height(&self) -> usize {
        self.frame.height()
    }

    /// Number of interleaved channels: 1 or 3.
    pub const fn channel_count(&self) -> usize {
        self.channels.count()
    }

    pub(crate) const fn channels(&self) -> Channels {
        self.channels
    }

    /// The bytes of row `y`.
    pub(crate) fn row(&self, y: usize) -> &'a [u8] {
        &self.pixels[y * self.stride..][..self.width() * self.channels.count()]
    }
}
