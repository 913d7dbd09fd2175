//! Intensities brought to 8 bits by a window.

use super::{Number, Rule, Step, Window, percentile};
use crate::{Error, Frame};

/// Which values become 0 and 255.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    rule: Rule,
    low: f64,
    high: f64,
    /// Half of `low`, and of what lies between: the range of extreme values does not overflow, and of others a half is
    /// exact.
    start: f64,
    range: f64,
}

impl Scale {
    /// The window as it is found in these values. `index_of` says where a value lies in the caller's memory, and `room`
    /// gives room for counts, a power of two of them, where they are needed.
    pub(super) fn find<T: Number, C: AsMut<[usize]>>(
        values: impl Iterator<Item = T> + Clone,
        window: Window,
        index_of: impl Fn(usize) -> usize,
        room: impl FnOnce() -> C,
    ) -> Result<Self, Error> {
        if let Some((position, value)) = values.clone().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(Error::PixelNotFinite { index: index_of(position), value: value.to_f64() });
        }
        let (rule, low, high) = match window {
            Window::Level { level, width } if level.is_finite() && width.is_finite() && width > 0.0 => {
                let (level, half) = (f64::from(level), f64::from(width) / 2.0);
                (Rule::Level, level - half, level + half)
            }
            Window::Level { level, width } => return Err(Error::Window { level, width }),
            Window::Percentile => percentile::window(values, room().as_mut()),
        };
        let (start, range) = (low / 2.0, (high / 2.0 - low / 2.0).max(f64::MIN_POSITIVE));
        Ok(Self { rule, low, high, start, range })
    }

    pub(super) const fn step(&self) -> Step {
        Step::Window { rule: self.rule, low: self.low, high: self.high }
    }

    pub(super) fn pixel<T: Number>(&self, value: T) -> u8 {
        let v = value.to_f64();
        if self.rule == Rule::Percentile && v == 0.0 {
            return 0;
        }
        (((v / 2.0 - self.start) / self.range).clamp(0.0, 1.0) * 255.0) as u8
    }
}

/// As [`to_u8`](super::to_u8), from an image of `width` x `height` values whose rows start `stride` values apart, into
/// `pixels`, `width * height` bytes without gaps, and without memory of its own. Returns the window as it was found.
///
/// # Errors
/// [`Error::ImageSize`], [`Error::Stride`], [`Error::BufferSize`] if `values` or `pixels` do not fit;
/// [`Error::PixelNotFinite`] within the image, [`Error::Window`] for a window without a width.
pub fn to_u8_into<T: Number>(
    values: &[T],
    width: usize,
    height: usize,
    stride: usize,
    window: Window,
    pixels: &mut [u8],
) -> Result<Step, Error> {
    Frame::new(width, height)?;
    if stride < width {
        return Err(Error::Stride { stride, row: width });
    }
    let fits = |expected: usize, actual: usize, enough: bool| {
        if enough { Ok(()) } else { Err(Error::BufferSize { expected, actual }) }
    };
    let expected = stride.saturating_mul(height - 1).saturating_add(width);
    fits(expected, values.len(), values.len() >= expected)?;
    fits(width * height, pixels.len(), pixels.len() == width * height)?;
    let rows = || values.chunks(stride).take(height).map(|row| &row[..width]);
    // Few counts, that fit a stack: a value takes a pass for each byte.
    let scale = Scale::find(rows().flatten().copied(), window, |i| i / width * stride + i % width, || [0usize; 256])?;
    for (line, row) in pixels.chunks_exact_mut(width).zip(rows()) {
        line.iter_mut().zip(row).for_each(|(pixel, &value)| *pixel = scale.pixel(value));
    }
    Ok(scale.step())
}
