//! Where to look closer: crops of an image for the boxes that are small in it.
//!
//! The network sees an image at 256x256, so that a small object in a large image has few pixels there. Encoded from a
//! [`window`] around its box, it has more; an object that fills much of the image gains nothing and loses its
//! surroundings. [`plan`] decides by the box's share of the image and lets neighbours of similar size share a window,
//! since every window is an encode of its own. Nothing here runs the network.

use std::prelude::v1::*;

use crate::PixelBox;
use crate::geometry::Region;

/// Smallest side of a window, in pixels: below it there is too little of the surroundings to see, however small the box.
const MIN_SIDE: usize = 32;

/// A box joins a window if it keeps one part in so many of its longer side free on each side of it.
const ROOM: usize = 4;

/// A box joins a window if the window's side is at most so many times its own longer side, or no more than [`MIN_SIDE`].
const MAX_RATIO: usize = 5;

/// When to zoom, and how far.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ZoomOptions {
    /// What a window shows around its box on each side, in lengths of the box's longer side.
    pub margin: f64,
    /// A box is zoomed into if its longer side is at most this share of the image's longer side.
    pub max_share: f64,
    /// Most windows of an image beside the whole of it, each of which is an encode.
    pub max_windows: usize,
}

impl ZoomOptions {
    /// A margin of 0.6, for boxes of up to a third of the image (0.33), in at most 32 windows.
    pub const fn new() -> Self {
        Self { margin: 0.6, max_share: 0.33, max_windows: 32 }
    }

    /// With this margin; what is below 0 or NaN counts as 0.
    #[must_use]
    pub const fn with_margin(self, margin: f64) -> Self {
        Self { margin: margin.max(0.0), ..self }
    }

    /// For boxes of up to this share of the image; 0 or NaN zooms into none.
    #[must_use]
    pub const fn with_max_share(self, max_share: f64) -> Self {
        Self { max_share, ..self }
    }

    /// With at most this many windows beside the whole image; 0 zooms into none.
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

/// A part of an image to encode, and the boxes to decode from it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// The part.
    pub region: Region,
    /// Positions of the boxes in the request, ascending.
    pub boxes: Vec<usize>,
}

/// The window of one box in an image of `width` x `height` pixels: a square around it, with `margin` times the box's
/// longer side on each side.
///
/// The margin is rounded up to pixels, the side at least 32 pixels. At the image's edge it is shifted inwards; only where
/// the image is smaller than the square is it cut to the image. The box, as far as it is within the image
/// ([`Frame::clamp`](crate::Frame::clamp)), lies within it.
pub fn window(pixel_box: &PixelBox, width: usize, height: usize, margin: f64) -> Region {
    Extent::new(pixel_box, width, height).window(width, height, margin)
}

/// Divides `boxes` in an image of `width` x `height` pixels among windows, each box in exactly one.
///
/// The boxes are as [`Frame::clamp`](crate::Frame::clamp) gives them: what lies beyond the image is not looked at.
///
/// Boxes that are too large, or whose window is the whole image, stay in a window of the whole image, which comes
/// first and only if a box needs it. The others are taken from the largest to the smallest. A box joins the smallest
/// window so far in which it has a quarter of its longer side free on each side (or the window ends where the image
/// does), if the window's side is at most five times its longer side, or the smallest that there is; otherwise it gets a
/// [`window`] of its own.
///
/// Of more than `max_windows` windows those are kept that gain most, by the number of their boxes times the
/// magnification; the boxes of the others stay in the whole image. Windows come in the order of their first boxes.
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
