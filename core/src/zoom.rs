//! Zooming in: crops of an image for the boxes that are small in it.
//!
//! The network sees an image at 256x256 pixels, of which a small object in a large image has few. It has more if a
//! [`window`] around its box is encoded instead. An object that fills much of the image gains nothing and loses its
//! surroundings. [`plan`] decides by the box's share of the image; neighbouring boxes of similar size share a window,
//! since every window has to be encoded. Nothing here runs the network.

use std::prelude::v1::*;

use crate::PixelBox;
use crate::geometry::Region;

/// Smallest side of a window, in pixels. A smaller one would show too little of the surroundings, however small the
/// box.
const MIN_SIDE: usize = 32;

/// A box joins a window only if on each side of the box the window extends by the box's longer side divided by this.
const ROOM: usize = 4;

/// A box joins a window only if the window's side is at most this many times the box's longer side, or at most
/// [`MIN_SIDE`].
const MAX_RATIO: usize = 5;

/// Which boxes are zoomed into, and how far.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ZoomOptions {
    /// Margin of a window around its box on each side, in multiples of the box's longer side.
    pub margin: f64,
    /// A box is zoomed into if its longer side is at most this share of the image's longer side.
    pub max_share: f64,
    /// Greatest number of windows of an image besides the whole image. Each of them has to be encoded.
    pub max_windows: usize,
}

impl ZoomOptions {
    /// A margin of 0.6, boxes of up to 0.33 of the image, and at most 32 windows.
    pub const fn new() -> Self {
        Self { margin: 0.6, max_share: 0.33, max_windows: 32 }
    }

    /// Sets the margin; a negative one and NaN count as 0.
    #[must_use]
    pub const fn with_margin(self, margin: f64) -> Self {
        Self { margin: margin.max(0.0), ..self }
    }

    /// Sets the greatest share of the image that a box may have; 0 and NaN turn zooming off.
    #[must_use]
    pub const fn with_max_share(self, max_share: f64) -> Self {
        Self { max_share, ..self }
    }

    /// Sets the greatest number of windows besides the whole image; 0 turns zooming off.
    #[must_use]
    pub const fn with_max_windows(self, max_windows: usize) -> Self {
        Self { max_windows, ..self }
    }
}

impl Default for ZoomOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A part of an image to encode, and the boxes to decode in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// The part of the image.
    pub region: Region,
    /// Positions of the boxes in the request, in ascending order.
    pub boxes: Vec<usize>,
}

/// The window of one box in an image of `width` x `height` pixels: a square around it, with `margin` times the box's
/// longer side on each side.
///
/// The margin is rounded up to whole pixels, and the side is at least 32 pixels. At the image's edge the window is
/// shifted inwards; if the image is smaller than the square, the window is cut to the image. It contains the box as far
/// as the box lies within the image ([`Frame::clamp`](crate::Frame::clamp)).
pub fn window(pixel_box: &PixelBox, width: usize, height: usize, margin: f64) -> Region {
    Extent::new(pixel_box, width, height).window(width, height, margin)
}

/// Divides `boxes` in an image of `width` x `height` pixels among windows, so that each box is in exactly one.
///
/// The boxes must be those that [`Frame::clamp`](crate::Frame::clamp) returns; parts beyond the image are ignored.
///
/// Boxes that are too large, or whose window would be the whole image, are in a window of the whole image, which comes
/// first and is there only if a box needs it. The other boxes are taken from the largest to the smallest. A box joins
/// the smallest window so far if the window extends beyond the box by a quarter of the box's longer side on each side
/// (or ends at the image's edge) and if the window's side is at most five times the box's longer side or at most 32
/// pixels. Otherwise the box gets its own [`window`].
///
/// If there are more than `max_windows` windows, those with the greatest product of number of boxes and magnification
/// are kept, and the boxes of the others are in the whole image. Windows are in the order of their first boxes.
pub fn plan(boxes: &[PixelBox], width: usize, height: usize, options: &ZoomOptions) -> Vec<Window> {
    let extents: Vec<Extent> = boxes.iter().map(|b| Extent::new(b, width, height)).collect();
    let largest = options.max_share * width.max(height) as f64;
    let (mut small, mut whole): (Vec<usize>, Vec<usize>) =
        (0..boxes.len()).partition(|&i| extents[i].side() as f64 <= largest);
    // Stable: equals stay in the order of the request.
    small.sort_by_key(|&i| core::cmp::Reverse(extents[i].side()));
    let image = Region { x: 0, y: 0, width, height };
    let mut windows: Vec<Window> = Vec::new();
    for i in small {
        // The latest is the smallest.
        if let Some(window) = windows.iter_mut().rfind(|w| extents[i].joins(&w.region, width, height)) {
            window.boxes.push(i);
            continue;
        }
        let region = extents[i].window(width, height, options.margin);
        if region == image {
            whole.push(i);
        } else {
            windows.push(Window { region, boxes: vec![i] });
        }
    }
    if windows.len() > options.max_windows {
        // Ratios of boxes to sides in descending order, compared crosswise.
        windows.sort_by(|a, b| (b.boxes.len() * a.region.side()).cmp(&(a.boxes.len() * b.region.side())));
        whole.extend(windows.drain(options.max_windows..).flat_map(|w| w.boxes));
    }
    for window in &mut windows {
        window.boxes.sort_unstable();
    }
    windows.sort_by_key(|w| w.boxes[0]);
    if !whole.is_empty() {
        whole.sort_unstable();
        windows.insert(0, Window { region: image, boxes: whole });
    }
    windows
}

/// First and last pixels of a box along x and y.
#[derive(Clone, Copy, Debug)]
struct Extent {
    x: (usize, usize),
    y: (usize, usize),
}

impl Extent {
    fn new(b: &PixelBox, width: usize, height: usize) -> Self {
        let pixels = |start: f64, end: f64, size: usize| {
            let last = size.saturating_sub(1);
            let first = (start as usize).min(last);
            (first, (end as usize).clamp(first, last))
        };
        Self { x: pixels(b.x0, b.x1, width), y: pixels(b.y0, b.y1, height) }
    }

    /// The longer side, in pixels.
    fn side(&self) -> usize {
        (self.x.1 - self.x.0).max(self.y.1 - self.y.0) + 1
    }

    fn window(&self, width: usize, height: usize, margin: f64) -> Region {
        let margin = libm::ceil(self.side() as f64 * margin.max(0.0)) as usize;
        let side = self.side().saturating_add(margin.saturating_mul(2)).max(MIN_SIDE);
        // Start and length along one axis: twice the middle less the side is twice the start.
        let place = |(first, last): (usize, usize), size: usize| {
            let length = side.min(size);
            ((first + last + 1).saturating_sub(length) / 2).min(size - length)
        };
        let (x, y) = (place(self.x, width), place(self.y, height));
        Region { x, y, width: side.min(width), height: side.min(height) }
    }

    /// Whether a window shows this box well enough.
    fn joins(&self, window: &Region, width: usize, height: usize) -> bool {
        let side = self.side();
        let room = |start: usize, end: usize, size: usize, (first, last): (usize, usize)| {
            let free = |space: usize| ROOM * space >= side;
            start <= first && last < end && (start == 0 || free(first - start)) && (end == size || free(end - 1 - last))
        };
        window.side() <= MIN_SIDE.max(MAX_RATIO * side)
            && room(window.x, window.x + window.width, width, self.x)
            && room(window.y, window.y + window.height, height, self.y)
    }
}
