//! Carrying masks from slice to slice through a volume.
//!
//! A [`Propagation`] performs no inference: it requests the masks of some boxes in a slice, and they are supplied to
//! it. All objects are carried together, first upwards from the slice in which each one begins, then downwards, so that
//! a slice is encoded once for all of them.
//!
//! ```text
//! while let Some(request) = propagation.next_request()? {
//!     // encode slice request.z, decode request.prompts, then for each prompt:
//!     propagation.supply(request.z, prompt.object, logits)?;
//! }
//! ```
//!
//! [`Propagation::run`] is this loop for any network ([`SliceNetwork`]), with embeddings kept for the second way, and
//! with the slices tried in which an object may begin ([`Start`]).
//!
//! A [`Follow`] does the same for boxes in one slice, whose objects end where they end.

mod carry;
mod evidence;
mod follow;
mod reuse;
mod run;
#[cfg(feature = "runtime")]
mod session;
mod slices;
mod start;
mod tone;

use std::prelude::v1::*;

use carry::UpstreamRounding;
pub use evidence::Evidence;
pub use follow::{End, Follow, FollowOptions, Followed, FollowedObject, FollowedSlice, MAX_GROWTH};
pub use run::SliceNetwork;
#[cfg(feature = "runtime")]
pub use session::VolumeOptions;
pub use slices::{Slices, from_fn};
pub use start::Start;

use crate::geometry::clamp_range;
use crate::{Error, Frame, MaskLogits, ModelBox, VolumeSize, VoxelBox};

/// Margin by which a box grows on each side from one slice to the next, in pixels of the model's grid.
pub const MARGIN: usize = 3;

/// How far a box that is carried on may reach beyond the user's box, in pixels of the model's grid.
pub const BOX_MARGIN: usize = 2;

/// A box to segment in a slice.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Prompt {
    /// Position of the object in the list of boxes, from 0.
    pub object: usize,
    /// The box, on the model's grid.
    pub model_box: ModelBox,
}

/// Boxes to segment in one slice, in ascending order of their objects.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// Index of the slice.
    pub z: usize,
    /// The boxes.
    pub prompts: Vec<Prompt>,
    /// Whether the slice will be asked for again, so that keeping its embedding saves an encode.
    pub again: bool,
}

/// The label map of a volume, and the network's estimate of each mask's quality.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VolumeSegmentation {
    /// Label map (depth,height,width): `i + 1` for box `i`, 0 for background. Where objects overlap, the later box
    /// prevails.
    pub labels: Vec<u16>,
    /// For each object the mean over its slices of the uncalibrated predicted IoU, 0 to 1.
    pub predicted_iou: Vec<f32>,
    /// The slice in which each object's way began.
    pub starts: Vec<usize>,
}

/// One object on its way.
#[derive(Clone, Debug)]
struct Track {
    /// Whether it is told where it begins.
    is_fixed: bool,
    first: usize,
    /// The slice in which it begins.
    start: usize,
    last: usize,
    /// The user's box, which is asked in the first slice, and again wherever the previous slice's mask is empty or outside of `limit`.
    fallback: ModelBox,
    /// Carried boxes are cut to it.
    limit: ModelBox,
    /// Box after the first slice: the start of the way down.
    start_next: ModelBox,
    /// Box for the next slice.
    next: ModelBox,
    /// Whether its mask in the current slice is still to come.
    awaited: bool,
}

/// The order of slices and boxes for a volume, and the label volume that results.
///
/// In the next slice the network is prompted with the bounding box of the object's mask, moved out by [`MARGIN`], so that
/// every cell of the model's grid that the mask touches is within it, and cut to the user's box moved out by
/// [`BOX_MARGIN`], whose x and y hold the object in every slice, unless they are those of one slice. No object's way depends on its place in the list, nor on
/// the other objects; only what is seen where objects overlap does.
#[derive(Debug)]
pub struct Propagation {
    frame: Frame,
    tracks: Vec<Track>,
    labels: Vec<u16>,
    /// Slices in the order in which they are asked for: upwards, then, from `turn` on, downwards.
    order: Vec<usize>,
    turn: usize,
    position: usize,
    upstream: Option<UpstreamRounding>,
}

