//! Masks that say how sure they are.

use std::prelude::v1::*;

use super::pointers::{buffer, lock, read, reference, result, values};
use super::segment::{encoded, mask_bytes, umedsam_box};
use super::session::{umedsam_embedding, umedsam_session};
use super::status::{call, umedsam_status};
use crate::PixelBox;
use crate::uncertainty::UncertaintyOptions;

/// How many boxes an object is decoded from, and how they differ. Fill it with umedsam_uncertainty_default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct umedsam_uncertainty {
    /// Number of boxes, the given one among them: 1 to 64. One box alone has the network's own probabilities.
    pub samples: usize,
    /// Seed of the other boxes: the same seed gives the same results.
    pub seed: u64,
    /// Most that a side is moved outwards, in pixels of the 256x256 grid: 0 to 256. The greater of this and share counts,
    /// and half of it inwards.
    pub pixels: f32,
    /// Most that a side is moved outwards, as a share of the box's longer side: 0 to 1.
    pub share: f32,
    /// What the logits of the mean probabilities are divided by, 0.0625 to 16: above 1 the probabilities are less sure.
    /// The mask stays as it is.
    pub temperature: f32,
}

impl umedsam_uncertainty {
    fn of(options: &UncertaintyOptions) -> Self {
        let UncertaintyOptions { samples, seed, pixels, share, temperature } = *options;
        Self { samples, seed, pixels, share, temperature }
    }

    fn get(&self) -> UncertaintyOptions {
        let Self { samples, seed, pixels, share, temperature } = *self;
        let options = UncertaintyOptions::new().with_samples(samples).with_seed(seed);
        options.with_jitter(pixels, share).with_temperature(temperature)
    }
}

/// Fills in the usual values: 4 boxes of seed 0, whose sides are moved outwards by up to 4 pixels of the grid or a tenth
/// of the longer side, and a temperature of 1.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_uncertainty_default(options: *mut umedsam_uncertainty) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let place = unsafe { result(options, umedsam_uncertainty::default(), "options")? };
        *place = umedsam_uncertainty::of(&UncertaintyOptions::new());
        Ok(())
    })
}

/// As umedsam_segment, but each object is decoded from its box and from others like it, and what the network says of them
/// is averaged. `options` may be NULL for the usual values. What goes into which buffer, each of which may be NULL:
///
/// - `masks`, of `masks_size` bytes: for each box the mask of the mean, as umedsam_segment writes masks.
/// - `probabilities`, of `probabilities_len` floats: for each box the mean probability of each pixel, 0 to 1, height rows
///   of width floats without gaps: as many floats as umedsam_embedding_mask_bytes tells bytes.
/// - `entropy`, of `entropy_len` floats: the same of its entropy in bits, 0 where it is sure, 1 where object and background
///   are as likely.
/// - `scores`, of `box_count` floats: for each box how sure the mask is, 0 to 1. An empty mask has 0.
///
/// Decoding takes as many times as there are samples. The buffers must not overlap. If the call fails, what they hold is
/// undefined.
///
/// Threads: one at a time for the same session; any number for the same embedding.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_segment_uncertain(
    session: *mut umedsam_session,
    embedding: *const umedsam_embedding,
    boxes: *const umedsam_box,
    box_count: usize,
    options: *const umedsam_uncertainty,
    masks: *mut u8,
    masks_size: usize,
    probabilities: *mut f32,
    probabilities_len: usize,
    entropy: *mut f32,
    entropy_len: usize,
    scores: *mut f32,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (session, embedding, boxes) = unsafe {
            (reference(session, "session")?, reference(embedding, "embedding")?, values(boxes, box_count, "boxes")?)
        };
        let options = if options.is_null() {
            UncertaintyOptions::new()
        } else {
            // SAFETY: as above.
            unsafe { reference(options, "options")? }.get()
        };
        let mut session = lock(&session.0, "session")?;
        let guard = read(&embedding.0, "embedding")?;
        let embedding = encoded(&guard)?;
        let boxes: Vec<PixelBox> = boxes.iter().map(umedsam_box::get).collect();
        let needed = mask_bytes(embedding, box_count)?;
        // SAFETY: as above.
        let (mut masks, mut probabilities, mut entropy, mut scores) = unsafe {
            (
                buffer(masks, masks_size, needed, "masks")?,
                buffer(probabilities, probabilities_len, needed, "probabilities")?,
                buffer(entropy, entropy_len, needed, "entropy")?,
                buffer(scores, box_count, box_count, "scores")?,
            )
        };
        let pixels = embedding.frame().pixels();
        session.each_uncertain(embedding, &boxes, &options, |i, found| {
            if let Some(masks) = &mut masks {
                found.logits().mask_into(&mut masks[i * pixels..][..pixels]);
            }
            if let Some(maps) = &mut probabilities {
                found.probabilities_into(&mut maps[i * pixels..][..pixels]);
            }
            if let Some(maps) = &mut entropy {
                found.entropy_into(&mut maps[i * pixels..][..pixels]);
            }
            if let Some(scores) = &mut scores {
                scores[i] = found.score();
            }
        })?;
        Ok(())
    })
}
