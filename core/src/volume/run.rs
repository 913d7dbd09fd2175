//! A propagation with a network that answers it.

use core::ops::ControlFlow;
use std::collections::BTreeMap;
use std::prelude::v1::*;

use super::start::Search;
use super::{Propagation, Start, VolumeSegmentation};
use crate::{Error, MaskLogits, ModelBox};

/// A network with the slices of one volume, for [`Propagation::run`].
pub trait SliceNetwork {
    /// An encoded slice.
    type Embedding;

    /// Why a slice could not be encoded or decoded.
    type Error: From<Error>;

    /// Encodes slice `z`. The memory of `spare`, of no more use otherwise, may be used again.
    ///
    /// # Errors
    /// Those of the network.
    fn encode(&mut self, z: usize, spare: Option<Self::Embedding>) -> Result<Self::Embedding, Self::Error>;

    /// Decodes boxes in an encoded slice and hands each one's position in `boxes`, logits and predicted IoU to `take`,
    /// in order.
    ///
    /// # Errors
    /// Those of the network.
    fn decode(
        &mut self,
        embedding: &Self::Embedding,
        boxes: &[ModelBox],
        take: impl FnMut(usize, MaskLogits<'_>, f32),
    ) -> Result<(), Self::Error>;
}

/// Embeddings of slices that are asked for again, and one of no more use.
struct Kept<E> {
    slices: BTreeMap<usize, E>,
    most: usize,
    spare: Option<E>,
}

impl<E> Kept<E> {
    /// The embedding of a slice, which is encoded unless it was kept.
    fn take<N: SliceNetwork<Embedding = E>>(&mut self, z: usize, network: &mut N) -> Result<E, N::Error> {
        match self.slices.remove(&z) {
            Some(embedding) => Ok(embedding),
            None => network.encode(z, self.spare.take()),
        }
    }

    fn put(&mut self, z: usize, embedding: E, again: bool) {
        if again && self.slices.len() < self.most {
            self.slices.insert(z, embedding);
        } else {
            self.spare = Some(embedding);
        }
    }
}

impl Propagation {
    /// Segments what remains with `network`, and tells `progress` of the slices done and the slices in all, after each
    /// slice. [`ControlFlow::Break`] ends the work there if slices remain. With [`Start::Surest`] the tried slices come
    /// first and count too; how many follow is known for certain only after them. Where slices were requested before,
    /// nothing is tried any more.
    ///
    /// At most `kept` embeddings are held for slices that are asked for again, tried ones among them; a slice that finds
    /// no room is encoded twice.
    ///
    /// # Errors
    /// Those of the network; [`Error::NotSupplied`] and [`Error::NotRequested`] if it decodes other boxes than it was
    /// given; [`Error::Cancelled`] if `progress` ended the work.
    pub fn run<N: SliceNetwork>(
        self,
        network: &mut N,
        start: Start,
        kept: usize,
        progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<VolumeSegmentation, N::Error> {
        match self.run_until(network, start, kept, progress)? {
            (found, None) => Ok(found),
            (_, Some(ended)) => Err(ended.into()),
        }
    }

    /// As [`run`](Self::run), with what was found until `progress` ended the work, and the error that says so.
    pub(super) fn run_until<N: SliceNetwork>(
        mut self,
        network: &mut N,
        start: Start,
        kept: usize,
        mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<(VolumeSegmentation, Option<Error>), N::Error> {
        let mut kept = Kept { slices: BTreeMap::new(), most: kept, spare: None };
        let mut done = 0;
        let mut step = |remaining: usize| {
            done += 1;
            let total = done + remaining;
            match progress(done, total) {
                ControlFlow::Break(()) if remaining > 0 => Some(Error::Cancelled { done, total }),
                _ => None,
            }
        };
        let mut ended = None;
        if start == Start::Surest && self.position == 0 {
            ended = self.find_starts(network, &mut kept, &mut step)?;
        }
        let mut confidence = vec![(0.0f32, 0usize); self.tracks.len()];
        while ended.is_none()
            && let Some(request) = self.next_request()?
        {
            let embedding = kept.take(request.z, network)?;
            let boxes: Vec<ModelBox> = request.prompts.iter().map(|p| p.model_box).collect();
            let mut supplied = Ok(());
            network.decode(&embedding, &boxes, |i, logits, iou| {
                let object = request.prompts.get(i).map_or(usize::MAX, |p| p.object);
                match self.supply(request.z, object, &logits) {
                    Ok(()) => {
                        confidence[object].0 += iou;
                        confidence[object].1 += 1;
                    }
                    Err(error) => supplied = Err(error),
                }
            })?;
            supplied?;
            kept.put(request.z, embedding, request.again);
            ended = step(self.remaining());
        }
        let predicted_iou = confidence.iter().map(|&(sum, n)| sum / n.max(1) as f32).collect();
        let starts = self.tracks.iter().map(|track| track.start).collect();
        Ok((VolumeSegmentation { labels: self.into_labels(), predicted_iou, starts }, ended))
    }

    /// Tries the slices in which objects may begin, upwards, and lets each begin in its surest. Returns why `step` ended
    /// the work, if it did.
    fn find_starts<N: SliceNetwork>(
        &mut self,
        network: &mut N,
        kept: &mut Kept<N::Embedding>,
        step: &mut impl FnMut(usize) -> Option<Error>,
    ) -> Result<Option<Error>, N::Error> {
        let mut search = Search::new(self);
        let slices = Search::slices(self);
        for (tried, (z, objects)) in slices.iter().enumerate() {
            let embedding = kept.take(*z, network)?;
            let boxes: Vec<ModelBox> = objects.iter().map(|&object| self.tracks[object].fallback).collect();
            let mut answered = 0;
            network.decode(&embedding, &boxes, |i, _, iou| {
                if let Some(&object) = objects.get(i) {
                    search.consider(self, object, *z, iou);
                }
                answered += 1;
            })?;
            match objects.get(answered) {
                Some(&object) => return Err(Error::NotSupplied { z: *z, object }.into()),
                None if answered > objects.len() => return Err(Error::NotRequested { z: *z, object: answered }.into()),
                None => {}
            }
            kept.put(*z, embedding, true);
            let ended = step(slices.len() - 1 - tried + self.remaining());
            if ended.is_some() {
                return Ok(ended);
            }
        }
        search.decide(self);
        Ok(None)
    }
}
