//! Postprocessing: from the network's 256x256 logits to a mask of the image's size.

use core::ops::Range;
use std::prelude::v1::*;

use crate::{Frame, MODEL_SIDE, Region};

/// Number of logits of one object, which are (256,256).
pub const LOGITS_LEN: usize = MODEL_SIDE * MODEL_SIDE;

/// Columns of the image that are interpolated together.
const STRIP: usize = 256;

/// The logits of one object on the model's grid, and the frame of the image that they belong to.
///
/// The padding is cropped away, and the logits are interpolated bilinearly to the image's size (`align_corners =
/// False`). A pixel belongs to the object if its logit is above 0.
#[derive(Clone, Copy, Debug)]
pub struct MaskLogits<'a> {
    logits: &'a [f32],
    frame: Frame,
}

impl<'a> MaskLogits<'a> {
    /// The logits of an object, (256,256) row-major, in an image with this frame.
    ///
    /// # Panics
    /// If `logits` does not hold [`LOGITS_LEN`] values.
    pub fn new(logits: &'a [f32], frame: Frame) -> Self {
        assert_eq!(logits.len(), LOGITS_LEN, "length of an object's logits");
        Self { logits, frame }
    }

    /// The frame of the image.
    pub const fn frame(&self) -> Frame {
        self.frame
    }

    /// The logits on the model's grid: (256,256), row-major.
    pub const fn values(&self) -> &'a [f32] {
        self.logits
    }

    /// Writes `label` into the object's pixels of a label map (height,width), and returns their number.
    ///
    /// Objects that are painted later hide earlier ones, as in the published LiteMedSAM.
    ///
    /// # Panics
    /// If `labels` is not of the image's size.
    pub fn paint<T: Copy>(&self, label: T, labels: &mut [T]) -> usize {
        self.scan(labels, |pixel, _, _| *pixel = label)
    }

    /// As [`Self::paint`], but only where the label map is less than `label`. Whatever the order in which objects are
    /// painted, the result is that of ascending order.
    ///
    /// # Panics
    /// If `labels` is not of the image's size.
    pub fn paint_max(&self, label: u16, labels: &mut [u16]) -> usize {
        self.scan(labels, |pixel, _, _| *pixel = label.max(*pixel))
    }

    /// As [`Self::paint_max`], but returns the object's bounding box, or `None` if it has no pixel.
    ///
    /// # Panics
    /// If `labels` is not of the image's size.
    pub(crate) fn paint_max_bounds(&self, label: u16, labels: &mut [u16]) -> Option<Region> {
        let (mut x0, mut y0, mut x1, mut y1) = (usize::MAX, usize::MAX, 0, 0);
        let area = self.scan(labels, |pixel, x, y| {
            *pixel = label.max(*pixel);
            (x0, x1) = (x0.min(x), x1.max(x));
            (y0, y1) = (y0.min(y), y1.max(y));
        });
        (area > 0).then(|| Region { x: x0, y: y0, width: x1 - x0 + 1, height: y1 - y0 + 1 })
    }

    /// As [`Self::paint_max`], for an image that is a crop of a larger one: paints the label map of the larger image,
    /// which is `width` pixels wide and has the crop's first pixel at (`x`, `y`).
    ///
    /// # Panics
    /// If the crop reaches beyond the label map.
    pub fn paint_max_at(&self, label: u16, labels: &mut [u16], width: usize, (x, y): (usize, usize)) -> usize {
        assert!(x + self.frame.width() <= width, "width of the label map");
        assert!((y + self.frame.height()) * width <= labels.len(), "size of the label map");
        self.scan_strided(&mut labels[y * width + x..], width, |pixel, _, _| *pixel = label.max(*pixel))
    }

    /// Fills `mask`, one byte a pixel, with 1 for the object and 0 elsewhere, and returns the number of the object's
    /// pixels.
    ///
    /// # Panics
    /// If `mask` is not of the image's size.
    pub fn mask_into(&self, mask: &mut [u8]) -> usize {
        mask.fill(0);
        self.paint(1, mask)
    }

    /// Fills `logits` with the logits at the image's size, (height,width).
    ///
    /// # Panics
    /// If `logits` is not of the image's size.
    pub fn resize_into(&self, logits: &mut [f32]) {
        let (width, height) = (self.frame.width(), self.frame.height());
        assert_eq!(logits.len(), width * height, "size of the image");
        self.interpolate(0..width, 0..height, |x, y, values| {
            logits[y * width + x..].iter_mut().zip(values.iter()).for_each(|(logit, value)| *logit = value);
        });
    }

    /// Number of the image's pixels that belong to the object.
    pub fn area(&self) -> usize {
        // Values without size: no memory is taken.
        self.paint((), &mut vec![(); self.frame.width() * self.frame.height()])
    }

    /// Whether all logits are finite. NaN is not above 0 and would pass for background.
    pub fn is_finite(&self) -> bool {
        // The greatest exponent is that of infinity and NaN. A maximum is taken many values at a time, unlike a search.
        let exponent = |v: &f32| v.to_bits() & f32::INFINITY.to_bits();
        self.logits.iter().map(exponent).fold(0, u32::max) < f32::INFINITY.to_bits()
    }

    /// Calls `hit` for each pixel of the object, with its column and row, and returns their number.
    fn scan<T>(&self, pixels: &mut [T], hit: impl FnMut(&mut T, usize, usize)) -> usize {
        assert_eq!(pixels.len(), self.frame.width() * self.frame.height(), "size of the label map");
        self.scan_strided(pixels, self.frame.width(), hit)
    }

    /// As [`Self::scan`], with rows that start `stride` pixels apart.
    fn scan_strided<T>(&self, pixels: &mut [T], stride: usize, mut hit: impl FnMut(&mut T, usize, usize)) -> usize {
        let Some((x_hits, y_hits)) = self.positive_ranges() else { return 0 };
        // Between neighbours that are all at most 0 no interpolated value is above 0: only this part is computed.
        let columns = touched(x_hits, self.frame.scaled_width(), self.frame.width());
        let rows = touched(y_hits, self.frame.scaled_height(), self.frame.height());
        let mut area = 0;
        self.interpolate(columns, rows, |first, y, values| {
            let pixels = &mut pixels[y * stride + first..][..values.taps.len()];
            for ((pixel, value), x) in pixels.iter_mut().zip(values.iter()).zip(first..) {
                if value > 0.0 {
                    hit(pixel, x, y);
                    area += 1;
                }
            }
        });
        area
    }

    /// Interpolates these columns and rows of the image. `take` is called with parts of rows: the first column, the row
    /// and the values.
    fn interpolate(&self, columns: Range<usize>, rows: Range<usize>, mut take: impl FnMut(usize, usize, Values<'_>)) {
        let (width, height) = (self.frame.width(), self.frame.height());
        let (scaled_width, scaled_height) = (self.frame.scaled_width(), self.frame.scaled_height());
        // In strips, so that the taps of a row fit a buffer on the stack whatever the image's width.
        for first in columns.clone().step_by(STRIP) {
            let count = STRIP.min(columns.end - first);
            let taps: [Tap; STRIP] =
                core::array::from_fn(|i| Tap::new((first + i).min(width - 1), scaled_width, width));
            let taps = &taps[..count];
            let sources = taps[0].first..taps[count - 1].second + 1;
            let mut line = [0.0f32; MODEL_SIDE];
            for y in rows.clone() {
                let tap = Tap::new(y, scaled_height, height);
                let (upper, lower) = (&self.logits[tap.first * MODEL_SIDE..], &self.logits[tap.second * MODEL_SIDE..]);
                for ((out, &a), &b) in
                    line[sources.clone()].iter_mut().zip(&upper[sources.clone()]).zip(&lower[sources.clone()])
                {
                    *out = a * (1.0 - tap.fraction) + b * tap.fraction;
                }
                take(first, y, Values { line: &line, taps });
            }
        }
    }

    /// First and last column and row of the cropped grid with a positive logit.
    fn positive_ranges(&self) -> Option<((usize, usize), (usize, usize))> {
        let (columns, rows) = (self.frame.scaled_width(), self.frame.scaled_height());
        let mut x_hits: Option<(usize, usize)> = None;
        let mut y_hits: Option<(usize, usize)> = None;
        for (y, row) in self.logits.chunks_exact(MODEL_SIDE).take(rows).enumerate() {
            let row = &row[..columns];
            let Some(first) = row.iter().position(|&v| v > 0.0) else { continue };
            let last = row.iter().rposition(|&v| v > 0.0).unwrap_or(first);
            x_hits = Some(x_hits.map_or((first, last), |(a, b)| (a.min(first), b.max(last))));
            y_hits = Some(y_hits.map_or((y, y), |(a, _)| (a, y)));
        }
        x_hits.zip(y_hits)
    }
}

