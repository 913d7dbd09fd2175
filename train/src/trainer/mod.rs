//! A training run, from the first look at the cases to the last epoch.
//!
//! A run has a folder: `config.toml` (all of it, resolved), `last.safetensors` (the state to go on from),
//! `best.safetensors` and `final.safetensors` (weights with the published names), `metrics.jsonl`, `metrics.csv`,
//! `curves.svg`, `skipped.txt`. Every file is whole at any time.

mod begin;
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
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

pub use begin::Origin;
pub use error::TrainError;
pub use history::{Epoch, Validation};
use network::Network;
pub use observer::{Event, Observer, Progress};
pub use state::Folders;
use state::State;
use step::{NoStep, Objective};
use validate::Validator;

use crate::config::Watch;
use crate::data::{Drawing, Loader, Sample, Task, plan};
use crate::model;
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
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Every epoch, the state before training first.
    pub epochs: Vec<Epoch>,
    /// Best validation DSC, 0 to 1.
    pub best: Option<f64>,
    /// Whether all epochs were done; if not, the run was stopped, and can be resumed.
    pub finished: bool,
}

impl<'a> Trainer<'a> {
    /// Trains until the last epoch, or until the observer says stop.
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
            };
            self.finish_epoch(before)?;
        }
        while self.state.epoch < self.state.config.training.epochs {
            if self.epoch()?.is_break() {
                self.save()?;
                return Ok(self.summary(false));
            }
        }
        if self.ranks.is_first() {
            self.swap_average();
            model::save(&self.network.variables, &self.folder.join(state::FINAL))?;
        }
        Ok(self.summary(true))
    }

    fn summary(self, finished: bool) -> Summary {
        Summary { epochs: self.state.history, best: self.state.best, finished }
    }

    /// Samples of a step on all ranks, and steps of an epoch; what is over is left out, and drawn in another epoch.
    fn steps(&self) -> Result<(usize, u64), TrainError> {
        let training = &self.state.config.training;
        let step = training.batch * training.accumulation * self.ranks.size();
        let samples = self.plan(0).len();
        let steps = samples / step;
        if steps == 0 && training.epochs > 0 {
            return Err(TrainError::TooFewSamples { samples, step });
        }
        Ok((step, steps as u64))
    }

    fn plan(&self, epoch: u64) -> Vec<usize> {
        let config = &self.state.config;
        plan(self.task.dataset.entries(), &config.data, config.training.seed, epoch)
    }

    /// What this rank draws in the rest of the epoch.
    fn drawings(&self, step: usize) -> Vec<Drawing> {
        let config = &self.state.config;
        let own = step / self.ranks.size();
        let (seed, epoch) = (config.training.seed, self.state.epoch);
        let plan = self.plan(epoch);
        let steps = plan.chunks_exact(step).zip(0u64..).skip(self.state.step as usize);
        let first = own * self.ranks.rank();
        steps
            .flat_map(|(cases, number)| {
                let positions = number * step as u64 + first as u64..;
                cases[first..first + own].iter().zip(positions).map(|(&entry, position)| {
                    Drawing::random(&self.task.dataset, entry, &config.data, seed, epoch, position)
                })
            })
            .collect()
    }

    /// The rest of the epoch.
    fn epoch(&mut self) -> Result<ControlFlow<()>, TrainError> {
        let training = self.state.config.training;
        let (step_samples, steps) = self.steps()?;
        let mut loader = Loader::new(&self.task, self.drawings(step_samples), training.workers);
        while self.state.step < steps {
            let start = Instant::now();
            let mut batches = Vec::with_capacity(training.accumulation);
            for _ in 0..training.accumulation {
                let samples: Vec<Sample> = loader.by_ref().take(training.batch).collect::<Result<_, _>>()?;
                batches.push(self.network.prepare(&samples)?);
            }
            let losses = match self.objective.step(&self.network, &batches, self.ranks) {
                Ok(losses) => losses,
                Err(NoStep::Ranks(error)) => return Err(error.into()),
                Err(NoStep::NotFinite(losses)) => return Err(self.failed(&batches, &losses)),
                Err(NoStep::NoGradient) => {
                    return Err(TrainError::NothingTrained { names: self.state.config.model.trained.clone() });
                }
            };
            if let Some(average) = &mut self.average {
                average.update();
            }
            let state = &mut self.state;
            state.step += 1;
            state.sums.add(&losses);
            state.sums.seconds += start.elapsed().as_secs_f64();
            state.sums.encoded += self.network.take_encoded();
            let progress = Progress {
                epoch: state.epoch + 1,
                epochs: training.epochs,
                step: state.step,
                steps,
                loss: losses.total,
                losses: self.objective.uncertainty.terms().iter().map(|t| t.name()).zip(losses.terms).collect(),
                sigmas: self.objective.uncertainty.sigmas(),
                samples_per_second: (step_samples as u64 * state.step) as f64 / state.sums.seconds,
            };
            let stop = self.observer.observe(Event::Step(&progress)).is_break();
            if self.ranks.any(stop)? {
                return Ok(ControlFlow::Break(()));
            }
            let saved_every = training.checkpoint_steps;
            if saved_every > 0 && self.state.step.is_multiple_of(saved_every) && self.state.step < steps {
                self.save()?;
            }
        }
        let sums = std::mem::take(&mut self.state.sums);
        let mean = |sum: f64| sum / steps as f64;
        let names = self.objective.uncertainty.terms().iter().map(|t| t.name().to_string());
        let finished = Epoch {
            epoch: self.state.epoch + 1,
            samples: steps * step_samples as u64,
            learning_rate: self.state.learning_rate,
            loss: Some(mean(sums.total)),
            losses: names.zip(sums.terms.iter().map(|&v| mean(v))).collect(),
            sigmas: self.sigmas(),
            gradient: Some(mean(sums.gradient)),
            validation: None,
            seconds: sums.seconds,
            encoded: sums.encoded,
        };
        (self.state.epoch, self.state.step) = (self.state.epoch + 1, 0);
        self.finish_epoch(finished)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Measures, adapts the learning rate, and writes everything down.
    fn finish_epoch(&mut self, mut epoch: Epoch) -> Result<(), TrainError> {
        // What is measured and kept is the average.
        self.swap_average();
        self.measure(&mut epoch)?;
        let dsc = epoch.validation.as_ref().map(|v| v.dsc);
        let better = dsc.is_some_and(|dsc| self.state.best.is_none_or(|best| dsc > best));
        if better && self.ranks.is_first() {
            model::save(&self.network.variables, &self.folder.join(state::BEST))?;
        }
        self.swap_average();
        if better {
            self.state.best = dsc;
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
            && (epoch.epoch.is_multiple_of(config.validation.every) || epoch.epoch == config.training.epochs)
        {
            let (mut done, total) = (0, validator.len().div_ceil(self.ranks.size()));
            let observer = &mut *self.observer;
            let progress = |more| {
                done += more;
                // A measurement is finished once begun.
                let _ = observer.observe(Event::Validating { done, total });
            };
            epoch.validation = Some(validator.run(&mut self.network, config.training.workers, self.ranks, progress)?);
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
        uncertainty.terms().iter().map(|t| t.name().to_string()).zip(uncertainty.sigmas()).collect()
    }
}
