//! A learning rate that is lowered when a metric no longer improves.

use serde::{Deserialize, Serialize};

/// Whether less or more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Less, as with a loss.
    Min,
    /// More, as with a score.
    Max,
}

/// What the threshold is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThresholdMode {
    /// The best so far.
    Rel,
    /// Nothing: it is in the metric's own unit.
    Abs,
}

/// Options of [`Plateau`]. The defaults are PyTorch's, but for the paper's factor and patience (PyTorch: 0.1 and 10).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PlateauOptions {
    /// Whether less or more is better.
    pub mode: Mode,
    /// What the learning rate is multiplied with, in 0..1.
    pub factor: f64,
    /// How many metrics in a row may be no better before the next such one lowers the learning rate.
    pub patience: u32,
    /// By how much a metric must be better than the best to count.
    pub threshold: f64,
    /// What the threshold is a part of.
    pub threshold_mode: ThresholdMode,
    /// For how many metrics nothing is counted after the learning rate was lowered.
    pub cooldown: u32,
    /// Least learning rate.
    pub min_lr: f64,
    /// A change of the learning rate that is not greater than this is left out.
    pub eps: f64,
}

impl Default for PlateauOptions {
    fn default() -> Self {
        Self {
            mode: Mode::Min,
            factor: 0.9,
            patience: 5,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
        }
    }
}

/// `torch.optim.lr_scheduler.ReduceLROnPlateau`: options and, for checkpoints, where it stands.
///
/// Ours is only that the learning rate is the caller's. A metric that is NaN is no better than any other, as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plateau {
    /// The options.
    pub options: PlateauOptions,
    /// Best metric so far; at first the infinity that is the worst.
    #[serde(with = "exact")]
    best: f64,
    /// Metrics in a row that were no better.
    bad: u32,
    /// Metrics for which nothing is counted.
    cooldown: u32,
}

impl Plateau {
    /// A schedule that has seen no metric.
    pub fn new(options: PlateauOptions) -> Self {
        let best = match options.mode {
            Mode::Min => f64::INFINITY,
            Mode::Max => f64::NEG_INFINITY,
        };
        Self { options, best, bad: 0, cooldown: 0 }
    }

    /// The learning rate after a metric, usually an epoch's, given the one before.
    pub fn step(&mut self, metric: f64, learning_rate: f64) -> f64 {
        if self.is_better(metric) {
            self.best = metric;
            self.bad = 0;
        } else {
            self.bad += 1;
        }
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.bad = 0;
        }
        if self.bad <= self.options.patience {
            return learning_rate;
        }
        self.cooldown = self.options.cooldown;
        self.bad = 0;
        let lowered = (learning_rate * self.options.factor).max(self.options.min_lr);
        if learning_rate - lowered > self.options.eps { lowered } else { learning_rate }
    }

    fn is_better(&self, metric: f64) -> bool {
        let PlateauOptions { mode, threshold, threshold_mode, .. } = self.options;
        match (mode, threshold_mode) {
            (Mode::Min, ThresholdMode::Rel) => metric < self.best * (1.0 - threshold),
            (Mode::Min, ThresholdMode::Abs) => metric < self.best - threshold,
            (Mode::Max, ThresholdMode::Rel) => metric > self.best * (threshold + 1.0),
            (Mode::Max, ThresholdMode::Abs) => metric > self.best + threshold,
        }
    }
}

/// A number as text: JSON has no infinity, and not every reader of its numbers gets the last bit right.
mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
