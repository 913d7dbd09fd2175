//! Carrying masks from slice to slice through a volume.
//!
//! A [`Propagation`] performs no inference: it names a slice and the boxes to segment in it, and is handed the masks.
//! All objects travel together, so that a slice is encoded once for all of them: first upwards from each object's
//! middle slice, then downwards.
//!
//! ```text
//! while let Some(request) = propagation.next_request() {
//!     // encode slice request.z, decode request.prompts, then for each prompt:
//!     propagation.supply(request.z, prompt.object, logits);
//! }
//! ```
//!
//! [`Propagation::run`] is this loop for any network ([`SliceNetwork`]), with embeddings kept for the second way.

use std::collections::BTreeMap;
use std::prelude::v1::*;

use crate::{
    Error, Frame, ImageView, MODEL_SIDE, MaskLogits, ModelBox, VoxelBox,
    geometry::{MAX_SIDE, clamp_range},
    memory,
    resize::Resizer,
};

/// Margin by which the box moves out between slices, in pixels of the model's grid.
pub const MARGIN: usize = 3;

/// A box to segment in a slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prompt {
    /// Position of the object in the list of boxes, from 0.
    pub object: usize,
    /// Where to look.
    pub model_box: ModelBox,
}

/// Boxes to segment in one slice, in ascending order of their objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Index of the slice.
    pub z: usize,
    /// The boxes.
    pub prompts: Vec<Prompt>,
    /// Whether the slice will be asked for again, so that keeping its embedding saves an encode.
    pub again: bool,
}

/// A network with the slices of one volume, for [`Propagation::run`].
pub trait SliceNetwork {
    /// An encoded slice.
    type Embedding;

    /// Why a slice could not be encoded or decoded.
    type Error: From<Error>;

    /// Encodes slice `z`. The memory of `spare`, of no more use otherwise, may be used again.
    fn encode(&mut self, z: usize, spare: Option<Self::Embedding>) -> Result<Self::Embedding, Self::Error>;

    /// Decodes boxes in an encoded slice and hands each one's position in `boxes`, logits and predicted IoU to `take`,
    /// in order.
    fn decode(
        &mut self,
        embedding: &Self::Embedding,
        boxes: &[ModelBox],
        take: impl FnMut(usize, MaskLogits<'_>, f32),
    ) -> Result<(), Self::Error>;
}

/// Labels of a volume and how sure the network is of each object.
#[derive(Clone, Debug)]
pub struct VolumeSegmentation {
    /// Label `i + 1` for box `i`, 0 elsewhere: (depth, height, width).
    pub labels: Vec<u16>,
    /// For each object the mean of its slices' predicted IoU (uncalibrated).
    pub predicted_iou: Vec<f32>,
}

/// One object on its way.
#[derive(Clone, Debug)]
struct Track {
    first: usize,
    middle: usize,
    last: usize,
    /// Box of the middle slice, used again wherever the previous slice's mask is empty.
    fallback: ModelBox,
    /// Box after the middle slice: the start of the way down.
    middle_next: ModelBox,
    /// Box for the next slice.
    next: ModelBox,
}

/// The order of slices and boxes for a volume, and the label volume that results.
#[derive(Debug)]
pub struct Propagation {
    frame: Frame,
    tracks: Vec<Track>,
    labels: Vec<u16>,
    /// Slices in the order in which they are asked for: upwards, then, from `turn` on, downwards.
    order: Vec<usize>,
    turn: usize,
    position: usize,
    resizer: Resizer,
    mask: Vec<u8>,
    resized: Vec<u8>,
}

impl Propagation {
    /// Plans the way of `boxes` through a volume of `depth` slices of `width` x `height` pixels.
    ///
    /// The middle slice of a box is `int((z1 - z0) / 2 + z0)`, as upstream has it.
    pub fn new(boxes: &[VoxelBox], depth: usize, width: usize, height: usize) -> Result<Self, Error> {
        let frame = Frame::new(width, height)?;
        if depth == 0 || depth > MAX_SIDE {
            return Err(Error::VolumeDepth { depth, max: MAX_SIDE });
        }
        let max = usize::from(u16::MAX);
        if boxes.len() > max {
            return Err(Error::TooManyBoxes { count: boxes.len(), max });
        }
        let tracks: Vec<Track> =
            boxes.iter().enumerate().map(|(i, b)| Track::new(b, i, depth, &frame)).collect::<Result<_, _>>()?;
        let mut order: Vec<usize> = (0..depth).filter(|&z| tracks.iter().any(|t| t.rises_through(z))).collect();
        let turn = order.len();
        order.extend((0..depth).rev().filter(|&z| tracks.iter().any(|t| t.sinks_through(z))));
        Ok(Self {
            frame,
            tracks,
            labels: memory::filled(depth.saturating_mul(width * height), 0)?,
            order,
            turn,
            position: 0,
            resizer: Resizer::new(),
            mask: memory::filled(width * height, 0)?,
            resized: Vec::new(),
        })
    }

    /// Requests still to come.
    pub fn remaining(&self) -> usize {
        self.order.len() - self.position
    }

