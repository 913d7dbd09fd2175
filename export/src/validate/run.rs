//! Segmenting a case with both models and scoring what they found.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use umedsam::metrics::{Convention, LabelScore, label_dice, on_all_cores, score_case};
use umedsam::npz::{Boxes, Case, Limits, Truth};
use umedsam::validation::ValidatedModel;
use umedsam::volume::from_fn;
use umedsam::{Error, ImageView, Model, PixelBox, Precision, Session, SessionOptions, VolumeOptions};

use super::ValidateError;
use super::record::{CaseTime, Masks, Object, Record, Scores, Spent};

/// What a model finds in a case: label `i` of the `i`-th box, and its own estimate of each mask's IoU.
struct Found {
    labels: Vec<u16>,
    predicted_iou: Vec<f32>,
}

/// One of the two models, ready to run.
struct Contender {
    session: Session,
}

impl Contender {
    /// Loads the graphs and runs them once, so that no case pays for what happens only once.
    fn new(model: &Model, precision: Precision, threads: usize) -> Result<Self, Error> {
        let options = SessionOptions::new().with_threads(threads).with_precision(precision);
        let mut session = model.session(&options)?;
        let blank = [0; 16 * 16];
        // A model that fails here fails in the cases, by name.
        let _ = session.segment_image(&ImageView::gray8(&blank, 16, 16)?, &[PixelBox::new(2.0, 2.0, 12.0, 12.0)], None);
        Ok(Self { session })
    }

    /// What is found in a case by the procedure that devices follow, and the time it took.
    fn segment(&mut self, case: &Case) -> Result<(Found, Spent), Error> {
        let (before, start) = (self.session.stats(), Instant::now());
        let found = match &case.boxes {
            Boxes::Plane(boxes) => {
                let found = self.session.segment_image(&case.slice(0)?, boxes, None)?;
                Found { labels: found.labels, predicted_iou: found.predicted_iou }
            }
            Boxes::Volume(boxes) => {
                let (slices, options) = (from_fn(|z| case.slice(z)), VolumeOptions::new());
                let go_on = |_, _| ControlFlow::Continue(());
                let found = self.session.segment_volume(slices, case.shape.volume(), boxes, &options, go_on)?;
                Found { labels: found.labels, predicted_iou: found.predicted_iou }
            }
        };
        let (total, after) = (start.elapsed(), self.session.stats());
        let spent = Spent {
            encodes: after.encodes - before.encodes,
            encode_ms: ms(after.encode - before.encode),
            total_ms: ms(total),
        };
        Ok((found, spent))
    }
}

/// Milliseconds, to the microsecond.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Both models, ready to run.
pub(super) struct Pair {
    reference: Contender,
    model: Contender,
}

impl Pair {
    /// Loads both, each computed as its part of the summary says. A model that cannot be loaded is an error of its file.
    pub(super) fn new(
        (reference, reference_path): (&Model, &Path),
        (model, model_path): (&Model, &Path),
        summaries: [&ValidatedModel; 2],
        threads: usize,
    ) -> Result<Self, ValidateError> {
        let load = |model, path: &Path, precision| {
            Contender::new(model, precision, threads)
                .map_err(|source| ValidateError::Session { path: path.into(), source })
        };
        Ok(Self {
            reference: load(reference, reference_path, summaries[0].precision)?,
            model: load(model, model_path, summaries[1].precision)?,
        })
    }

    /// Segments a case with one model after the other and scores both; the masks are there unless the model failed.
    ///
    /// # Errors
    /// If the case cannot be read, its truth is not of its boxes, or the reference cannot segment it.
    pub(super) fn run(
        &mut self,
        path: &Path,
        name: &str,
        key: String,
        reference_first: bool,
    ) -> Result<(Record, Option<Masks>), ValidateError> {
        let limits = Limits::new();
        let (truth, case) = (Truth::read(path, &limits)?, Case::read(path, &limits)?);
        let shape = case.shape.labels();
        if truth.shape != shape {
            return Err(ValidateError::Shape { path: path.into(), truth: truth.shape, image: shape });
        }
        truth.of_boxes()?;
        let (reference, model) = if reference_first {
            let reference = self.reference.segment(&case);
            (reference, self.model.segment(&case))
        } else {
            let model = self.model.segment(&case);
            (self.reference.segment(&case), model)
        };
        // First, so that a case which nobody can segment is not laid at the model's door.
        let (reference, reference_spent) =
            reference.map_err(|source| ValidateError::Reference { path: path.into(), source })?;
        let mut record = Record { key, case: name.into(), shape, failure: None, objects: Vec::new(), time: None };
        match model {
            Err(error) => {
                record.failure = Some(error.to_string());
                Ok((record, None))
            }
            Ok((model, spent)) => {
                record.time = Some(CaseTime { reference_first, reference: reference_spent, model: spent });
                record.objects = score(&truth, [&reference, &model]);
                Ok((record, Some(Masks { reference: reference.labels, model: model.labels })))
            }
        }
    }
}

/// Scores of every label of the truth, which are the numbers of the boxes.
fn score(truth: &Truth, found: [&Found; 2]) -> Vec<Object> {
    let measured = on_all_cores(found, |found| {
        score_case(&truth.labels, &found.labels, &truth.shape, truth.spacing, Convention::Boundary)
    });
    let labels = truth.labels.iter().copied().max().unwrap_or(0);
    let agreement = label_dice(&found[0].labels, &found[1].labels, labels);
    // Digits that survive being written and read, so that a run that was resumed finds what one in one go finds.
    let round = |score: f64| (score * 1e9).round() / 1e9;
    let scores = |s: &LabelScore, found: &Found, index: usize| Scores {
        dsc: s.dsc.map(round),
        nsd: s.nsd.map(round),
        predicted_iou: found.predicted_iou.get(index).map(|&iou| round(iou.into())),
    };
    let [reference, model] = &measured[..] else { return Vec::new() };
    let measured = reference.iter().zip(model).zip(agreement).zip(1..=labels).enumerate();
    measured
        .map(|(index, (((reference, model), agreement), label))| Object {
            label,
            reference: scores(reference, found[0], index),
            model: scores(model, found[1], index),
            agreement: agreement.map(round),
        })
        .collect()
}
