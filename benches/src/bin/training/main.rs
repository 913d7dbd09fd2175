//! A step of the training beside the same step in PyTorch.
//!
//! ```sh
//! export LIBTORCH=$(tests/libtorch.sh)
//! cargo run --release -p umedsam-benches --features training --bin training -- --setup --weights FILE
//! ```
//!
//! FILE is what `umedsam-export checkpoint` writes. Ours is the trainer itself, as `umedsam-train` runs it: an observer
//! stops the clock after each step, lets PyTorch take the same step on the same batch, and goes on. Both print the loss
//! that the step began with; that these agree, from the first step to the last, is what makes it the same step. The cases
//! are synthetic; time does not depend on what is in them.
//!
//! Our time is from the end of one step to the end of the next, with the batch that the trainer's threads have loaded
//! ahead; PyTorch's batches lie ready in memory, and only go to the device. Each side has `--threads` threads. Neither
//! is pinned, since the loading threads are no part of the step.

#![forbid(unsafe_code)]

mod alternate;
mod cases;
mod report;
mod setting;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use tch::Device;
use umedsam_benches::arguments::exit;
use umedsam_benches::{python, results};
use umedsam_train::{cuda, memory};

use crate::alternate::compare;
use crate::cases::Cases;
use crate::report::Report;
use crate::setting::{SETTINGS, Trained};

/// Time steps of the training beside the same steps in PyTorch.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The published weights, as `umedsam-export checkpoint` writes them.
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// cpu, cuda or cuda:N, for both sides.
    #[arg(long, default_value = "cpu", value_parser = parse_device)]
    device: Place,
    /// Samples of a step.
    #[arg(long, default_value_t = 2)]
    batch: usize,
    /// Steps of each side, where the encoder is not trained.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Steps of each side, where all is trained.
    #[arg(long, default_value_t = 6)]
    whole_rounds: usize,
    /// Threads of each side on a CPU.
    #[arg(long, default_value_t = 1)]
    threads: i32,
    /// Only rows whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table into this file, even of a shortened run; benches/RESULTS.md if no file is named.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    results: Option<Option<PathBuf>>,
    /// A Python with benches/peers/requirements-torch.txt installed; by default the one that --setup makes.
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Make that Python first, in ~/.cache/umedsam/peers.
    #[arg(long)]
    setup: bool,
}

/// A device, before libtorch is asked for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Cpu,
    Cuda(usize),
}

fn parse_device(text: &str) -> Result<Place, String> {
    let index = match text {
        "cpu" => return Ok(Place::Cpu),
        "cuda" => Some(0),
        _ => text.strip_prefix("cuda:").and_then(|index| index.parse().ok()),
    };
    index.map(Place::Cuda).ok_or_else(|| "cpu, cuda or cuda:N".into())
}

fn main() -> ExitCode {
    // As the command does.
    memory::keep_freed();
    exit("training", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(arguments.batch > 0 && arguments.threads > 0, "--batch and --threads are at least 1");
    ensure!(arguments.rounds > 0 && arguments.whole_rounds > 0, "--rounds and --whole-rounds are at least 1");
    let Some(python) = python::find(arguments.python.as_deref(), arguments.setup, "requirements-torch.txt")? else {
        bail!("there is nothing to compare with");
    };
    let device = match arguments.device {
        Place::Cpu => Device::Cpu,
        Place::Cuda(index) => cuda::device(index)?,
    };
    tch::set_num_threads(arguments.threads);
    let chosen: Vec<_> = SETTINGS.into_iter().filter(|s| s.to_string().contains(&arguments.only)).collect();
    ensure!(!chosen.is_empty(), "no row's name contains '{}'", arguments.only);
    let folder = tempfile::tempdir()?;
    let cases = Cases::write(folder.path(), 2 * arguments.batch)?;
    let mut rows = Vec::new();
    let mut version = String::new();
    for setting in chosen {
        let rounds = if setting.trained == Trained::Whole { arguments.whole_rounds } else { arguments.rounds };
        let (row, theirs) =
            compare(&setting, &cases, arguments, rounds, device, &python).with_context(|| setting.to_string())?;
        eprintln!("{setting}: umedsam {:.1} ms, PyTorch {:.1} ms", row.ours.minimum(), row.pytorch.minimum());
        rows.push(row);
        version = theirs;
    }
    let report = Report { arguments, version, rows: &rows };
    println!("{}", report.markdown());
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec_pretty(&rows)?;
        umedsam::files::write_atomically(path, |file| file.write_all(&json))
            .with_context(|| path.display().to_string())?;
    }
    if arguments.only.is_empty() || arguments.results.is_some() {
        let path = arguments.results.clone().flatten().unwrap_or_else(results::default_path);
        let section = if device == Device::Cpu { "training" } else { "training-cuda" };
        results::write_section(&path, section, &report.markdown())?;
        eprintln!("written to {}", path.display());
    }
    Ok(())
}
