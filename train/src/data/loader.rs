//! Threads that prepare samples ahead of the network.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::dataset::{Dataset, DatasetError};
use super::sample::{Drawing, Sample};
use crate::embeddings::EmbeddingCache;
use crate::loss::shape_target;

/// Samples that a thread prepares ahead.
const AHEAD: usize = 4;

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
}

/// The samples of a list of drawings, in its order. Dropping it ends its threads.
#[derive(Debug)]
pub struct Loader {
    /// Thread `i` prepares the drawings `i`, `i + n`, `i + 2n` ...
    threads: Vec<Receiver<Result<Sample, DatasetError>>>,
    next: usize,
    left: usize,
}

impl Loader {
    /// Starts to prepare `drawings` on `workers` threads.
    pub fn new(task: &Task, drawings: Vec<Drawing>, workers: usize) -> Self {
        let left = drawings.len();
        let drawings = Arc::new(drawings);
        let start = |worker: usize| {
            let (sender, receiver) = sync_channel(AHEAD);
            let (task, drawings) = (task.clone(), drawings.clone());
            thread::spawn(move || {
                for drawing in drawings.iter().skip(worker).step_by(workers) {
                    // Nobody waits any more: the loader was dropped.
                    if sender.send(task.prepare(drawing)).is_err() {
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
    type Item = Result<Sample, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // A thread ends before its last sample only by a panic, which it has told.
        let sample = self.threads[self.next].recv().expect("a thread that prepares samples has ended");
        self.next = (self.next + 1) % self.threads.len();
        Some(sample)
    }
}
