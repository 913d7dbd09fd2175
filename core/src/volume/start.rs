//! The slice in which an object's way through a volume begins.

use std::collections::BTreeMap;
use std::prelude::v1::*;

use super::{Propagation, Track};

/// Where in its box an object's way begins. A slice in which the object fills the user's box is better than one in which
/// it is small, and only the network can tell. A box that tells its slice ([`VoxelBox::slice`](crate::VoxelBox)) begins there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// In the middle slice, `int((z1 - z0) / 2 + z0)`, as upstream has it.
    Middle,
    /// In one of five slices, at 3, 4, 5, 6 and 7 tenths of the box's depth: where the IoU that the network predicts for
    /// the user's box is the greatest. Of equals the one nearest to the middle is taken. This takes up to five decodes of
    /// each object more, and no encodes more while the tried slices find room beside those that are kept. It takes a model
    /// whose predicted IoU is true: with LiteMedSAM's weights [`Middle`](Self::Middle) is better.
    #[default]
    Surest,
}

impl Track {
    /// The slices in which it may begin, the middle one among them; some may be equal.
    fn candidates(&self) -> [usize; 5] {
        if self.is_fixed {
            return [self.start; 5];
        }
        let at = |tenths: usize| self.first + ((self.last - self.first) * tenths + 5) / 10;
        [at(3), at(4), self.start, at(6), at(7)]
    }
}

/// The best slice of each object so far.
#[derive(Debug)]
pub(super) struct Search {
    best: Vec<Option<(f32, usize)>>,
}

impl Search {
    pub(super) fn new(propagation: &Propagation) -> Self {
        Self { best: vec![None; propagation.tracks.len()] }
    }

    /// The slices to try and the objects to try there, of all objects that have a choice.
    pub(super) fn slices(propagation: &Propagation) -> BTreeMap<usize, Vec<usize>> {
        let mut slices: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (object, track) in propagation.tracks.iter().enumerate() {
            let candidates = track.candidates();
            for z in candidates.into_iter().filter(|_| candidates.iter().any(|&z| z != track.start)) {
                let objects = slices.entry(z).or_default();
                if objects.last() != Some(&object) {
                    objects.push(object);
                }
            }
        }
        slices
    }

    /// Takes the predicted IoU of an object in a slice.
    pub(super) fn consider(&mut self, propagation: &Propagation, object: usize, z: usize, iou: f32) {
        let from_middle = |z: usize| z.abs_diff(propagation.tracks[object].start);
        let best = &mut self.best[object];
        if best.is_none_or(|(most, at)| iou > most || iou == most && from_middle(z) < from_middle(at)) {
            *best = Some((iou, z));
        }
    }

    /// Lets each object begin in its best slice.
    pub(super) fn decide(self, propagation: &mut Propagation) {
        for (track, best) in propagation.tracks.iter_mut().zip(self.best) {
            track.start = best.map_or(track.start, |(_, z)| z);
        }
        let depth = propagation.labels.len() / propagation.frame.pixels();
        propagation.arrange(depth);
    }
}
