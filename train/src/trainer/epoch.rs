//! The steps of an epoch.

use std::ops::ControlFlow;
use std::time::Instant;

use tch::Tensor;

use super::observer::{Event, Progress};
use super::step::{Measured, NoStep};
use super::{Epoch, TrainError, Trainer};
use crate::data::{Drawing, Loader, Staged, plan};
use crate::memory;
use crate::torch;

/// Steps whose losses nobody has looked at.
struct UnderWay {
    found: Vec<Measured>,
    /// Since when they are under way.
    start: Instant,
    /// Of it, how long samples were waited for, in seconds.
    waited: f64,
}

impl UnderWay {
    fn new() -> Self {
        Self { found: Vec::new(), start: Instant::now(), waited: 0.0 }
    }
}

impl Trainer<'_> {
    /// Samples of a step on all ranks, and steps of an epoch; what is over is left out, and drawn in another epoch.
    pub(super) fn steps(&self) -> Result<(usize, u64), TrainError> {
        let training = &self.state.config.training;
        let step = training.batch * training.accumulation * self.ranks.size();
        let samples = self.plan().len();
        let steps = samples / step;
        if steps == 0 && training.epochs > 0 {
            return Err(TrainError::TooFewSamples { samples, step });
        }
        Ok((step, steps as u64))
    }

    fn plan(&self) -> Vec<usize> {
        let config = &self.state.config;
        plan(self.task.dataset.entries(), &config.data, config.training.seed, self.state.epoch)
    }

    /// The batches of this rank from a step of the epoch on, counted from 0; `step` is the number of its samples.
    pub(super) fn drawings(&self, step: usize, from: u64) -> Vec<Vec<Drawing>> {
        let config = &self.state.config;
        let own = step / self.ranks.size();
        let (seed, epoch) = (config.training.seed, self.state.epoch);
        let plan = self.plan();
        let steps = plan.chunks_exact(step).zip(0u64..).skip(from as usize);
        let first = own * self.ranks.rank();
        let drawings: Vec<Drawing> = steps
            .flat_map(|(cases, number)| {
                let positions = number * step as u64 + first as u64..;
                cases[first..first + own].iter().zip(positions).map(|(&entry, position)| {
                    Drawing::random(&self.task.dataset, entry, &config.data, seed, epoch, position)
                })
            })
            .collect();
        drawings.chunks(config.training.batch).map(<[Drawing]>::to_vec).collect()
    }

    /// The rest of the epoch, or what of it there is time for.
    pub(super) fn epoch(&mut self) -> Result<ControlFlow<()>, TrainError> {
        let training = self.state.config.training;
        let (step_samples, steps) = self.steps()?;
        // Ranks tell each other their losses in every step.
        let together = if self.ranks.size() > 1 { 1 } else { self.network.engine().read_every };
        let saved_every = training.checkpoint_steps;
        let mut loader = Loader::new(&self.task, self.drawings(step_samples, self.state.step), training.workers);
        let mut under_way = UnderWay::new();
        while self.state.step < steps && !self.pace.late {
            let waiting = Instant::now();
            let staged: Vec<Staged> = loader.by_ref().take(training.accumulation).collect::<Result<_, _>>()?;
            under_way.waited += waiting.elapsed().as_secs_f64();
            let rate = self.state.learning_rate * self.rate(steps);
            self.objective.optimizer.set_learning_rate(rate);
            under_way.found.push(self.step(&staged)?);
            if let Some(average) = &mut self.average {
                average.update();
            }
            self.state.step += 1;
            self.pace.late = self.is_late()?;
            let save = saved_every > 0 && self.state.step.is_multiple_of(saved_every) && self.state.step < steps;
            let last = self.state.step == steps || self.pace.late;
            if !last && !save && (under_way.found.len() as u64) < together {
                continue;
            }
            let stop = self.read(std::mem::replace(&mut under_way, UnderWay::new()), steps)?;
            if self.ranks.any(stop.is_break())? {
                return Ok(ControlFlow::Break(()));
            }
            if save && !self.pace.late {
                self.save()?;
            }
            under_way.start = Instant::now();
        }
        let sums = std::mem::take(&mut self.state.sums);
        let mean = |sum: f64| sum / self.state.step as f64;
        let names = self.objective.uncertainty.terms().iter().map(|t| t.name().to_string());
        let finished = Epoch {
            epoch: self.state.epoch + 1,
            samples: self.state.step * step_samples as u64,
            learning_rate: self.objective.optimizer.learning_rate(),
            loss: Some(mean(sums.total)),
            losses: names.zip(sums.terms.iter().map(|&v| mean(v))).collect(),
            sigmas: self.sigmas(),
            gradient: Some(mean(sums.gradient)),
            validation: None,
            seconds: sums.seconds,
            encoded: sums.encoded,
            waited: sums.waited,
        };
        (self.state.epoch, self.state.step) = (self.state.epoch + 1, 0);
        self.finish_epoch(finished)?;
        Ok(ControlFlow::Continue(()))
    }

    /// What the learning rate of the next step is multiplied with: warm-up and fall.
    fn rate(&self, steps: u64) -> f64 {
        let (schedule, training) = (&self.state.config.schedule, &self.state.config.training);
        let done = self.state.epoch * steps + self.state.step;
        let over = (done as f64 / (training.epochs * steps) as f64).max(self.pace.over());
        schedule.rate(done, over)
    }

    /// Whether the time is over, on any rank.
    fn is_late(&self) -> Result<bool, TrainError> {
        let Some(deadline) = self.pace.deadline else { return Ok(false) };
        Ok(self.ranks.any(Instant::now() + self.pace.validating >= deadline)?)
    }

    /// One step, with as many samples at once as there is memory for.
    fn step(&mut self, staged: &[Staged]) -> Result<Measured, TrainError> {
        loop {
            let statistics = self.network.statistics();
            let before: Vec<Tensor> = statistics.iter().map(Tensor::copy).collect();
            let (network, objective) = (&mut self.network, &mut self.objective);
            let (at_once, ranks) = (self.pace.at_once, self.ranks);
            let tried = memory::attempt(|| {
                let batches = staged.iter().map(|s| network.prepare(s, at_once)).collect::<Result<Vec<_>, _>>()?;
                Ok::<_, TrainError>(objective.step(network, &batches, at_once, ranks))
            });
            let shortage = match tried {
                Ok(done) => {
                    return match done? {
                        Ok(measured) => Ok(measured),
                        Err(NoStep::Ranks(error)) => Err(error.into()),
                        Err(NoStep::NotFinite(losses)) => Err(self.failed(self.state.step, &losses)),
                        Err(NoStep::NoGradient(names)) => Err(TrainError::NothingReached { names }),
                    };
                }
                Err(shortage) => shortage,
            };
            // Ranks in different places of a step cannot find together again.
            if at_once == 1 || self.ranks.size() > 1 {
                return Err(TrainError::Memory { shortage, at_once });
            }
            tch::no_grad(|| {
                for (mut statistic, before) in statistics.into_iter().zip(&before) {
                    statistic.copy_(before);
                }
            });
            self.objective.optimizer.zero_grad();
            if self.network.device().is_cuda() {
                torch::free_cached_memory().map_err(|_| TrainError::Memory { shortage: shortage.clone(), at_once })?;
            }
            self.pace.at_once = at_once.div_ceil(2);
            // A stop is asked for after the step.
            let _ = self.observer.observe(Event::Smaller { shortage: &shortage, at_once: self.pace.at_once });
        }
    }

    /// Looks at the steps under way, and tells of them.
    fn read(&mut self, under_way: UnderWay, steps: u64) -> Result<ControlFlow<()>, TrainError> {
        let UnderWay { found, start, waited } = under_way;
        let training = self.state.config.training;
        let step_samples = training.batch * training.accumulation * self.ranks.size();
        let first = self.state.step - found.len() as u64;
        let mut read = Vec::with_capacity(found.len());
        for (measured, step) in found.into_iter().zip(first..) {
            let (losses, sigmas) = self.objective.read(measured, self.ranks)?;
            if !losses.is_finite() {
                return Err(self.failed(step, &losses));
            }
            read.push((losses, sigmas));
        }
        self.state.sums.seconds += start.elapsed().as_secs_f64();
        self.state.sums.waited += waited;
        self.state.sums.encoded += self.network.take_encoded();
        let mut stop = ControlFlow::Continue(());
        for ((losses, sigmas), step) in read.into_iter().zip(first + 1..) {
            self.state.sums.add(&losses);
            let progress = Progress {
                epoch: self.state.epoch + 1,
                epochs: training.epochs,
                step,
                steps,
                loss: losses.total,
                losses: self.objective.uncertainty.terms().iter().map(|t| t.name()).zip(losses.terms).collect(),
                sigmas,
                samples_per_second: (step_samples as u64 * self.state.step) as f64 / self.state.sums.seconds,
            };
            if self.observer.observe(Event::Step(&progress)).is_break() {
                stop = ControlFlow::Break(());
            }
        }
        Ok(stop)
    }
}
