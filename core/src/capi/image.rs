//! Images in the caller's memory.

use std::ffi::c_void;
use std::prelude::v1::*;
use std::ptr::null;

use super::pointers::reference;
use super::status::{Failure, umedsam_status};
use crate::intensity::{Number, Window, to_u8};
use crate::{Frame, ImageView, memory};

/// Type of the numbers that make up a pixel, in the machine's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum umedsam_pixel_type {
    /// Unsigned, 8 bits.
    U8 = 1,
    /// Unsigned, 16 bits.
    U16 = 2,
    /// Signed, 16 bits.
    I16 = 3,
}

/// An image in the caller's memory, rows from top to bottom, channels interleaved. The library only reads it, and only
/// until the call returns that is given the image.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct umedsam_image {
    /// The first row. (height - 1) * row_stride bytes and one row more can be read from here. It needs no alignment.
    pub pixels: *const c_void,
    /// Width in pixels, 1 to 65536.
    pub width: usize,
    /// Height in pixels, 1 to 65536.
    pub height: usize,
    /// Bytes from the start of a row to the start of the next; 0 if rows follow one another without gaps.
    pub row_stride: usize,
    /// 1 for gray, 3 for red, green and blue.
    pub channels: i32,
    /// One of enum umedsam_pixel_type.
    pub pixel_type: i32,
}

/// How the values that become black and white are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum umedsam_window_kind {
    /// From level - width / 2 to level + width / 2.
    Level = 1,
    /// From the 0.5th to the 99.5th percentile of the values that are not 0, in the whole image or volume. Values of 0
    /// stay black, unless there are negative values. `level` and `width` are not read.
    Percentile = 2,
}

/// The network sees 8 bits. A window says which values become 0 and 255: those between are spread linearly, those
/// beyond are cut off.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct umedsam_window {
    /// One of enum umedsam_window_kind.
    pub kind: i32,
    /// Centre, in the units of the values (Hounsfield units for CT).
    pub level: f32,
    /// Width, above 0.
    pub width: f32,
}

/// Reads a window; NULL is none.
///
/// # Safety
/// `window` points at a window, or is NULL.
pub(super) unsafe fn window_of(window: *const umedsam_window) -> Result<Option<Window>, Failure> {
    const LEVEL: i32 = umedsam_window_kind::Level as i32;
    const PERCENTILE: i32 = umedsam_window_kind::Percentile as i32;
    if window.is_null() {
        return Ok(None);
    }
    // SAFETY: by contract.
    let &umedsam_window { kind, level, width } = unsafe { reference(window, "window") }?;
    match kind {
        LEVEL => Ok(Some(Window::Level { level, width })),
        PERCENTILE => Ok(Some(Window::Percentile)),
        _ => argument(format!("window kind {kind} is none of enum umedsam_window_kind")),
    }
}

/// The numbers of an image or a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PixelType {
    U8,
    U16,
    I16,
}

impl PixelType {
    pub(super) fn of(code: i32) -> Result<Self, Failure> {
        const U8: i32 = umedsam_pixel_type::U8 as i32;
        const U16: i32 = umedsam_pixel_type::U16 as i32;
        const I16: i32 = umedsam_pixel_type::I16 as i32;
        match code {
            U8 => Ok(Self::U8),
            U16 => Ok(Self::U16),
            I16 => Ok(Self::I16),
            _ => argument(format!("pixel_type {code} is none of enum umedsam_pixel_type")),
        }
    }

    const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::I16 => 2,
        }
    }
}

impl umedsam_image {
    /// An image of nothing, which a callback fills in.
    pub(super) const BLANK: Self =
        Self { pixels: null(), width: 0, height: 0, row_stride: 0, channels: 0, pixel_type: 0 };
}

/// An image whose description is sound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pixels<'a> {
    bytes: &'a [u8],
    frame: Frame,
    row_stride: usize,
    channels: usize,
    pixel_type: PixelType,
}

impl<'a> Pixels<'a> {
    /// # Safety
    /// The description holds, and the pixels stay and are not changed while they are borrowed.
    pub(super) unsafe fn new(image: &umedsam_image) -> Result<Self, Failure> {
        let frame = Frame::new(image.width, image.height)?;
        let pixel_type = PixelType::of(image.pixel_type)?;
        let channels = match image.channels {
            1 => 1,
            3 => 3,
            other => return argument(format!("an image has {other} channels; 1 and 3 are known")),
        };
        let row = image.width * channels * pixel_type.bytes();
        let row_stride = if image.row_stride == 0 { row } else { image.row_stride };
        if row_stride < row {
            let message = format!("row_stride {row_stride} is shorter than a row of {row} bytes");
            return Err(Failure::new(umedsam_status::Image, message));
        }
        let size = row_stride.saturating_mul(image.height - 1).saturating_add(row);
        // SAFETY: by contract.
        let bytes = unsafe { super::pointers::values(image.pixels.cast::<u8>(), size, "pixels") }?;
        Ok(Self { bytes, frame, row_stride, channels, pixel_type })
    }

    /// The image in 8 bits: itself if it is so and no window is given, otherwise in `memory`.
    pub(super) fn view<'b>(&self, window: Option<Window>, memory: &'b mut Vec<u8>) -> Result<ImageView<'b>, Failure>
    where
        'a: 'b,
    {
        let (width, height) = (self.frame.width(), self.frame.height());
        let strided = if self.channels == 1 { ImageView::gray8_strided } else { ImageView::rgb8_strided };
        match (self.pixel_type, window) {
            (PixelType::U8, None) => return Ok(strided(self.bytes, width, height, self.row_stride)?),
            (_, None) => return argument("pixels of 16 bits need a window".into()),
            (_, Some(window)) => *memory = self.windowed(window)?,
        }
        Ok(strided(memory, width, height, width * self.channels)?)
    }

    fn windowed(&self, window: Window) -> Result<Vec<u8>, Failure> {
        let count = self.frame.width() * self.frame.height() * self.channels;
        windowed(self.pixel_type, window, count, self.rows())
    }

    /// Bytes from the start of a row to the start of the next.
    pub(super) const fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Bytes from the first to the last.
    pub(super) const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of each row, without gaps.
    pub(super) fn rows(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let row = self.frame.width() * self.channels * self.pixel_type.bytes();
        let (bytes, row_stride) = (self.bytes, self.row_stride);
        (0..self.frame.height()).map(move |y| &bytes[y * row_stride..][..row])
    }
}

/// Brings `count` numbers, which `rows` are the bytes of, to 8 bits.
pub(super) fn windowed<'a>(
    pixel_type: PixelType,
    window: Window,
    count: usize,
    rows: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, Failure> {
    match pixel_type {
        PixelType::U8 => spread(window, count, rows, |[b]| b),
        PixelType::U16 => spread(window, count, rows, u16::from_ne_bytes),
        PixelType::I16 => spread(window, count, rows, i16::from_ne_bytes),
    }
}

fn spread<'a, T: Number, const N: usize>(
    window: Window,
    count: usize,
    rows: impl Iterator<Item = &'a [u8]>,
    number: impl Fn([u8; N]) -> T,
) -> Result<Vec<u8>, Failure> {
    let mut values = memory::with_room(count)?;
    for row in rows {
        values.extend(row.as_chunks::<N>().0.iter().map(|&bytes| number(bytes)));
    }
    Ok(to_u8(&values, window)?)
}

fn argument<T>(message: String) -> Result<T, Failure> {
    Err(Failure::new(umedsam_status::Argument, message))
}
