//! Volumes by a session.

use core::ops::ControlFlow;
use std::prelude::v1::*;

use super::{
    Follow, FollowOptions, Followed, Propagation, SliceNetwork, Slices, Start, VolumeSegmentation, slice_size,
};
use crate::{
    EMBEDDING_BYTES, Embedding, Error, Frame, ImageView, MaskLogits, ModelBox, PixelBox, Session, VolumeSize, VoxelBox,
};

/// How a volume is segmented.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VolumeOptions {
    /// Where an object's way begins in its box.
    pub start: Start,
    /// Memory for embeddings, in bytes; each takes [`EMBEDDING_BYTES`], 4 MiB. An embedding is kept for a slice that is
    /// tried for [`Start::Surest`], or that one object passes upwards and another downwards. A slice that finds no room
    /// is encoded twice, unless a cache ([`Session::set_cache`]) has it.
    pub cache_bytes: usize,
    /// Boxes are carried from slice to slice as the published LiteMedSAM does it, to the voxel
    /// ([`Propagation::with_upstream_rounding`]). They are not cut to the object's own box then, its mask depends on its
    /// place in the list, and it begins in the middle slice whatever `start` says.
    pub upstream_rounding: bool,
    /// Work that `progress` ends gives what was found so far, instead of [`Error::Cancelled`].
    pub partial: bool,
}

impl VolumeOptions {
    /// The surest start, 64 MiB of embeddings, which is 16 slices, and masks that do not depend on their position in the
    /// list.
    pub const fn new() -> Self {
        Self { start: Start::Surest, cache_bytes: 64 << 20, upstream_rounding: false, partial: false }
    }

