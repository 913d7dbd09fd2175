//! What the commands of this package have in common.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// Where results go, and what others run in.
#[derive(Args, Debug)]
pub struct Common {
    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the tables into this file, even of a shortened run; benches/RESULTS.md if no file is named.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub results: Option<Option<PathBuf>>,
    /// Model bundle; the built-in one if left out.
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// A Python with what benches/peers requires installed; by default the one that --setup makes.
    #[arg(long, value_name = "PYTHON")]
    pub python: Option<PathBuf>,
    /// Make that Python first, in ~/.cache/umedsam/peers.
    #[arg(long)]
    pub setup: bool,
}

/// The end of a command: what went wrong is told.
pub fn exit(name: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
