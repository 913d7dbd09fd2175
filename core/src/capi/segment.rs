//! From boxes to masks.

use std::prelude::v1::*;

use super::pointers::{buffer, lock, read, reference, result, values};
use super::session::{umedsam_embedding, umedsam_session};
use super::status::{Failure, call, umedsam_status};
use crate::postprocess::LOGITS_LEN;
use crate::{Embedding, ModelBox, PixelBox};

/// A box in pixels of the image: x to the right, y down, (0, 0) the first pixel. Both ends belong to it. What lies
/// beyond the image is cut off.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct umedsam_box {
    /// Left column.
    pub x0: f64,
    /// Top row.
    pub y0: f64,
    /// Right column, not less than x0.
    pub x1: f64,
    /// Bottom row, not less than y0.
    pub y1: f64,
}

impl umedsam_box {
    pub(super) const fn get(&self) -> PixelBox {
        PixelBox::new(self.x0, self.y0, self.x1, self.y1)
    }
}

pub(super) fn encoded(embedding: &Option<Embedding>) -> Result<&Embedding, Failure> {
    let none = || Failure::new(umedsam_status::Embedding, "embedding: no image has been encoded into it");
    embedding.as_ref().ok_or_else(none)
}

/// Gets the size of the image that was encoded, in pixels.
///
/// Threads: any, but not while the embedding is encoded into.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_embedding_size(
    embedding: *const umedsam_embedding,
    width: *mut usize,
    height: *mut usize,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (width, height, embedding) =
            unsafe { (result(width, 0, "width")?, result(height, 0, "height")?, reference(embedding, "embedding")?) };
        let guard = read(&embedding.0, "embedding")?;
        let frame = encoded(&guard)?.frame();
        (*width, *height) = (frame.width(), frame.height());
        Ok(())
    })
}

/// Gets the size of the masks of so many boxes, in bytes: boxes * height * width.
///
/// Threads: any, but not while the embedding is encoded into.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_embedding_mask_bytes(
    embedding: *const umedsam_embedding,
    box_count: usize,
    bytes: *mut usize,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (bytes, embedding) = unsafe { (result(bytes, 0, "bytes")?, reference(embedding, "embedding")?) };
        let guard = read(&embedding.0, "embedding")?;
        *bytes = mask_bytes(encoded(&guard)?, box_count)?;
        Ok(())
    })
}

pub(super) fn mask_bytes(embedding: &Embedding, box_count: usize) -> Result<usize, Failure> {
    times(embedding.frame().width() * embedding.frame().height(), box_count, "masks")
}

fn times(values: usize, box_count: usize, name: &str) -> Result<usize, Failure> {
    values.checked_mul(box_count).ok_or_else(|| {
        Failure::new(umedsam_status::BufferSize, format!("{name} of {box_count} boxes are beyond all memory"))
    })
}

/// Segments the objects in `box_count` boxes of an encoded image. What goes into which buffer, each of which may be
/// NULL:
///
/// - `masks`, of `masks_size` bytes: for each box a mask of the image's size, height rows of width bytes without gaps,
///   1 for the object and 0 elsewhere. umedsam_embedding_mask_bytes tells the size.
/// - `logits`, of `logits_len` floats: for each box UMEDSAM_LOGITS_LEN floats, 256 rows of 256, the network's own grid,
///   whose longer side is the image's longer side. Above 0 is the object.
/// - `predicted_iou`, of `box_count` floats: for each box the network's own estimate of how well the mask fits, 0 to 1
///   (intersection over union; uncalibrated).
///
/// The buffers must not overlap. If the call fails, what they hold is undefined.
///
/// Threads: one at a time for the same session; any number for the same embedding.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_segment(
    session: *mut umedsam_session,
    embedding: *const umedsam_embedding,
    boxes: *const umedsam_box,
    box_count: usize,
    masks: *mut u8,
    masks_size: usize,
    logits: *mut f32,
    logits_len: usize,
    predicted_iou: *mut f32,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (session, embedding, boxes) = unsafe {
            (reference(session, "session")?, reference(embedding, "embedding")?, values(boxes, box_count, "boxes")?)
        };
        let mut session = lock(&session.0, "session")?;
        let guard = read(&embedding.0, "embedding")?;
        let embedding = encoded(&guard)?;
        let frame = embedding.frame();
        let prompts: Vec<ModelBox> =
            boxes.iter().enumerate().map(|(i, b)| frame.to_model(&b.get(), i)).collect::<Result<_, _>>()?;
        let (mask_len, logits_needed) = (mask_bytes(embedding, box_count)?, times(LOGITS_LEN, box_count, "logits")?);
        // SAFETY: as above.
        let (mut masks, mut all_logits, mut ious) = unsafe {
            (
                buffer(masks, masks_size, mask_len, "masks")?,
                buffer(logits, logits_len, logits_needed, "logits")?,
                buffer(predicted_iou, box_count, box_count, "predicted_iou")?,
            )
        };
        session.decode(embedding, &prompts, |i, found, iou| {
            if let Some(masks) = &mut masks {
                let pixels = frame.width() * frame.height();
                found.mask_into(&mut masks[i * pixels..][..pixels]);
            }
            if let Some(logits) = &mut all_logits {
                logits[i * LOGITS_LEN..][..LOGITS_LEN].copy_from_slice(found.values());
            }
            if let Some(ious) = &mut ious {
                ious[i] = iou;
            }
        })?;
        Ok(())
    })
}