    /// Sets where an object's way begins.
    #[must_use]
    pub const fn with_start(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// Sets the memory for embeddings, in bytes.
    #[must_use]
    pub const fn with_cache_bytes(self, cache_bytes: usize) -> Self {
        Self { cache_bytes, ..self }
    }

    /// Turns on the rounding of the published LiteMedSAM.
    #[must_use]
    pub const fn with_upstream_rounding(self) -> Self {
        Self { upstream_rounding: true, ..self }
    }

    /// Keeps what was found when the work is ended early.
    #[must_use]
    pub const fn with_partial(self) -> Self {
        Self { partial: true, ..self }
    }
}

impl Default for VolumeOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// Segments the objects in `boxes` through a volume. `slices` lends one slice after another
    /// ([`from_fn`](crate::volume::from_fn) makes it of a volume in memory). After each slice `progress` is called with
    /// the number of slices done and their total, tried ones included ([`Propagation::run`]); the work ends if it returns
    /// [`ControlFlow::Break`].
    ///
    /// ```no_run
    /// # use umedsam::{Error, ImageView, Session, VolumeOptions, VolumeSize, VoxelBox, volume};
    /// use std::ops::ControlFlow;
    ///
    /// # fn segment(session: &mut Session) -> Result<(), Error> {
    /// let size = VolumeSize { depth: 90, height: 512, width: 512 };
    /// let voxels = vec![0u8; 90 * 512 * 512];
    /// let slices = volume::from_fn(|z| ImageView::gray8(&voxels[z * 512 * 512..], 512, 512));
    /// let boxes = [VoxelBox::new(100.0, 120.0, 10.0, 230.0, 260.0, 40.0)];
    /// let found = session.segment_volume(slices, size, &boxes, &VolumeOptions::new(), |done, total| {
    ///     println!("{done} of {total} slices");
    ///     ControlFlow::Continue(())
    /// })?;
    /// println!("predicted IoU {:.2}", found.predicted_iou[0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of `slices`, of [`Propagation::new`], [`encode`](Self::encode) and [`decode`](Self::decode);
    /// [`Error::SliceSize`] if a slice is not of the volume's size; [`Error::Cancelled`] if `progress` ended the work
    /// and [`partial`](VolumeOptions::partial) is off.
    pub fn segment_volume<S: Slices>(
        &mut self,
        slices: S,
        size: VolumeSize,
        boxes: &[VoxelBox],
        options: &VolumeOptions,
        progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<VolumeSegmentation, S::Error> {
        let mut propagation = Propagation::new(boxes, size)?;
        let mut start = options.start;
        if options.upstream_rounding {
            propagation = propagation.with_upstream_rounding();
            start = Start::Middle;
        }
        let frame = Frame::new(size.width, size.height)?;
        let mut network = VolumeNetwork { session: self, slices, frame };
        let kept = options.cache_bytes / EMBEDDING_BYTES;
        match propagation.run_until(&mut network, start, kept, progress)? {
            (_, Some(ended)) if !options.partial => Err(ended.into()),
            (found, _) => Ok(found),
        }
    }

    /// Follows the objects in `boxes`, which are in pixels of slice `z`, upwards and downwards until they end. After each
    /// slice `progress` is called with the number of slices done and the most there can be; the work ends if it returns
    /// [`ControlFlow::Break`]. Each slice is encoded once, and none beyond the slice in which the last object is found
    /// ended; a volume's size in labels is the only memory that grows with it.
    ///
    /// Where an object ends is an estimate ([`End`](super::End)); [`Followed::objects`] says what was decided and why.
    ///
    /// # Errors
    /// Those of `slices`, of [`Follow::new`], [`encode`](Self::encode) and [`decode`](Self::decode);
    /// [`Error::SliceSize`] if a slice is not of the volume's size; [`Error::Cancelled`] if `progress` ended the work
    /// and [`partial`](FollowOptions::partial) is off.
    pub fn follow<S: Slices>(
        &mut self,
        mut slices: S,
        size: VolumeSize,
        z: usize,
        boxes: &[PixelBox],
        options: &FollowOptions,
        mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Followed, S::Error> {
        let frame = Frame::new(size.width, size.height)?;
        let mut follow = Follow::new(boxes, z, size, options)?;
        let mut embedding = self.blank();
        let mut done = 0;
        while let Some(request) = follow.next_request()? {
            let image = checked(slices.slice(request.z)?, request.z, &frame)?;
            self.encode_into(&image, &mut embedding)?;
            let boxes: Vec<ModelBox> = request.prompts.iter().map(|p| p.model_box).collect();
            let mut supplied = Ok(());
            self.decode(&embedding, &boxes, |i, logits, iou| {
                let taken = follow.supply(request.z, request.prompts[i].object, &logits, iou, &image);
                if let Err(error) = taken {
                    supplied = Err(error);
                }
            })?;
            supplied?;
            done += 1;
            let total = done + follow.remaining();
            if progress(done, total).is_break() && done < total {
                if options.partial {
                    break;
                }
                return Err(Error::Cancelled { done, total }.into());
            }
        }
        Ok(follow.finish())
    }
}

/// A slice, which must be of the volume's size.
fn checked<'a>(image: ImageView<'a>, z: usize, volume: &Frame) -> Result<ImageView<'a>, Error> {
    if image.frame() == *volume { Ok(image) } else { Err(slice_size(z, &image.frame(), volume)) }
}

/// A session and the slices of a volume.
struct VolumeNetwork<'s, S> {
    session: &'s mut Session,
    slices: S,
    /// Of the volume's slices.
    frame: Frame,
}

impl<S: Slices> SliceNetwork for VolumeNetwork<'_, S> {
    type Embedding = Embedding;
    type Error = S::Error;

    fn encode(&mut self, z: usize, spare: Option<Embedding>) -> Result<Embedding, S::Error> {
        let image = checked(self.slices.slice(z)?, z, &self.frame)?;
        let mut embedding = spare.unwrap_or_else(|| self.session.blank());
        self.session.encode_into(&image, &mut embedding)?;
        Ok(embedding)
    }

    fn decode(
        &mut self,
        embedding: &Embedding,
        boxes: &[ModelBox],
        take: impl FnMut(usize, MaskLogits<'_>, f32),
    ) -> Result<(), S::Error> {
        Ok(self.session.decode(embedding, boxes, take)?)
    }
}
