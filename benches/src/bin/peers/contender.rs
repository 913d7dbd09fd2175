//! Who takes part, and how each is started.

use std::path::Path;

use anyhow::{Context, ensure};
use umedsam_benches::cores::pinned;
use umedsam_benches::python::scripts;
use umedsam_benches::worker::Worker;

/// A runtime in one precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    /// Its name.
    pub(crate) runtime: &'static str,
    /// What it computes in.
    pub(crate) precision: &'static str,
}

const fn contender(runtime: &'static str, precision: &'static str) -> Contender {
    Contender { runtime, precision }
}

/// What all others are compared with.
pub(crate) const BASE: Contender = contender("onnxruntime", "f32");

/// All of them. `int8` of OpenVINO computes in f32 what is not quantized, `int8+bf16` in bf16.
pub(crate) const ALL: [Contender; 9] = [
    contender("umedsam", "f32"),
    contender("umedsam", "bf16"),
    contender("umedsam", "int8"),
    contender("tract", "f32"),
    BASE,
    contender("openvino", "f32"),
    contender("openvino", "bf16"),
    contender("openvino", "int8"),
    contender("openvino", "int8+bf16"),
];

/// What a worker needs to start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Folder of graphs and inputs.
    pub(crate) folder: &'a Path,
    /// The Python that has the other runtimes.
    pub(crate) python: Option<&'a Path>,
    /// Our model, if not the built-in one.
    pub(crate) model: Option<&'a Path>,
}

impl Contender {
    /// Those that `only` names (all if it names none), as far as they can run.
    pub(crate) fn chosen(only: &[String], python: bool) -> anyhow::Result<Vec<Self>> {
        for name in only {
            ensure!(ALL.iter().any(|c| c.is_called(name)), "--only {name}: none of {}", names());
        }
        let wanted = |c: &Self| only.is_empty() || only.iter().any(|name| c.is_called(name));
        let chosen: Vec<Self> = ALL.into_iter().filter(|c| wanted(c) && (python || !c.needs_python())).collect();
        ensure!(!chosen.is_empty(), "nothing to measure");
        Ok(chosen)
    }

    /// Its name in tables.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.runtime, self.precision)
    }

    /// Whether it is this project's own.
    pub(crate) fn is_ours(&self) -> bool {
        self.runtime == "umedsam"
    }

    /// Whether the 8-bit model must be made for it.
    pub(crate) fn is_quantized_openvino(&self) -> bool {
        self.runtime == "openvino" && self.precision.starts_with("int8")
    }

    fn is_called(&self, name: &str) -> bool {
        name == self.runtime || name.split_once('/') == Some((self.runtime, self.precision))
    }

    fn needs_python(&self) -> bool {
        matches!(self.runtime, "onnxruntime" | "openvino")
    }

    /// Starts a worker on its own cores.
    pub(crate) fn start(&self, place: &Place<'_>, threads: usize) -> anyhow::Result<Worker> {
        let mut command = if self.needs_python() {
            let mut command = pinned(place.python.context("no Python")?, threads)?;
            command.arg(scripts().join("worker.py"));
            command
        } else {
            let mut command = pinned(std::env::current_exe()?, threads)?;
            command.arg("serve");
            command
        };
        command.args([self.runtime, self.precision, &threads.to_string()]).arg(place.folder);
        if let (false, Some(model)) = (self.needs_python(), place.model) {
            command.arg("--model").arg(model);
        }
        Worker::start(self.name(), &mut command)
    }
}

fn names() -> String {
    ALL.map(|c| format!("{}/{}", c.runtime, c.precision)).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_are_chosen_by_runtime_or_by_both_names() {
        let chosen = |names: &[&str], python| {
            let names: Vec<String> = names.iter().map(|&n| n.into()).collect();
            Contender::chosen(&names, python).map(|c| c.iter().map(Contender::name).collect::<Vec<_>>().join(", "))
        };
        assert_eq!(chosen(&["umedsam/int8", "tract"], true).unwrap(), "umedsam int8, tract f32");
        assert_eq!(chosen(&[], false).unwrap(), "umedsam f32, umedsam bf16, umedsam int8, tract f32");
        assert!(chosen(&["openvino"], false).is_err());
        assert!(chosen(&["umedsam/f64"], true).is_err());
    }
}
