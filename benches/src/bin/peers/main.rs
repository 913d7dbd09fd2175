//! Our session and other runtimes on the same graphs and inputs, alternating.
//!
//! ```sh
//! cargo run --release -p umedsam-benches --bin peers -- --setup              # once: Python with the other runtimes
//! umedsam-export bundle u-medsam.safetensors --storage f16 --out float.umedsam   # all of them run a model in floats
//! cargo run --release -p umedsam-benches --bin peers -- --model float.umedsam --rounds 20 --threads 1,2 --json peers.json
//! ```
//!
//! Every runtime is a process of its own, pinned to as many cores as it has threads, that answers requests over a pipe.
//! Requests go round, one runtime after the other, so that a slow moment of the machine falls on all: only ratios
//! within one run mean anything. Preprocessing happens once, here; every runtime gets the same inputs in files.
//!
//! All run the model's own two graphs. onnxruntime runs them as they are; tract and OpenVINO don't know model-local
//! functions and get the inlined form. Where the weights are stored in 16 bits, every runtime turns them into f32 when
//! it loads the graph (casts of constants are folded): a bundle with f32 weights gives the same times.
//!
//! What is measured:
//!
//! - time: minimum and median of each stage (`encode`, `decode1`: one box, `decode16`: sixteen boxes in one pass) after
//!   one run that is not counted, and the ratio of the minimum to onnxruntime's in f32 on one thread;
//! - cold start: from starting a process to its first mask (load, encode, decode one box, threshold), in fresh processes,
//!   the shortest of three; for the runtimes in Python this includes starting Python;
//! - peak memory of these fresh processes (VmHWM), the smallest of three;
//! - agreement: DSC with the masks of onnxruntime in f32, on the network's grid, for boxes in the two sample pictures.
//!
//! When all peers took part the tables are written into benches/RESULTS.md.

#![forbid(unsafe_code)]

mod contender;
mod inputs;
mod measure;
mod report;
mod runtimes;
mod serve;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use umedsam::Storage;
use umedsam_benches::arguments::{Common, exit};
use umedsam_benches::{load_model, python, results};

use crate::contender::{Contender, Place};
use crate::inputs::{Inputs, quantize};
use crate::measure::measure;
use crate::report::Report;

/// Time our session beside other runtimes.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    compare: Compare,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Compare {
    /// Encodes of each runtime; decodes are twice and a half as many.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Numbers of threads, separated by commas.
    #[arg(long, default_value = "1,2", value_delimiter = ',')]
    threads: Vec<usize>,
    /// Only these, as `umedsam/bf16` or `openvino`, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer requests on standard input (used by this program itself).
    #[command(hide = true)]
    Serve(serve::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Some(Command::Serve(arguments)) => serve::run(arguments),
        None => compare(&arguments.compare),
    };
    exit("peers", result)
}

fn compare(arguments: &Compare) -> anyhow::Result<()> {
    let python = python::find(arguments.common.python.as_deref(), arguments.common.setup, "requirements.txt")?;
    let contenders = Contender::chosen(&arguments.only, python.is_some())?;
    let folder = tempfile::tempdir()?;
    let model = load_model(arguments.common.model.as_deref())?;
    // A graph in 8 bits would be so in every runtime, whatever its row says.
    anyhow::ensure!(
        model.manifest().storage != Storage::Int8 || contenders.iter().all(Contender::is_ours),
        "the others run the model's own graphs, which are in 8 bits here: --model with one in floats \
         (umedsam-export bundle --storage f16)"
    );
    let inputs = Inputs::write(folder.path(), &model)?;
    if let Some(python) = &python
        && contenders.iter().any(Contender::is_quantized_openvino)
    {
        quantize(python, folder.path())?;
    }
    let place = Place { folder: folder.path(), python: python.as_deref(), model: arguments.common.model.as_deref() };
    let figures = measure(&contenders, &place, &inputs, &arguments.threads, arguments.rounds)?;
    let report = Report::new(&figures, arguments.rounds);
    println!("{}", report.markdown());
    if let Some(path) = &arguments.common.json {
        let json = serde_json::to_vec_pretty(report.rows())?;
        umedsam::files::write_atomically(path, |file| file.write_all(&json))
            .with_context(|| path.display().to_string())?;
    }
    let all = contenders.len() == contender::ALL.len();
    if all || arguments.common.results.is_some() {
        let path = arguments.common.results.clone().flatten().unwrap_or_else(results::default_path);
        results::write_section(&path, "peers", &report.markdown())?;
        eprintln!("written to {}", path.display());
    }
    Ok(())
}
