//! A training run, from the first look at the cases to the last epoch.
//!
//! A run has a folder: `config.toml` (all of it, resolved), `last.safetensors` (the state to go on from),
//! `current.safetensors` (the weights so far, of a run that has not come to its end), `best.safetensors` and
//! `final.safetensors` (of the best epoch and the last; weights with the published names), `metrics.jsonl`, `metrics.csv`,
//! `curves.svg`, `skipped.txt`. Every file is whole at any time.

mod begin;
mod epoch;
mod error;
mod files;
mod history;
mod network;
mod observer;
mod plot;
mod state;
mod step;
mod teacher;
mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use begin::Origin;
pub use error::TrainError;
pub use history::{Epoch, Scores, Validation};
use network::Network;
pub use observer::{Event, Observer, Progress};
pub use state::Folders;
use state::State;
use step::Objective;
use validate::Validator;

use crate::config::Watch;
use crate::cuda;
use crate::data::Task;
use crate::optim::Average;
use crate::ranks::Ranks;

/// A run between two steps.
pub struct Trainer<'a> {
    folder: PathBuf,
    state: State,
    ranks: &'a Ranks,
    observer: &'a mut dyn Observer,
    network: Network,
    objective: Objective,
    average: Option<Average>,
    task: Task,
    validator: Option<Validator>,
    pace: Pace,
}

/// How much at once and how long: what a run is told or learns on this machine, and leaves there.
struct Pace {
    /// Samples that go through the network together: those of a batch, or as many as there is memory for.
    at_once: usize,
    begin: Instant,
    /// When the run ends, if before its last epoch.
    deadline: Option<Instant>,
    /// Whether that has come.
    late: bool,
    /// How long the last validation took, which the one at the end will take again.
    validating: Duration,
}

impl Pace {
    fn new(batch: usize) -> Self {
        Self { at_once: batch, begin: Instant::now(), deadline: None, late: false, validating: Duration::ZERO }
    }

    /// The part of the time until the deadline that is over, the validation at the end left out: 0 without a deadline.
    fn over(&self) -> f64 {
        let Some(deadline) = self.deadline else { return 0.0 };
        let all = deadline.saturating_duration_since(self.begin).saturating_sub(self.validating);
        (self.begin.elapsed().as_secs_f64() / all.as_secs_f64()).min(1.0)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Every epoch, the state before training first.
    pub epochs: Vec<Epoch>,
    /// Best validation DSC of an epoch, 0 to 1; what the run began from does not compete.
    pub best: Option<f64>,
    /// Whether all epochs were done; if not, the run was stopped, and can be resumed.
    pub finished: bool,
}

impl<'a> Trainer<'a> {
    /// Ends the run in time, after the step under way, as if it were the end of the last epoch: with a validation, if
    /// there is time for one as long as the last, and the final weights.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.pace.begin = Instant::now();
        self.pace.deadline = Some(deadline);
        self
    }

    /// Sends at most so many samples through the network together, and adds up the gradients of the pieces of a batch: less
    /// memory for the same step, but for BatchNorm where it takes its statistics from what it sees, and the focal loss.
    /// Where there is no memory for a batch, a run does so by itself.
    ///
    /// 0 counts as 1.
    #[must_use]
    pub fn with_samples_at_once(mut self, samples: usize) -> Self {
        self.pace.at_once = samples.max(1);
        self
    }

    /// Trains until the last epoch, the deadline, or until the observer says stop.
    ///
    /// # Errors
    /// [`TrainError`]; the state on disk is that of the last save.
    pub fn run(mut self) -> Result<Summary, TrainError> {
        if self.state.history.is_empty() {
            let before = Epoch {
                epoch: 0,
                samples: 0,
                learning_rate: self.state.learning_rate,
                loss: None,
                losses: BTreeMap::new(),
                sigmas: self.sigmas(),
                gradient: None,
                validation: None,
                seconds: 0.0,
                encoded: 0,
                waited: 0.0,
            };
            self.finish_epoch(before)?;
        }
        while self.state.epoch < self.state.config.training.epochs && !self.pace.late {
            if self.epoch()?.is_break() {
                self.save()?;
                return Ok(self.summary(false));
            }
        }
        if self.ranks.is_first() {
            self.save_weights(state::FINAL)?;
            let current = self.folder.join(state::CURRENT);
            if current.exists() {
                std::fs::remove_file(&current).map_err(|source| TrainError::File { path: current, source })?;
            }
        }
        Ok(self.summary(true))
    }

