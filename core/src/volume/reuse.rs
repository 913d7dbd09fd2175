//! Propagation in memory that is used again.

use std::prelude::v1::*;

use super::{Prompt, Propagation, Request, Track};
use crate::geometry::MAX_SIDE;
use crate::{Error, Frame, VolumeSize, VoxelBox, memory};

impl Propagation {
    /// A propagation through nothing, finished from the start: for [`restart`](Self::restart).
    pub const fn empty() -> Self {
        Self {
            frame: Frame::MODEL,
            tracks: Vec::new(),
            labels: Vec::new(),
            order: Vec::new(),
            turn: 0,
            position: 0,
            upstream: None,
        }
    }

    /// Bytes held: two for each voxel, and some for each slice and each box.
    pub fn capacity_bytes(&self) -> usize {
        self.labels.capacity() * size_of::<u16>()
            + self.order.capacity() * size_of::<usize>()
            + self.tracks.capacity() * size_of::<Track>()
            + self.upstream.as_ref().map_or(0, |upstream| upstream.capacity_bytes())
    }

    /// Begins anew with another volume, as [`new`](Self::new) does, in the memory of the one before: after a volume of
    /// the same size and as many boxes none is taken. The way of rounding is [`new`](Self::new)'s again.
    ///
    /// # Errors
    /// Those of [`new`](Self::new). The propagation is [`empty`](Self::empty) then.
    pub fn restart(&mut self, boxes: &[VoxelBox], size: VolumeSize) -> Result<(), Error> {
        let planned = self.plan(boxes, size);
        if planned.is_err() {
            *self = Self::empty();
        }
        planned
    }

    fn plan(&mut self, boxes: &[VoxelBox], size: VolumeSize) -> Result<(), Error> {
        let VolumeSize { depth, height, width } = size;
        self.frame = Frame::new(width, height)?;
        if depth == 0 || depth > MAX_SIDE {
            return Err(Error::VolumeDepth { depth, max: MAX_SIDE });
        }
        let max = usize::from(u16::MAX);
        if boxes.len() > max {
            return Err(Error::TooManyBoxes { count: boxes.len(), max });
        }
        self.upstream = None;
        self.position = 0;
        self.tracks.clear();
        memory::reserve(&mut self.tracks, boxes.len())?;
        for (i, b) in boxes.iter().enumerate() {
            self.tracks.push(Track::new(b, i, depth, &self.frame)?);
        }
        self.order.clear();
        memory::reserve(&mut self.order, 2 * depth)?;
        self.arrange(depth);
        let count = depth.saturating_mul(height).saturating_mul(width);
        if self.labels.capacity() < count {
            // Given back first: both together may be more than there is.
            self.labels = Vec::new();
            self.labels = memory::zeros(count)?;
        } else {
            self.labels.clear();
            self.labels.resize(count, 0);
        }
        Ok(())
    }

    /// Puts the slices in order, of which there is room for twice as many as the volume has.
    pub(super) fn arrange(&mut self, depth: usize) {
        let tracks = &self.tracks;
        self.order.clear();
        self.order.extend((0..depth).filter(|&z| tracks.iter().any(|t| t.rises_through(z))));
        self.turn = self.order.len();
        self.order.extend((0..depth).rev().filter(|&z| tracks.iter().any(|t| t.sinks_through(z))));
    }

    /// As [`next_request`](Self::next_request), into a request whose memory is used again. Returns whether there was one;
    /// the request is left as it is when the volume is finished.
    ///
    /// # Errors
    /// Those of [`next_request`](Self::next_request).
    pub fn next_request_into(&mut self, request: &mut Request) -> Result<bool, Error> {
        if let Some(object) = self.tracks.iter().position(|t| t.awaited) {
            return Err(Error::NotSupplied { z: self.order[self.position - 1], object });
        }
        let Some(&z) = self.order.get(self.position) else { return Ok(false) };
        if self.position == self.turn {
            for track in &mut self.tracks {
                track.next = track.start_next;
            }
        }
        let rising = self.position < self.turn;
        self.position += 1;
        for track in &mut self.tracks {
            track.awaited = if rising { track.rises_through(z) } else { track.sinks_through(z) };
        }
        request.z = z;
        request.prompts.clear();
        let prompts = self.tracks.iter().enumerate().filter(|(_, t)| t.awaited);
        request.prompts.extend(prompts.map(|(object, t)| Prompt { object, model_box: t.next }));
        request.again = rising && self.tracks.iter().any(|t| t.sinks_through(z));
        Ok(true)
    }
}
