//! What a run writes besides its metrics.

use std::fs;
use std::io;
use std::path::Path;

use tch::nn;
use umedsam::files::write_atomically;

use super::state;
use super::step::StepLosses;
use super::validate::Validator;
use super::{TrainError, Trainer};
use crate::data::Loader;
use crate::loss::Term;
use crate::model;
use crate::optim::Average;
use crate::store;

impl Trainer<'_> {
    /// Saves the state to go on from, and the weights as they are, which [`FINAL`](state::FINAL) replaces at the end.
    pub(super) fn save(&mut self) -> Result<(), TrainError> {
        if !self.ranks.is_first() {
            return Ok(());
        }
        self.save_weights(state::CURRENT)?;
        self.state.averaged = self.average.as_ref().map_or(0, Average::steps);
        let all = |variables: &nn::VarStore| variables.variables().into_iter().collect();
        self.state.save(
            &self.folder,
            &[
                ("model.", all(&self.network.variables)),
                ("uncertainty.", all(&self.objective.uncertainties)),
                ("optimizer.", self.objective.optimizer.state()),
                ("teacher.", self.network.teacher().map(all).unwrap_or_default()),
                ("average.", self.average.as_ref().map(Average::state).unwrap_or_default()),
            ],
        )
    }

    /// Saves the weights, those of the moving average if there is one.
    pub(super) fn save_weights(&mut self, name: &str) -> Result<(), TrainError> {
        self.swap_average();
        let saved = model::save(&self.network.variables, &self.folder.join(name));
        self.swap_average();
        Ok(saved?)
    }

    /// The folder, the configuration, and which cases were passed over.
    pub(super) fn describe(&self) -> Result<(), TrainError> {
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

    /// Saves the batches that a step of the epoch failed on, counted from 0. They are drawn again: by the time that a loss
    /// is looked at they may be gone.
    pub(super) fn failed(&mut self, step: u64, losses: &StepLosses) -> TrainError {
        let path = self.folder.join(format!("failed-batch-{}.safetensors", self.ranks.rank()));
        if let Err(error) = self.save_batches(&path, step) {
            return error;
        }
        let terms = self.objective.uncertainty.terms().iter().zip(&losses.terms);
        let terms: Vec<String> = terms.map(|(t, v): (&Term, _)| format!("{} {v}", t.name())).collect();
        TrainError::NotFinite {
            epoch: self.state.epoch + 1,
            step: step + 1,
            losses: format!("total {}, gradient {}, {}", losses.total, losses.gradient, terms.join(", ")),
            batch: path,
        }
    }

    fn save_batches(&mut self, path: &Path, step: u64) -> Result<(), TrainError> {
        let mut drawings = self.drawings(self.steps()?.0, step);
        drawings.truncate(self.state.config.training.accumulation);
        let mut tensors = Vec::new();
        let mut names = Vec::new();
        for (staged, i) in Loader::new(&self.task, drawings, 1).zip(0..) {
            let staged = staged?;
            let prepared = self.network.prepare(&staged, self.pace.at_once)?;
            let (kind, input) = prepared.input();
            let batch = &prepared.batch;
            let shapes = batch.shapes.as_ref().map(|shapes| ("shapes", shapes));
            for (name, tensor) in
                [(kind, input), ("boxes", &batch.boxes), ("masks", &batch.masks)].into_iter().chain(shapes)
            {
                tensors.push((format!("{i}.{name}"), tensor.shallow_clone()));
            }
            names.extend(staged.names);
        }
        Ok(store::write(path, &tensors, serde_json::json!({ "samples": names }).to_string())?)
    }
}
