//! Threads that assemble batches ahead of the network.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use tch::Device;

use super::batch::Staged;
use super::case::CaseProblem;
use super::dataset::{Dataset, DatasetError};
use super::sample::{Drawing, Sample};
use crate::embeddings::EmbeddingCache;
use crate::loss::shape_target;

/// Batches that a thread assembles ahead.
const AHEAD: usize = 2;

/// How samples are prepared.
#[derive(Clone, Debug)]
pub struct Task {
    /// The cases.
    pub dataset: Arc<Dataset>,
    /// Where embeddings are looked for.
    pub cache: Option<Arc<EmbeddingCache>>,
    /// Components of this many pixels or fewer are not drawn.
    pub min_area: usize,
    /// Whether the shape-distance loss's target is wanted: its distance transform is dear, and done here.
    pub shape: bool,
    /// Whether the network's inputs are wanted, which are of no use to core's encoder.
    pub images: bool,
    /// Whether samples that follow each other and show the same share one picture.
    pub share: bool,
    /// Where the batches go.
    pub device: Device,
}

impl Task {
    fn prepare(&self, drawing: &Drawing) -> Result<Sample, DatasetError> {
        let mut sample = Sample::new(&self.dataset, drawing, self.min_area)?;
        if self.shape {
            let side = umedsam::MODEL_SIDE;
            sample.shape = shape_target(&sample.mask, side, side);
        }
        sample.embedding = self.cache.as_ref().and_then(|cache| cache.get(&sample.picture));
        Ok(sample)
    }

    fn stage(&self, drawings: &[Drawing]) -> Result<Staged, DatasetError> {
        let samples = drawings.iter().map(|drawing| self.prepare(drawing)).collect::<Result<_, _>>()?;
        Staged::new(samples, self.device, self.images, self.share).map_err(|problem| {
            let path = self.dataset.entries()[drawings[0].entry].path.clone();
            DatasetError::Case { path, problem: Box::new(CaseProblem::Image(problem)) }
        })
    }
}

/// The batches of a list of lists of drawings, in its order. Dropping it ends its threads.
#[derive(Debug)]
pub struct Loader {
    /// Thread `i` assembles the batches `i`, `i + n`, `i + 2n` ...
    threads: Vec<Receiver<Result<Staged, DatasetError>>>,
    next: usize,
    left: usize,
}

impl Loader {
    /// Starts to assemble batches on `workers` threads; each is of at least one drawing.
    pub fn new(task: &Task, batches: Vec<Vec<Drawing>>, workers: usize) -> Self {
        let left = batches.len();
        let batches = Arc::new(batches);
        let start = |worker: usize| {
            let (sender, receiver) = sync_channel(AHEAD);
            let (task, batches) = (task.clone(), batches.clone());
            thread::spawn(move || {
                for drawings in batches.iter().skip(worker).step_by(workers) {
                    // Nobody waits any more: the loader was dropped.
                    if sender.send(task.stage(drawings)).is_err() {
                        break;
                    }
                }
            });
            receiver
        };
        Self { threads: (0..workers).map(start).collect(), next: 0, left }
    }
}

impl Iterator for Loader {
    type Item = Result<Staged, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // A thread ends before its last batch only by a panic, which it has told.
        let staged = self.threads[self.next].recv().expect("a thread that assembles batches has ended");
        self.next = (self.next + 1) % self.threads.len();
        Some(staged)
    }
}
