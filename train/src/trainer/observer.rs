//! What a run tells of itself while it goes.

use std::ops::ControlFlow;
use std::path::Path;

use super::history::Epoch;
use crate::data::Skipped;
use crate::memory::OutOfMemory;

/// Who is told. To break ends the run after the step, saved; elsewhere it is not heeded.
pub trait Observer: Send {
    /// Something happened.
    fn observe(&mut self, event: Event<'_>) -> ControlFlow<()>;
}

/// Nobody.
impl Observer for () {
    fn observe(&mut self, _: Event<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Cases have been read.
    Reading {
        /// So many.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// A folder has been read.
    Cases {
        /// The folder.
        folder: &'a Path,
        /// Cases that can be used.
        cases: usize,
        /// The others.
        skipped: &'a [Skipped],
    },
    /// Cases of modalities that have no cap of their own.
    Uncapped {
        /// Their names.
        modalities: &'a [&'a str],
        /// Most samples an epoch of each.
        cap: usize,
    },
    /// The encoder begins with random weights, since those in the file are of another size; the rest is the file's.
    FreshEncoder {
        /// The file.
        weights: &'a Path,
    },
    /// A step is done.
    Step(&'a Progress),
    /// There was no memory for a step, which is done again with fewer samples at once; their gradients are added up.
    Smaller {
        /// libtorch's account.
        shortage: &'a OutOfMemory,
        /// Samples at once from now on.
        at_once: usize,
    },
    /// Objects have been validated.
    Validating {
        /// So many.
        done: usize,
        /// Of so many.
        total: usize,
    },
    /// An epoch is done; number 0 is the network before training.
    Epoch {
        /// What it brought.
        epoch: &'a Epoch,
        /// No validation was better before.
        best: bool,
    },
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The last one.
    pub epochs: u64,
    /// Steps done in this epoch.
    pub step: u64,
    /// Steps of an epoch.
    pub steps: u64,
    /// The weighted sum that is minimised, in this step.
    pub loss: f64,
    /// Each loss in this step.
    pub losses: Vec<(&'static str, f64)>,
    /// The learnable uncertainties, in the same order; none if the losses are weighed equally.
    pub sigmas: Vec<f64>,
    /// Samples a second, in this epoch so far, on all ranks.
    pub samples_per_second: f64,
}
