//! The fourteen cases of the U-MedSAM paper's Table 4, from the file to the written segmentation: ours beside upstream's
//! procedure in PyTorch.
//!
//! ```sh
//! cargo run --release -p umedsam-benches --bin table4 -- --setup --scale 0.05    # a short run; installs PyTorch first
//! cargo run --release -p umedsam-benches --bin table4 -- --precision int8       # everything: hours of PyTorch
//! ```
//!
//! The paper's images are not public. These are synthetic ones of the same sizes with as many objects, which is what the
//! time depends on: noise, a body, and an ellipsoid for each box; see `cases.rs`. Both sides run in a process of their
//! own on the same cores, with the model loaded beforehand (that time is given once), one case after the other in
//! turns. Times are single runs from opening the NPZ file to having written `segs`.
//!
//! Upstream encodes a volume's slice again for each object that passes it; we encode it once for all. `--upstream-slices N`
//! runs upstream on the first N slices of each object only and scales that part of its time up; such rows are marked.
//! Where upstream ran in full, the agreement of the two segmentations is given.

#![forbid(unsafe_code)]

mod cases;
mod compare;
mod npz;
mod ours;
mod report;

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand};
use umedsam::Precision;
use umedsam_benches::arguments::{Common, exit};
use umedsam_benches::{python, results};

use crate::compare::run;
use crate::report::Report;

/// Time whole cases beside upstream's procedure in PyTorch.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    compare: Compare,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Shrinks depths and numbers of objects, to 1 at least.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Threads of each side.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// What our side computes in: f32, bf16 or int8.
    #[arg(long, default_value = "int8")]
    precision: Precision,
    /// Only cases whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Run upstream on this many slices of each object and scale its time up.
    #[arg(long, value_name = "N")]
    upstream_slices: Option<usize>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer requests on standard input (used by this program itself).
    #[command(hide = true)]
    Serve(ours::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Some(Command::Serve(arguments)) => ours::serve(arguments),
        None => table(&arguments.compare),
    };
    exit("table4", result)
}

fn table(arguments: &Compare) -> anyhow::Result<()> {
    ensure!(arguments.scale > 0.0 && arguments.scale <= 1.0, "--scale is above 0 and at most 1");
    ensure!(arguments.upstream_slices != Some(0), "--upstream-slices is at least 1");
    let python = python::find(arguments.common.python.as_deref(), arguments.common.setup, "requirements-torch.txt")?;
    let figures = run(arguments, python.as_deref())?;
    let report = Report { arguments, figures: &figures };
    println!("{}", report.markdown());
    if let Some(path) = &arguments.common.json {
        let json = serde_json::to_vec_pretty(&figures.rows)?;
        umedsam::files::write_atomically(path, |file| file.write_all(&json))
            .with_context(|| path.display().to_string())?;
    }
    let whole = arguments.scale == 1.0 && arguments.only.is_empty() && python.is_some();
    if whole || arguments.common.results.is_some() {
        let path = arguments.common.results.clone().flatten().unwrap_or_else(results::default_path);
        results::write_section(&path, "table4", &report.markdown())?;
        eprintln!("written to {}", path.display());
    }
    Ok(())
}
