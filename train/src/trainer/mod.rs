//! A training run, from the first look at the cases to the last epoch.
//!
//! A run has a folder: `config.toml` (all of it, resolved), `last.safetensors` (the state to go on from),
//! `best.safetensors` and `final.safetensors` (weights with the published names), `metrics.jsonl`, `metrics.csv`,
//! `curves.svg`, `skipped.txt`. Every file is whole at any time.

mod error;
mod history;
mod network;
mod observer;
mod plot;
mod state;
mod step;
mod validate;

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub use error::TrainError;
pub use history::{Epoch, Validation};
use network::{Network, Prepared};
pub use observer::{Event, Observer, Progress};
pub use state::Folders;
use state::State;
use step::{NoStep, Objective, StepLosses};
use tch::{Device, nn};
use umedsam::files::write_atomically;
use validate::Validator;

use crate::config::{Config, Watch};
use crate::data::{Dataset, Drawing, Loader, Sample, Task, plan};
use crate::loss::Term;
use crate::model::{self, LiteMedSam};
use crate::optim::{Mode, Plateau, PlateauOptions};
use crate::ranks::Ranks;
use crate::store;

/// A run between two steps.
pub struct Trainer<'a> {
    folder: PathBuf,
    state: State,
    ranks: &'a Ranks,
    observer: &'a mut dyn Observer,
    network: Network,
    objective: Objective,
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
    /// A new run from `weights` (the published names, as `umedsam-export checkpoint` writes them) in `folder`.
    ///
    /// # Errors
    /// [`TrainError`], which names what cannot be used; `folder` is not made then.
    pub fn start(
        config: &Config,
        folders: &Folders,
        weights: &Path,
        folder: &Path,
        device: Device,
        ranks: &'a Ranks,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, TrainError> {
        config.check()?;
        if folder.join(state::FILE).exists() {
            return Err(TrainError::Exists { folder: folder.into() });
        }
        let (variables, network) = blank(device);
        model::load(&variables, weights)?;
        let mut network = Network::new(variables, network, &config.model, &config.cache)?;
        let cases = read(config, &folders.data, observer)?;
        let plateau = plateau(config);
        let state = State::new(config, folders, cases.digest(), ranks.size(), plateau);
        let objective = Objective::new(config, &network)?;
        let validator = validator(config, folders, &mut network, observer)?;
        let task = task(config, cases, &network);
        let trainer = Self { folder: folder.into(), state, ranks, observer, network, objective, task, validator };
        trainer.steps()?;
        if trainer.ranks.is_first() {
            trainer.describe()?;
        }
        Ok(trainer)
    }

    /// Goes on with the run in `folder`. Its own configuration counts; `epochs` may set another end.
    ///
    /// # Errors
    /// [`TrainError`] if there is no run, its state is damaged, or the cases are no longer those that it began with.
    pub fn resume(
        folder: &Path,
        epochs: Option<u64>,
        device: Device,
        ranks: &'a Ranks,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let path = folder.join(state::FILE);
        let (mut state, tensors) = State::read(folder)?;
        if let Some(epochs) = epochs {
            state.config.training.epochs = epochs;
        }
        let config = state.config.clone();
        let fits = |problem: String| TrainError::State { path: path.clone(), problem };
        if state.ranks != ranks.size() {
            return Err(fits(format!("a run of {} ranks, not of {}", state.ranks, ranks.size())));
        }
        let (variables, network) = blank(device);
        state::fill(&variables, "model.", &tensors, folder)?;
        let mut network = Network::new(variables, network, &config.model, &config.cache)?;
        let cases = read(&config, &state.folders.data, observer)?;
        if cases.digest() != state.data {
            return Err(fits(format!("the cases in {} are not those it began with", state.folders.data.display())));
        }
        let mut objective = Objective::new(&config, &network)?;
        state::fill(&objective.uncertainties, "uncertainty.", &tensors, folder)?;
        let own = |(name, tensor): (&String, &tch::Tensor)| {
            name.strip_prefix("optimizer.").map(|name| (name.to_string(), tensor.shallow_clone()))
        };
        let optimizer = tensors.iter().filter_map(own).collect();
        objective
            .optimizer
            .restore(&optimizer)
            .map_err(|source| TrainError::Optimizer { path: path.clone(), source })?;
        objective.optimizer.set_learning_rate(state.learning_rate);
        let validator = validator(&config, &state.folders.clone(), &mut network, observer)?;
        let task = task(&config, cases, &network);
        Ok(Self { folder: folder.into(), state, ranks, observer, network, objective, task, validator })
    }

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
                losses: Default::default(),
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
            model::save(&self.network.variables, &self.folder.join("final.safetensors"))?;
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
        let config = self.state.config.clone();
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
        let watched = match config.schedule.watch {
            Watch::Training => epoch.loss,
            Watch::Validation => epoch.validation.as_ref().filter(|_| epoch.epoch > 0).map(|v| v.dsc),
        };
        if let Some(watched) = watched {
            self.state.learning_rate = self.state.plateau.step(watched, self.state.learning_rate);
            self.objective.optimizer.set_learning_rate(self.state.learning_rate);
        }
        let dsc = epoch.validation.as_ref().map(|v| v.dsc);
        let better = dsc.is_some_and(|dsc| self.state.best.is_none_or(|best| dsc > best));
        if better {
            self.state.best = dsc;
        }
        // A stop here would be after the epoch; the next step asks again.
        let _ = self.observer.observe(Event::Epoch { epoch: &epoch, best: better });
        self.state.history.push(epoch);
        if !self.ranks.is_first() {
            return Ok(());
        }
        if better {
            model::save(&self.network.variables, &self.folder.join("best.safetensors"))?;
        }
        self.save()?;
        let file = |source| TrainError::File { path: self.folder.clone(), source };
        history::write(&self.folder, &self.state.history).map_err(file)?;
        plot::write(&self.folder, &self.state.history).map_err(file)
    }

    fn sigmas(&self) -> std::collections::BTreeMap<String, f64> {
        let uncertainty = &self.objective.uncertainty;
        uncertainty.terms().iter().map(|t| t.name().to_string()).zip(uncertainty.sigmas()).collect()
    }

    fn save(&self) -> Result<(), TrainError> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        let all = |variables: &nn::VarStore| variables.variables().into_iter().collect();
        self.state.save(
            &self.folder,
            &[
                ("model.", all(&self.network.variables)),
                ("uncertainty.", all(&self.objective.uncertainties)),
                ("optimizer.", self.objective.optimizer.state()),
            ],
        )
    }

    /// The folder, the configuration, and which cases were passed over.
    fn describe(&self) -> Result<(), TrainError> {
        let file = |path: &Path| {
            let path = path.to_path_buf();
            move |source: io::Error| TrainError::File { path, source }
        };
        fs::create_dir_all(&self.folder).map_err(file(&self.folder))?;
        let text = toml::to_string_pretty(&self.state.config)
            .map_err(|e| file(&self.folder)(io::Error::other(e.to_string())))?;
        let path = self.folder.join("config.toml");
        write_atomically(&path, |out| out.write_all(text.as_bytes())).map_err(file(&path))?;
        let cases = [Some(&self.task.dataset), self.validator.as_ref().map(Validator::dataset)];
        let skipped = cases.into_iter().flatten().flat_map(|cases| cases.skipped());
        let text: String = skipped.map(|s| format!("{}: {}\n", s.path.display(), s.problem)).collect();
        let path = self.folder.join("skipped.txt");
        write_atomically(&path, |out| out.write_all(text.as_bytes())).map_err(file(&path))
    }

    /// Saves the batches that a step failed on.
    fn failed(&self, batches: &[Prepared], losses: &StepLosses) -> TrainError {
        let path = self.folder.join(format!("failed-batch-{}.safetensors", self.ranks.rank()));
        let mut tensors = Vec::new();
        let mut names = Vec::new();
        for (i, prepared) in batches.iter().enumerate() {
            let (kind, input) = prepared.input();
            let batch = &prepared.batch;
            let shapes = batch.shapes.as_ref().map(|shapes| ("shapes", shapes));
            for (name, tensor) in
                [(kind, input), ("boxes", &batch.boxes), ("masks", &batch.masks)].into_iter().chain(shapes)
            {
                tensors.push((format!("{i}.{name}"), tensor.shallow_clone()));
            }
            names.extend(batch.names.iter().cloned());
        }
        let text = serde_json::json!({ "samples": names }).to_string();
        if let Err(error) = store::write(&path, &tensors, text) {
            return error.into();
        }
        let terms = self.objective.uncertainty.terms().iter().zip(&losses.terms);
        let terms: Vec<String> = terms.map(|(t, v): (&Term, _)| format!("{} {v}", t.name())).collect();
        TrainError::NotFinite {
            epoch: self.state.epoch + 1,
            step: self.state.step + 1,
            losses: format!("total {}, gradient {}, {}", losses.total, losses.gradient, terms.join(", ")),
            batch: path,
        }
    }
}