/// A part of a row of the image, which is interpolated between columns of the grid.
struct Values<'a> {
    line: &'a [f32; MODEL_SIDE],
    taps: &'a [Tap],
}

impl Values<'_> {
    fn iter(&self) -> impl Iterator<Item = f32> {
        self.taps.iter().map(|t| self.line[t.first] * (1.0 - t.fraction) + self.line[t.second] * t.fraction)
    }
}

/// Two source samples of a destination pixel and the weight of the second.
#[derive(Clone, Copy, Debug)]
struct Tap {
    first: usize,
    second: usize,
    fraction: f32,
}

impl Tap {
    /// As `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` computes it, in f32.
    fn new(index: usize, source: usize, target: usize) -> Self {
        let scale = source as f32 / target as f32;
        let position = (scale * (index as f32 + 0.5) - 0.5).max(0.0);
        let first = (position as usize).min(source - 1);
        Self { first, second: (first + 1).min(source - 1), fraction: position - first as f32 }
    }
}

/// Destination pixels that a source sample in `first..=last` can reach.
fn touched((first, last): (usize, usize), source: usize, target: usize) -> Range<usize> {
    let ratio = target as f64 / source as f64;
    let start = ((first as f64 - 1.0) * ratio) as usize;
    let end = libm::ceil((last as f64 + 2.0) * ratio) as usize;
    // One pixel more on each side than the arithmetic asks for: f32 positions may round across.
    start.saturating_sub(1)..(end + 1).min(target)
}