    /// The next slice and its boxes, or nothing when the volume is finished.
    pub fn next_request(&mut self) -> Option<Request> {
        let z = *self.order.get(self.position)?;
        if self.position == self.turn {
            for track in &mut self.tracks {
                track.next = track.middle_next;
            }
        }
        let rising = self.position < self.turn;
        self.position += 1;
        let active = |t: &Track| if rising { t.rises_through(z) } else { t.sinks_through(z) };
        let prompts = self.tracks.iter().enumerate().filter(|(_, t)| active(t));
        let prompts = prompts.map(|(object, t)| Prompt { object, model_box: t.next }).collect();
        let again = rising && self.tracks.iter().any(|t| t.sinks_through(z));
        Some(Request { z, prompts, again })
    }

    /// Takes the mask of `object` in slice `z`: paints label `object + 1` and derives the next slice's box from it.
    ///
    /// Where objects overlap, the one with the larger label is kept, as when they are painted one after the other.
    ///
    /// # Panics
    /// If `object` or `z` was not in a request, or the logits belong to an image of another size.
    pub fn supply(&mut self, z: usize, object: usize, logits: &MaskLogits<'_>) {
        assert_eq!(logits.frame(), self.frame, "frame of the slice");
        let label = (object + 1) as u16;
        let slice = &mut self.labels[z * self.mask.len()..][..self.mask.len()];
        logits.paint_max(label, slice);

        // Upstream stores the label, in a byte, before it resizes the mask: whether a rim pixel survives the rounding
        // depends on it. Beyond 255 its bytes wrap, and a label of 256 vanishes; here they saturate.
        self.mask.fill(0);
        let area = logits.paint(label.min(255) as u8, &mut self.mask);
        let found = if area == 0 { None } else { self.box_around_mask() };
        let track = &mut self.tracks[object];
        track.next = found.unwrap_or(track.fallback);
        if z == track.middle {
            track.middle_next = track.next;
        }
    }

    /// Bounding box of the mask on the model's grid, moved out by [`MARGIN`] and kept within 0 to 256.
    fn box_around_mask(&mut self) -> Option<ModelBox> {
        let (width, height) = (self.frame.scaled_width(), self.frame.scaled_height());
        self.resized.resize(width * height, 0);
        let view = ImageView::gray8(&self.mask, self.frame.width(), self.frame.height()).ok()?;
        self.resizer.resize_into(&view, width, height, &mut self.resized);
        let (mut x0, mut y0, mut x1, mut y1) = (usize::MAX, usize::MAX, 0, 0);
        for (y, row) in self.resized.chunks_exact(width).enumerate() {
            let Some(first) = row.iter().position(|&v| v > 0) else { continue };
            let last = row.iter().rposition(|&v| v > 0).unwrap_or(first);
            (x0, x1) = (x0.min(first), x1.max(last));
            (y0, y1) = (y0.min(y), y);
        }
        let low = |v: usize| v.saturating_sub(MARGIN) as f32;
        let high = |v: usize| (v + MARGIN).min(MODEL_SIDE) as f32;
        (x0 != usize::MAX).then(|| ModelBox { x0: low(x0), y0: low(y0), x1: high(x1), y1: high(y1) })
    }

    /// Segments what remains with `network`, and tells `progress` of the slices done and the slices in all.
    ///
    /// At most `kept` embeddings are held for slices that are asked for again; a slice that finds no room is encoded
    /// twice.
    pub fn run<N: SliceNetwork>(
        mut self,
        network: &mut N,
        kept: usize,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<VolumeSegmentation, N::Error> {
        let mut cache: BTreeMap<usize, N::Embedding> = BTreeMap::new();
        let mut spare = None;
        let mut confidence = vec![(0.0f32, 0usize); self.tracks.len()];
        let total = self.remaining();
        while let Some(request) = self.next_request() {
            let embedding = match cache.remove(&request.z) {
                Some(embedding) => embedding,
                None => network.encode(request.z, spare.take())?,
            };
            let boxes: Vec<ModelBox> = request.prompts.iter().map(|p| p.model_box).collect();
            network.decode(&embedding, &boxes, |i, logits, iou| {
                let object = request.prompts[i].object;
                self.supply(request.z, object, &logits);
                confidence[object].0 += iou;
                confidence[object].1 += 1;
            })?;
            if request.again && cache.len() < kept {
                cache.insert(request.z, embedding);
            } else {
                spare = Some(embedding);
            }
            progress(total - self.remaining(), total);
        }
        let predicted_iou = confidence.iter().map(|&(sum, n)| sum / n.max(1) as f32).collect();
        Ok(VolumeSegmentation { labels: self.into_labels(), predicted_iou })
    }

    /// The label volume (depth, height, width): label `i + 1` for box `i`.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// The label volume, without a copy.
    pub fn into_labels(self) -> Vec<u16> {
        self.labels
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
        let middle = middle.clamp(first, last);
        Ok(Self { first, middle, last, fallback, middle_next: fallback, next: fallback })
    }

    const fn rises_through(&self, z: usize) -> bool {
        z >= self.middle && z <= self.last
    }

    const fn sinks_through(&self, z: usize) -> bool {
        z >= self.first && z < self.middle
    }
}