/// A network on the device, its weights to be filled.
fn blank(device: Device) -> (nn::VarStore, LiteMedSam) {
    let variables = nn::VarStore::new(device);
    let network = LiteMedSam::new(&variables.root());
    (variables, network)
}

fn plateau(config: &Config) -> Plateau {
    let schedule = &config.schedule;
    Plateau::new(PlateauOptions {
        mode: match schedule.watch {
            Watch::Training => Mode::Min,
            Watch::Validation => Mode::Max,
        },
        factor: schedule.factor,
        patience: schedule.patience,
        cooldown: schedule.cooldown,
        min_lr: schedule.min_learning_rate,
        ..PlateauOptions::default()
    })
}

/// The cases of a folder; those that cannot be used are told.
fn read(config: &Config, folder: &Path, observer: &mut dyn Observer) -> Result<Arc<Dataset>, TrainError> {
    let shared = Mutex::new(&mut *observer);
    let progress = |done, total| {
        let mut observer = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = observer.observe(Event::Reading { done, total });
    };
    let dataset = Dataset::read(folder, &config.data, progress)?;
    let _ = observer.observe(Event::Cases { folder, cases: dataset.entries().len(), skipped: dataset.skipped() });
    Ok(Arc::new(dataset))
}

fn validator(
    config: &Config,
    folders: &Folders,
    network: &mut Network,
    observer: &mut dyn Observer,
) -> Result<Option<Validator>, TrainError> {
    let Some(folder) = &folders.validation else { return Ok(None) };
    let cases = read(config, folder, observer)?;
    Ok(Some(Validator::new(&cases, &config.validation, network)))
}

fn task(config: &Config, dataset: Arc<Dataset>, network: &Network) -> Task {
    let shape = config.loss.terms.contains(&Term::ShapeDistance);
    Task { dataset, cache: network.cache.clone(), min_area: config.data.min_area, shape }
}
