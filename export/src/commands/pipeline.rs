//! `umedsam-export pipeline`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use umedsam::files::{check_output, write_atomically};
use umedsam::{ContentKey, Storage, outln};
use umedsam_export::checkpoint::Weights;
use umedsam_export::quantize::probes::{self, Probe};
use umedsam_export::validate::{ValidateOptions, file_sha256, refuse_shared};
use umedsam_export::{bundle, program_key};

use super::quantize::Settings;
use super::validate::{Gate, judge};

/// From trained weights to a judged model in 8 bits: quantize, bundle, validate.
///
/// What is done is kept in a folder beside the result, and a run that was stopped goes on from there. A model that is
/// refused is written, too, with the refusal in it. Exit status: 0 passed, 1 refused, 2 error.
#[derive(Debug, Args)]
pub(crate) struct Pipeline {
    /// The safetensors file.
    weights: PathBuf,
    /// Folder of cases with known truth (the challenge's NPZ format).
    #[arg(long, value_name = "DIR")]
    cases: PathBuf,
    /// Folder of cases to calibrate on. If left out, some of --cases are taken for that, and the model is judged on the
    /// others.
    #[arg(long, value_name = "DIR")]
    calibration: Option<PathBuf>,
    /// The bundle to write.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Name of the model, for people; LiteMedSAM for the published weights, the file's for others, if left out.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    gate: Gate,
}

impl Pipeline {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        check_output(&self.out, &[&self.weights])?;
        let work = self.out.with_added_extension("work");
        fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
        if let Some(calibration) = &self.calibration {
            refuse_shared(calibration, &self.cases)?;
        }
        let weights = super::load(&self.weights)?;
        let name = self.name.clone().unwrap_or_else(|| super::model_name(&weights, &self.weights));
        let folder = self.calibration.as_ref().unwrap_or(&self.cases);
        let probes = probes::read(folder, self.settings.per_row)?;

        let key = key(&self.weights, self.settings, &probes)?;
        let quantized = work.join("quantized.safetensors");
        let quantized = if done(&work, &key, &quantized) {
            outln!("{} is there", quantized.display());
            Weights::load(&quantized)?
        } else {
            // Before the weights are replaced: a stop between the two must not leave them under another's key.
            let _ = fs::remove_file(work.join(KEY));
            let made = self.settings.quantize(&weights, &probes, Some(&work.join("quantized.json")))?;
            made.save(&quantized)?;
            let key = entry(&key, &quantized)?;
            write_atomically(&work.join(KEY), |file| file.write_all(key.as_bytes()))
                .with_context(|| work.join(KEY).display().to_string())?;
            made
        };
        let reference = work.join("reference.umedsam");
        bundle::make(&weights, Storage::F32, &name, &reference)?;
        let made = bundle::make(&quantized, Storage::Int8, &name, &self.out)?;
        outln!("{} ({} bytes, {})", self.out.display(), fs::metadata(&self.out)?.len(), made.storage);

        let mut options = ValidateOptions::new(&self.out, &reference, &self.cases).with_report(&work);
        if self.calibration.is_none() {
            let digests = probes.iter().map(|probe| file_sha256(&probe.path));
            options = options.with_skipped(digests.collect::<Result<_, _>>()?);
        }
        judge(&self.gate.over(options))
    }
}

/// File that says what the quantized weights were made of.
const KEY: &str = "quantized.key";

/// All that quantized weights depend on: the weights' file with its provenance, the settings, and the cases that the network
/// is shown.
fn key(weights: &Path, settings: Settings, probes: &[Probe]) -> anyhow::Result<String> {
    let add = |key: ContentKey, name, path: &Path| anyhow::Ok(key.with(name, file_sha256(path)?));
    let program = program_key().context("this program")?;
    let settled = add(program, "weights", weights)?.with("settings", format!("{settings:?}"));
    let key = probes.iter().try_fold(settled, |key, p| add(key.with("probe", &p.name), "case", &p.path))?;
    Ok(key.hex())
}

/// What stands in the file: the key, and the digest of what was made.
fn entry(key: &str, quantized: &Path) -> anyhow::Result<String> {
    Ok(format!("{key}\n{}\n", file_sha256(quantized)?))
}

/// Whether what is in the folder was made of the same, and is as it was made.
fn done(work: &Path, key: &str, quantized: &Path) -> bool {
    let found = fs::read_to_string(work.join(KEY)).ok();
    found.is_some_and(|found| entry(key, quantized).is_ok_and(|entry| entry == found))
}