impl Propagation {
    /// Plans the way of `boxes` through a volume, each from the slice that it tells ([`VoxelBox::slice`]), or from the middle
    /// one, which is `int((z1 - z0) / 2 + z0)`, as upstream has it. [`run`](Self::run) finds a better one than that.
    ///
    /// # Errors
    /// [`Error::ImageSize`] or [`Error::VolumeDepth`] if the volume has a size of 0 or an absurd one,
    /// [`Error::TooManyBoxes`] beyond 65535 boxes, [`Error::BoxNotFinite`], [`Error::BoxReversed`] or
    /// [`Error::BoxOutside`] for a box, and [`Error::Memory`] if there is none for the labels.
    pub fn new(boxes: &[VoxelBox], size: VolumeSize) -> Result<Self, Error> {
        let mut propagation = Self::empty();
        propagation.restart(boxes, size)?;
        Ok(propagation)
    }

    /// As the published LiteMedSAM does it, to the voxel, for comparison with it: the mask is resized as an image of its
    /// label's value, whose rounding makes an object's way depend on its place in the list, and carried boxes are not cut
    /// to the user's.
    #[must_use]
    pub fn with_upstream_rounding(self) -> Self {
        Self { upstream: Some(UpstreamRounding::new(&self.frame)), ..self }
    }

    /// Number of requests still to come.
    pub fn remaining(&self) -> usize {
        self.order.len() - self.position
    }

    /// The next slice and its boxes; `None` when the volume is finished.
    ///
    /// # Errors
    /// [`Error::NotSupplied`] if a mask of the request before is still to come: the next box is made from it.
    pub fn next_request(&mut self) -> Result<Option<Request>, Error> {
        let mut request = Request::default();
        Ok(self.next_request_into(&mut request)?.then_some(request))
    }

    /// Takes the mask of `object` in slice `z`: paints label `object + 1` and derives the next slice's box from it.
    ///
    /// Where objects overlap, the one with the larger label is kept, as when they are painted one after the other.
    ///
    /// # Errors
    /// [`Error::NotRequested`] if the last request does not hold this object in this slice, or the mask was supplied
    /// before; [`Error::SliceSize`] if the logits belong to an image of another size. Nothing is painted then.
    pub fn supply(&mut self, z: usize, object: usize, logits: &MaskLogits<'_>) -> Result<(), Error> {
        let asked = self.position.checked_sub(1).is_some_and(|last| self.order[last] == z);
        let track = self.tracks.get_mut(object).filter(|track| asked && track.awaited);
        let track = track.ok_or(Error::NotRequested { z, object })?;
        let pixels = self.frame.width() * self.frame.height();
        if logits.frame() != self.frame {
            return Err(slice_size(z, &logits.frame(), &self.frame));
        }
        let label = (object + 1) as u16;
        let region = logits.paint_max_bounds(label, &mut self.labels[z * pixels..][..pixels]);
        let found = region.and_then(|region| match &mut self.upstream {
            None => carry::within(carry::box_around(&region, &self.frame), &track.limit),
            Some(upstream) => upstream.box_around(logits, label),
        });
        track.next = found.unwrap_or(track.fallback);
        if z == track.start {
            track.start_next = track.next;
        }
        track.awaited = false;
        Ok(())
    }

    /// The label map (depth,height,width): label `i + 1` for box `i`.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// The label map, without a copy.
    pub fn into_labels(self) -> Vec<u16> {
        self.labels
    }
}

/// The error of a slice that is not of the volume's size.
pub(crate) fn slice_size(z: usize, found: &Frame, volume: &Frame) -> Error {
    Error::SliceSize {
        z,
        width: found.width(),
        height: found.height(),
        expected_width: volume.width(),
        expected_height: volume.height(),
    }
}

impl Track {
    fn new(b: &VoxelBox, index: usize, depth: usize, frame: &Frame) -> Result<Self, Error> {
        let fallback = frame.to_model(&b.plane, index)?;
        let (z0, z1) = clamp_range('z', b.z0, b.z1, depth, index)?;
        let z0 = libm::trunc(z0);
        let (first, last) = (z0 as usize, (z1 as usize).min(depth - 1));
        // From the box as given: upstream does not cut it at the last slice before it takes the middle.
        let middle = ((libm::trunc(b.z1) - z0) / 2.0 + z0) as usize;
        let start = b.slice.unwrap_or(middle).clamp(first, last);
        let limit = if b.slice.is_some() { carry::GRID } else { carry::limit(&fallback) };
        Ok(Self {
            is_fixed: b.slice.is_some(),
            first,
            start,
            last,
            fallback,
            limit,
            start_next: fallback,
            next: fallback,
            awaited: false,
        })
    }

    const fn rises_through(&self, z: usize) -> bool {
        z >= self.start && z <= self.last
    }

    const fn sinks_through(&self, z: usize) -> bool {
        z >= self.first && z < self.start
    }
}