    fn summary(self, finished: bool) -> Summary {
        Summary { epochs: self.state.history, best: self.state.best, finished }
    }

    /// Measures, adapts the learning rate, and writes everything down.
    fn finish_epoch(&mut self, mut epoch: Epoch) -> Result<(), TrainError> {
        // What is measured and kept is the average.
        self.swap_average();
        self.measure(&mut epoch)?;
        let dsc = epoch.validation.as_ref().map(|v| v.dsc);
        self.swap_average();
        // What it began from is no result of the run.
        let trained = epoch.epoch > 0;
        let better = trained && dsc.is_some_and(|dsc| self.state.best.is_none_or(|best| dsc > best));
        if better {
            self.state.best = dsc;
            if self.ranks.is_first() {
                self.save_weights(state::BEST)?;
            }
        }
        let watch = self.state.config.schedule.watch;
        let watched = match watch {
            Watch::Training => epoch.loss,
            Watch::Validation => epoch.validation.as_ref().filter(|_| epoch.epoch > 0).map(|v| v.dsc),
        };
        if let Some(watched) = watched {
            self.state.learning_rate = self.state.plateau.step(watched, self.state.learning_rate);
            self.objective.optimizer.set_learning_rate(self.state.learning_rate);
        }
        // A stop here would be after the epoch; the next step asks again.
        let _ = self.observer.observe(Event::Epoch { epoch: &epoch, best: better });
        self.state.history.push(epoch);
        if !self.ranks.is_first() {
            return Ok(());
        }
        self.save()?;
        let file = |source| TrainError::File { path: self.folder.clone(), source };
        history::write(&self.folder, &self.state.history).map_err(file)?;
        plot::write(&self.folder, &self.state.history).map_err(file)
    }

    /// Validates, where it is time to.
    fn measure(&mut self, epoch: &mut Epoch) -> Result<(), TrainError> {
        let config = &self.state.config;
        if let Some(validator) = &self.validator
            && (epoch.epoch.is_multiple_of(config.validation.every)
                || epoch.epoch == config.training.epochs
                || self.pace.late)
            // There was not even time for what is kept for the last validation.
            && !(self.pace.late && self.pace.deadline.is_some_and(|deadline| Instant::now() > deadline))
        {
            let start = Instant::now();
            // Its batches are of many sizes, each of which would be timed anew.
            cuda::benchmark(self.network.device(), false);
            let (mut done, total) = (0, validator.len().div_ceil(self.ranks.size()));
            let observer = &mut *self.observer;
            let progress = |more| {
                done += more;
                // A measurement is finished once begun.
                let _ = observer.observe(Event::Validating { done, total });
            };
            epoch.validation = Some(validator.run(&mut self.network, config.training.workers, self.ranks, progress)?);
            cuda::benchmark(self.network.device(), cuda::benchmarks(config));
            self.pace.validating = start.elapsed();
        }
        epoch.encoded += self.network.take_encoded();
        Ok(())
    }

    fn swap_average(&mut self) {
        if let Some(average) = &mut self.average {
            average.swap();
        }
    }

    fn sigmas(&self) -> BTreeMap<String, f64> {
        let uncertainty = &self.objective.uncertainty;
        let sigmas = uncertainty.sigmas().map(|t| Vec::<f64>::try_from(t).expect("a list of f64"));
        uncertainty.terms().iter().map(|t| t.name().to_string()).zip(sigmas.unwrap_or_default()).collect()
    }
}
