//! Steps in turns: the trainer's, then the worker's.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde::Serialize;
use tch::{Cuda, Device};
use umedsam_benches::python::scripts;
use umedsam_benches::worker::Worker;
use umedsam_train::ranks::Ranks;
use umedsam_train::trainer::{Event, Folders, Observer, Trainer};

use crate::Arguments;
use crate::cases::Cases;
use crate::setting::{Setting, Trained};

/// Steps before those that count: memory is allocated, kernels are chosen, the loader gets ahead.
const WARM_UP: usize = 1;

/// Both sides of a setting.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) trained: &'static str,
    pub(crate) sharp_min: bool,
    pub(crate) ours: Times,
    pub(crate) pytorch: Times,
    /// Difference of the losses in the first step, and the greatest of all steps.
    pub(crate) apart: [f64; 2],
}

/// Milliseconds of each step.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    pub(crate) fn minimum(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[middle - 1], sorted[middle]) } else { sorted[middle] }
    }
}

/// A step's time in milliseconds and the loss it began with.
type Step = (f64, f64);

/// Runs a setting on both sides; the row, and the version of PyTorch.
pub(crate) fn compare(
    setting: &Setting,
    cases: &Cases,
    arguments: &Arguments,
    rounds: usize,
    device: Device,
    python: &Path,
) -> anyhow::Result<(Row, String)> {
    let name = setting.to_string().replace([',', ' '], "-");
    let steps = WARM_UP + rounds;
    let cache = cases.beside("embeddings");
    let config = |samples| setting.config(samples, arguments.batch, &cache);
    let run = |samples: usize, name: &str, observer: &mut dyn Observer| -> anyhow::Result<()> {
        let folders = Folders { data: cases.folder(), validation: None };
        let ranks = Ranks::alone();
        let folder = cases.beside(name);
        Trainer::start(&config(samples)?, &folders, &arguments.weights, &folder, device, &ranks, observer)?.run()?;
        Ok(())
    };
    if setting.trained == Trained::Cached {
        // Each case once: from then on all embeddings are on the disk.
        run(2 * arguments.batch, &format!("{name}-fill"), &mut ())?;
    }
    let batches = cases.write_batches(&config(steps * arguments.batch)?, &format!("{name}-batches"))?;
    let threads = arguments.threads.to_string();
    let mut command = Command::new(python);
    // Threads that wait in a loop would take the time of the other side.
    command.env("OMP_NUM_THREADS", &threads).env("OMP_WAIT_POLICY", "PASSIVE");
    command.arg(scripts().join("training.py")).arg(&batches);
    let sharpness = if setting.sharp_min { "sam" } else { "off" };
    let place = match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".into(),
    };
    command.args([setting.trained.word(), sharpness, &place, &threads]);
    let mut pytorch = Worker::start("PyTorch", &mut command)?;
    let version = pytorch.ask("version")?;

    let mut turns = Turns { device, pytorch, last: Instant::now(), steps: Vec::new(), failure: None };
    run(steps * arguments.batch, &name, &mut turns)?;
    if let Some(failure) = turns.failure {
        return Err(failure);
    }
    let steps = turns.steps;
    ensure!(steps.len() == WARM_UP + rounds, "{} steps", steps.len());
    let apart: Vec<f64> = steps.iter().map(|(ours, theirs)| (ours.1 - theirs.1).abs()).collect();
    ensure!(
        apart[0] < 1e-4,
        "the first step's losses are {} and {}: the two sides do not do the same",
        steps[0].0.1,
        steps[0].1.1
    );
    let counted = &steps[WARM_UP..];
    let row = Row {
        trained: setting.trained.name(),
        sharp_min: setting.sharp_min,
        ours: Times(counted.iter().map(|(ours, _)| ours.0).collect()),
        pytorch: Times(counted.iter().map(|(_, theirs)| theirs.0).collect()),
        apart: [apart[0], apart.iter().copied().fold(0.0, f64::max)],
    };
    Ok((row, version))
}

/// Stops the clock after each of our steps and gives the worker its turn.
struct Turns {
    device: Device,
    pytorch: Worker,
    /// When our step began.
    last: Instant,
    steps: Vec<(Step, Step)>,
    /// What ended the run.
    failure: Option<anyhow::Error>,
}

impl Turns {
    fn turn(&mut self, loss: f64) -> anyhow::Result<()> {
        if let Device::Cuda(index) = self.device {
            // The optimizer's part is still under way.
            Cuda::synchronize(index as i64);
        }
        let ours = self.last.elapsed().as_secs_f64() * 1e3;
        let answer = self.pytorch.ask("step")?;
        let theirs = answer.split_once(' ').and_then(|(ms, loss)| Some((ms.parse().ok()?, loss.parse().ok()?)));
        let theirs = theirs.with_context(|| format!("'{answer}' is not a time and a loss"))?;
        self.steps.push(((ours, loss), theirs));
        self.last = Instant::now();
        Ok(())
    }
}

impl Observer for Turns {
    fn observe(&mut self, event: Event<'_>) -> ControlFlow<()> {
        if let Event::Step(progress) = event
            && let Err(failure) = self.turn(progress.loss)
        {
            self.failure = Some(failure);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!((Times(vec![3.0, 1.0, 2.0]).median(), Times(vec![4.0, 1.0, 2.0, 9.0]).median()), (2.0, 3.0));
        assert_eq!(Times(vec![3.0, 1.0, 2.0]).minimum(), 1.0);
    }
}
