//! Decoding an object from many boxes.

use std::prelude::v1::*;
use std::time::Duration;

use super::{Ensemble, Uncertain, UncertaintyOptions, jitter};
use crate::stopwatch::Stopwatch;
use crate::{Embedding, Error, ModelBox, PixelBox, Session};

impl Session {
    /// Segments the objects in `boxes`, which are in pixels of the encoded image, each from as many boxes as the options
    /// say, all of them decoded from the one embedding. Returns one result for each box, in order; each takes 256 KiB.
    ///
    /// A result depends neither on the other boxes nor on the number of threads.
    ///
    /// # Errors
    /// [`Error::Uncertainty`] if an option is out of its range, and those of [`segment`](Self::segment).
    pub fn segment_uncertain(
        &mut self,
        embedding: &Embedding,
        boxes: &[PixelBox],
        options: &UncertaintyOptions,
    ) -> Result<Vec<Uncertain>, Error> {
        let mut found = Vec::with_capacity(boxes.len());
        self.each_uncertain(embedding, boxes, options, |_, uncertain| found.push(uncertain))?;
        Ok(found)
    }

    /// As [`segment_uncertain`](Self::segment_uncertain), but `take` is called with each box's position in `boxes` and its
    /// result, in order; nothing is kept.
    ///
    /// # Errors
    /// As for [`segment_uncertain`](Self::segment_uncertain). Boxes before the one that failed have been taken.
    pub fn each_uncertain(
        &mut self,
        embedding: &Embedding,
        boxes: &[PixelBox],
        options: &UncertaintyOptions,
        mut take: impl FnMut(usize, Uncertain),
    ) -> Result<(), Error> {
        let frame = embedding.frame();
        let exact: Vec<ModelBox> =
            boxes.iter().enumerate().map(|(i, b)| frame.to_model(b, i)).collect::<Result<_, _>>()?;
        let mut ensemble = Ensemble::new(frame, options)?;
        let mut prompts = Vec::with_capacity(options.samples);
        let mut averaging = Duration::ZERO;
        for (i, exact) in exact.iter().enumerate() {
            prompts.clear();
            prompts.extend(jitter(exact, frame, options)?);
            ensemble.clear();
            self.decode(embedding, &prompts, |_, logits, predicted_iou| {
                let start = Stopwatch::start();
                ensemble.add(&logits, predicted_iou);
                averaging += start.elapsed();
            })
            .map_err(|error| match error {
                Error::NotFinite { .. } => Error::NotFinite { index: i },
                other => other,
            })?;
            let start = Stopwatch::start();
            let found = ensemble.mean();
            averaging += start.elapsed();
            take(i, found);
        }
        self.stats.postprocess += averaging;
        Ok(())
    }
}
