//! The state of a run, saved so that it goes on as if nothing had happened.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use super::TrainError;
use super::history::Epoch;
use super::step::StepLosses;
use crate::config::Config;
use crate::optim::Plateau;
use crate::store;

/// Name of the file in the run's folder.
pub(super) const FILE: &str = "last.safetensors";

/// Weights of the best epoch, and of the last.
pub(super) const BEST: &str = "best.safetensors";
pub(super) const FINAL: &str = "final.safetensors";
/// Weights as of the last save, of a run that has not come to its end.
pub(super) const CURRENT: &str = "current.safetensors";

const FORMAT: u32 = 2;

/// Everything but tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    format: u32,
    pub(super) config: Config,
    pub(super) folders: Folders,
    /// Digest of the training cases.
    pub(super) data: String,
    /// Ranks: what a step sees depends on them.
    pub(super) ranks: usize,
    /// Epochs finished.
    pub(super) epoch: u64,
    /// Steps done in the epoch after these.
    pub(super) step: u64,
    pub(super) sums: Sums,
    pub(super) learning_rate: f64,
    pub(super) plateau: Plateau,
    /// Steps in the moving average.
    pub(super) averaged: u64,
    /// Digest of the validation cases, where there are such.
    pub(super) validation: Option<String>,
    /// Best validation DSC of an epoch so far.
    pub(super) best: Option<f64>,
    pub(super) history: Vec<Epoch>,
}

/// Where the cases are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folders {
    /// Cases to train on.
    pub data: PathBuf,
    /// Cases to validate on.
    pub validation: Option<PathBuf>,
}

/// Sums over the steps of an epoch so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sums {
    pub(super) total: f64,
    pub(super) terms: Vec<f64>,
    pub(super) gradient: f64,
    pub(super) seconds: f64,
    pub(super) encoded: u64,
    #[serde(default)]
    pub(super) waited: f64,
}

impl Sums {
    pub(super) fn add(&mut self, losses: &StepLosses) {
        self.terms.resize(losses.terms.len(), 0.0);
        self.total += losses.total;
        self.gradient += losses.gradient;
        self.terms.iter_mut().zip(&losses.terms).for_each(|(sum, v)| *sum += v);
    }
}

impl State {
    pub(super) fn new(config: &Config, folders: &Folders, data: String, ranks: usize, plateau: Plateau) -> Self {
        Self {
            format: FORMAT,
            config: config.clone(),
            folders: folders.clone(),
            data,
            ranks,
            epoch: 0,
            step: 0,
            sums: Sums::default(),
            learning_rate: config.optimizer.learning_rate,
            plateau,
            best: None,
            validation: None,
            averaged: 0,
            history: Vec::new(),
        }
    }

    /// Writes the state and the tensors under their prefixes.
    pub(super) fn save(&self, folder: &Path, tensors: &[(&str, Vec<(String, Tensor)>)]) -> Result<(), TrainError> {
        let path = folder.join(FILE);
        let text = serde_json::to_string(self)
            .map_err(|e| TrainError::State { path: path.clone(), problem: e.to_string() })?;
        let named = tensors.iter().flat_map(|(prefix, tensors)| {
            tensors.iter().map(move |(name, tensor)| (format!("{prefix}{name}"), tensor.shallow_clone()))
        });
        Ok(store::write(&path, &named.collect::<Vec<_>>(), text)?)
    }

    /// Reads the state and its tensors.
    pub(super) fn read(folder: &Path) -> Result<(Self, HashMap<String, Tensor>), TrainError> {
        let path = folder.join(FILE);
        let (tensors, text) = store::read(&path)?;
        let state: Self = serde_json::from_str(&text)
            .map_err(|e| TrainError::State { path: path.clone(), problem: format!("state: {e}") })?;
        if state.format != FORMAT {
            let problem = format!("format {}; this program knows {FORMAT}", state.format);
            return Err(TrainError::State { path, problem });
        }
        state.config.check()?;
        Ok((state, tensors))
    }
}

/// Fills variables from the tensors under `prefix`; nothing is changed unless all fit.
pub(super) fn fill(
    variables: &nn::VarStore,
    prefix: &str,
    tensors: &HashMap<String, Tensor>,
    folder: &Path,
) -> Result<(), TrainError> {
    let variables = variables.variables();
    let error = |problem| TrainError::State { path: folder.join(FILE), problem };
    for (name, variable) in &variables {
        match tensors.get(&format!("{prefix}{name}")) {
            None => return Err(error(format!("tensor {prefix}{name} is missing"))),
            Some(t) if t.size() != variable.size() => {
                let (found, expected) = (t.size(), variable.size());
                return Err(error(format!("tensor {prefix}{name} has shape {found:?}, {expected:?} expected")));
            }
            Some(_) => {}
        }
    }
    tch::no_grad(|| {
        for (name, mut variable) in variables {
            variable.copy_(&tensors[&format!("{prefix}{name}")]);
        }
    });
    Ok(())
}
