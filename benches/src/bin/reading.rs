//! A DICOM series read by us and by SimpleITK, alternating.
//!
//! ```sh
//! cargo run --release -p umedsam-benches --bin reading -- --setup       # once: Python with SimpleITK
//! cargo run --release -p umedsam-benches --bin reading -- --results
//! ```
//!
//! Both find the series in its folder, sort its slices by their places and hold its voxels in Hounsfield units; both read
//! the same files, which the system holds in memory after the first time. That they read the same is compared first: number,
//! sum, least and greatest of the values, and the spacing.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Parser;
use umedsam_benches::arguments::exit;
use umedsam_benches::worker::Worker;
use umedsam_benches::{machine, python, results};
use umedsam_demo::read::{ReadOptions, read};

/// Time reading a DICOM series beside SimpleITK.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder of a series; if left out one is made.
    series: Option<PathBuf>,
    /// Slices of a series that is made.
    #[arg(long, default_value_t = 300)]
    slices: usize,
    /// How often each reads it.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// A Python with what benches/peers requires installed; by default the one that --setup makes.
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Make that Python first, in ~/.cache/umedsam/peers.
    #[arg(long)]
    setup: bool,
    /// Write the table into this file; benches/RESULTS.md if no file is named.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    results: Option<Option<PathBuf>>,
}

/// Times in ms.
struct Times(Vec<f64>);

impl Times {
    fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

fn main() -> ExitCode {
    exit("reading", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let python = python::find(arguments.python.as_deref(), arguments.setup, "requirements-reading.txt")?;
    let python = python.context("nothing to compare with")?;
    let made = tempfile::tempdir()?;
    let folder = arguments.series.as_deref().unwrap_or(made.path());
    let mut command = Command::new(python);
    command.arg(python::scripts().join("reading.py")).arg(folder).arg(arguments.slices.to_string());
    let mut other = Worker::start("SimpleITK", &mut command)?;
    let version = other.ask("version")?;
    let shape = compare(folder, &other.ask("voxels")?)?;
    let (mut ours, mut theirs) = (Times(Vec::new()), Times(Vec::new()));
    for _ in 0..arguments.rounds {
        let start = Instant::now();
        drop(read(folder, &ReadOptions::new())?);
        ours.0.push(start.elapsed().as_secs_f64() * 1e3);
        theirs.0.push(other.ask_number("read")?);
    }
    let text = format!(
        "## Reading a DICOM series (`reading`)\n\n{}- {shape}; {} times each, alternating; minimum / median in ms\n\n\
         | umedsam | SimpleITK | ratio |\n|---|---|---|\n\
         | {:.0} / {:.0} | {:.0} / {:.0} | {:.2} / {:.2} |\n",
        machine::description(&[("SimpleITK".into(), version)]),
        arguments.rounds,
        ours.least(),
        ours.median(),
        theirs.least(),
        theirs.median(),
        ours.least() / theirs.least(),
        ours.median() / theirs.median()
    );
    println!("{text}");
    if let Some(path) = &arguments.results {
        results::write_section(&path.clone().unwrap_or_else(results::default_path), "reading", &text)?;
    }
    Ok(())
}

/// Checks that both read the same, and says what it is.
fn compare(folder: &Path, theirs: &str) -> anyhow::Result<String> {
    let scan = read(folder, &ReadOptions::new())?;
    let values = scan.values.to_f64();
    let (least, greatest) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
    let spacing = scan.spacing.context("a series with spacing")?;
    let ours = [&[values.len() as f64, values.iter().sum(), least, greatest][..], &spacing].concat();
    let theirs: Vec<f64> = theirs.split(' ').map(str::parse).collect::<Result<_, _>>().context(theirs.to_owned())?;
    let same = ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-5);
    ensure!(same, "not the same: {ours:?} by us, {theirs:?} by SimpleITK");
    let shape: Vec<String> = scan.shape().iter().map(usize::to_string).collect();
    Ok(format!("CT of {} voxels of {}", shape.join("x"), scan.values.number_type()))
}
