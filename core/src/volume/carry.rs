//! From an object's mask in one slice to its box in the next.

use std::prelude::v1::*;

use super::{BOX_MARGIN, MARGIN};
use crate::resize::Resizer;
use crate::{Frame, ImageView, MODEL_SIDE, MaskLogits, ModelBox, Region};

/// The cells of the model's grid that pixels of `region` touch, moved out by [`MARGIN`] and kept within 0 to 256.
pub(super) fn box_around(region: &Region, frame: &Frame) -> ModelBox {
    let cells = |first: usize, count: usize, scaled: usize, size: usize| {
        (first * scaled / size, ((first + count) * scaled - 1) / size)
    };
    let x = cells(region.x, region.width, frame.scaled_width(), frame.width());
    let y = cells(region.y, region.height, frame.scaled_height(), frame.height());
    moved_out(x, y)
}

fn moved_out((x0, x1): (usize, usize), (y0, y1): (usize, usize)) -> ModelBox {
    let low = |v: usize| v.saturating_sub(MARGIN) as f32;
    let high = |v: usize| (v + MARGIN).min(MODEL_SIDE) as f32;
    ModelBox { x0: low(x0), y0: low(y0), x1: high(x1), y1: high(y1) }
}

/// The whole grid.
pub(super) const GRID: ModelBox = ModelBox { x0: 0.0, y0: 0.0, x1: MODEL_SIDE as f32, y1: MODEL_SIDE as f32 };

/// The user's box moved out by [`BOX_MARGIN`], which no carried box leaves.
pub(super) fn limit(own: &ModelBox) -> ModelBox {
    let (margin, side) = (BOX_MARGIN as f32, MODEL_SIDE as f32);
    ModelBox {
        x0: (own.x0 - margin).max(0.0),
        y0: (own.y0 - margin).max(0.0),
        x1: (own.x1 + margin).min(side),
        y1: (own.y1 + margin).min(side),
    }
}

/// What of a box lies within `limit`, or nothing where no area does.
pub(super) fn within(found: ModelBox, limit: &ModelBox) -> Option<ModelBox> {
    let cut = ModelBox {
        x0: found.x0.max(limit.x0),
        y0: found.y0.max(limit.y0),
        x1: found.x1.min(limit.x1),
        y1: found.y1.min(limit.y1),
    };
    (cut.x0 < cut.x1 && cut.y0 < cut.y1).then_some(cut)
}

/// Upstream's way: the mask is stored as its label, in a byte, and resized as an image.
///
/// Whether a cell at the rim survives the rounding depends on the label: under label 1 half of it must be covered,
/// under label 255 hardly any. Beyond 255 upstream's bytes wrap, and a label of 256 vanishes; here they saturate.
#[derive(Debug)]
pub(super) struct UpstreamRounding {
    resizer: Resizer,
    mask: Vec<u8>,
    resized: Vec<u8>,
}

impl UpstreamRounding {
    pub(super) fn new(frame: &Frame) -> Self {
        let resized = vec![0; frame.scaled_width() * frame.scaled_height()];
        Self { resizer: Resizer::new(), mask: vec![0; frame.width() * frame.height()], resized }
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        self.resizer.capacity_bytes() + self.mask.capacity() + self.resized.capacity()
    }

    /// The box around a mask of this label, or nothing if no cell survives.
    pub(super) fn box_around(&mut self, logits: &MaskLogits<'_>, label: u16) -> Option<ModelBox> {
        let frame = logits.frame();
        self.mask.fill(0);
        logits.paint(label.min(255) as u8, &mut self.mask);
        let view = ImageView::gray8(&self.mask, frame.width(), frame.height()).ok()?;
        let (width, height) = (frame.scaled_width(), frame.scaled_height());
        self.resizer.resize_into(&view, width, height, &mut self.resized);
        let (mut x0, mut y0, mut x1, mut y1) = (usize::MAX, usize::MAX, 0, 0);
        for (y, row) in self.resized.chunks_exact(width).enumerate() {
            let Some(first) = row.iter().position(|&v| v > 0) else { continue };
            let last = row.iter().rposition(|&v| v > 0).unwrap_or(first);
            (x0, x1) = (x0.min(first), x1.max(last));
            (y0, y1) = (y0.min(y), y);
        }
        (x0 != usize::MAX).then(|| moved_out((x0, x1), (y0, y1)))
    }
}
