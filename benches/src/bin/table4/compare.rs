//! Runs the cases, both sides in turns.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use serde::Serialize;
use umedsam::metrics::dice;
use umedsam::npz::{Limits, read_segs};
use umedsam_benches::cores::pinned;
use umedsam_benches::python::scripts;
use umedsam_benches::worker::Worker;

use crate::Compare;
use crate::cases::{CASES, Case};
use crate::npz;

/// One case.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    /// (D,H,W) or (H,W,3).
    pub(crate) shape: [usize; 3],
    pub(crate) volume: bool,
    pub(crate) objects: usize,
    pub(crate) umedsam_s: f64,
    /// Slices that we encoded.
    pub(crate) umedsam_encodes: usize,
    pub(crate) upstream: Option<Upstream>,
    /// The paper's seconds for LiteMedSAM and U-MedSAM on its machine.
    pub(crate) paper_s: [f64; 2],
}

/// Upstream's side of a case.
#[derive(Debug, Serialize)]
pub(crate) struct Upstream {
    pub(crate) seconds: f64,
    /// Slices that it encoded, and how many it would have to.
    pub(crate) encodes: usize,
    pub(crate) encodes_in_all: usize,
    /// Mean and worst DSC of the labels with ours; none where only a part was run.
    pub(crate) agreement: Option<(f64, f64)>,
}

impl Upstream {
    /// Whether the seconds are scaled up from a part.
    pub(crate) const fn extrapolated(&self) -> bool {
        self.encodes < self.encodes_in_all
    }
}

/// A run.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) rows: Vec<Row>,
    /// Seconds until each side was ready for the first case.
    pub(crate) load_s: (f64, Option<f64>),
}

pub(crate) fn run(arguments: &Compare, python: Option<&Path>) -> anyhow::Result<Figures> {
    let threads = arguments.threads.to_string();
    let mut command = pinned(std::env::current_exe()?, arguments.threads)?;
    command.args(["serve", &threads, &arguments.precision.to_string()]);
    if let Some(model) = &arguments.common.model {
        command.arg("--model").arg(model);
    }
    let start = Instant::now();
    let mut ours = Worker::start("umedsam", &mut command)?;
    let our_load = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let mut upstream = match python {
        None => None,
        Some(python) => {
            let mut command = pinned(python, arguments.threads)?;
            // Threads that wait in a loop would take the time of the other side.
            command.env("OMP_NUM_THREADS", &threads).env("OMP_WAIT_POLICY", "PASSIVE");
            Some(Worker::start("upstream", command.arg(scripts().join("upstream.py")).arg(&threads))?)
        }
    };
    let upstream_load = upstream.as_ref().map(|_| start.elapsed().as_secs_f64());

    let folder = tempfile::tempdir()?;
    let chosen: Vec<Case> = CASES.into_iter().filter(|case| case.name.contains(&arguments.only)).collect();
    ensure!(!chosen.is_empty(), "no case's name contains '{}'", arguments.only);
    let mut rows = Vec::new();
    for case in chosen {
        let case = case.scaled(arguments.scale);
        let path = |side: &str| folder.path().join(format!("{}{side}.npz", case.name));
        let (input, our_out, upstream_out) = (path(""), path(".ours"), path(".upstream"));
        npz::write(&input, &case)?;

        let answer = ours.ask(&format!("{} {}", input.display(), our_out.display()))?;
        let [seconds, encodes] = numbers(&answer)?;
        eprint!("{}: umedsam {seconds:.1} s", case.name);
        let upstream = match &mut upstream {
            None => None,
            Some(worker) => {
                let limit = arguments.upstream_slices.unwrap_or(0);
                let answer = worker.ask(&format!("{} {} {limit}", input.display(), upstream_out.display()))?;
                let [seconds, done, total] = numbers(&answer)?;
                let part = if done < total { " (extrapolated)" } else { "" };
                eprint!(", upstream {seconds:.1} s{part}");
                let agreement =
                    if done < total { None } else { Some(agreement(&our_out, &upstream_out, case.objects)?) };
                Some(Upstream { seconds, encodes: done as usize, encodes_in_all: total as usize, agreement })
            }
        };
        eprintln!();
        rows.push(Row {
            case: case.name,
            shape: case.shape(),
            volume: case.depth.is_some(),
            objects: case.objects,
            umedsam_s: seconds,
            umedsam_encodes: encodes as usize,
            upstream,
            paper_s: case.paper,
        });
        for path in [input, our_out, upstream_out] {
            // A volume's files are large; the folder goes in the end anyway.
            let _ = std::fs::remove_file(path);
        }
    }
    Ok(Figures { rows, load_s: (our_load, upstream_load) })
}

fn numbers<const N: usize>(answer: &str) -> anyhow::Result<[f64; N]> {
    let values: Result<Vec<f64>, _> = answer.split_whitespace().map(str::parse).collect();
    values.ok().and_then(|v| v.try_into().ok()).with_context(|| format!("'{answer}' is not {N} numbers"))
}

/// Mean and worst DSC of the labels of two segmentations.
fn agreement(a: &Path, b: &Path, objects: usize) -> anyhow::Result<(f64, f64)> {
    let (a, a_shape) = read_segs(a, &Limits::new())?;
    let (b, b_shape) = read_segs(b, &Limits::new())?;
    ensure!(a_shape == b_shape, "segmentations of shapes {a_shape:?} and {b_shape:?}");
    Ok(label_scores(&a, &b, objects))
}

/// A label that is in neither agrees.
fn label_scores(a: &[u16], b: &[u16], objects: usize) -> (f64, f64) {
    let (mut both, mut in_a, mut in_b) = (vec![0; objects + 1], vec![0; objects + 1], vec![0; objects + 1]);
    for (&a, &b) in a.iter().zip(b) {
        in_a[usize::from(a)] += 1;
        in_b[usize::from(b)] += 1;
        both[usize::from(a)] += usize::from(a == b);
    }
    let scores: Vec<f64> = (1..=objects).map(|i| dice(both[i], in_a[i], in_b[i]).unwrap_or(1.0)).collect();
    (scores.iter().sum::<f64>() / scores.len() as f64, scores.into_iter().fold(1.0, f64::min))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_scored_one_by_one() {
        // Label 1 half found, label 2 found, label 3 in neither.
        assert_eq!(label_scores(&[1, 1, 0, 2], &[0, 1, 1, 2], 3), (2.5 / 3.0, 0.5));
    }

    #[test]
    fn answers_are_counted() {
        assert_eq!(numbers::<2>("1.5 3").unwrap(), [1.5, 3.0]);
        assert!(numbers::<2>("1.5").is_err());
        assert!(numbers::<1>("x").is_err());
    }
}
