//! The accuracy gate: may a compressed model stand in for its reference?
//!
//! Both segment the same labelled cases from the same boxes, by the procedure that devices follow. Both are scored against
//! the truth and against each other; what the model may have lost decides ([`umedsam::validation::Bounds`]). The verdict goes into the model's
//! bundle, where it counts for these graphs only ([`umedsam::Model::validation`]).
//!
//! ```no_run
//! use umedsam_export::validate::{ValidateOptions, validate};
//!
//! let options = ValidateOptions::new("int8.umedsam", "f32.umedsam", "cases/");
//! let report = validate(&options, |done, total, case| eprintln!("{done} of {total}: {case}"))?;
//! println!("{}", report.validation.verdict);
//! # Ok::<(), umedsam_export::validate::ValidateError>(())
//! ```
//!
//! # Time
//!
//! The models take turns: each case is segmented by one, then by the other, which one first changes from case to case,
//! each in a session of its own with all threads, and nothing else of the program runs meanwhile. Both are run once
//! before. The time of a case is from its pixels in memory to its label map.
//!
//! # Going on
//!
//! For each case a record and both label maps are kept in a folder. They are found again by a digest of all that they
//! depend on ([`ContentKey`]): the program and its kernels, both models' graphs, how they are computed,
//! the number of threads and the case's bytes. A run that was stopped goes on there, with the times taken before.

mod error;
mod html;
mod options;
mod pictures;
mod plot;
mod record;
mod report;
mod run;
pub mod verdict;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use umedsam::files::write_atomically;
use umedsam::validation::{VALIDATION_VERSION, ValidatedModel};
use umedsam::{ContentKey, Manifest, Model, Precision, Validation, Verdict, npz, write_bundle};

pub use error::ValidateError;
pub use html::page;
pub use options::ValidateOptions;
pub use pictures::Picture;
pub use record::{CaseTime, Object, Record, Scores, Spent};
pub use report::{REPORT_VERSION, Report, Times, WORST, WorstCase};

use crate::content_key::{program_key, sha256};
use record::Work;
use run::Pair;
use verdict::Judgement;

/// Seed of the bootstrap: the same intervals every time.
const SEED: u64 = 0;

/// Judges a model: segments the cases, writes the report, and puts its summary into the bundle, passed or refused.
///
/// `progress` is told of the cases done, the cases in all, and the one that comes next.
///
/// # Errors
/// [`ValidateError`] if a bundle or a case cannot be read, both bundles are one model, the reference fails or finds
/// nothing, the truth of a case is not of its boxes, there is too little to judge by, or a result cannot be written; the
/// bundle is left as it was. A model that fails is not an error: it is refused.
pub fn validate(
    options: &ValidateOptions,
    mut progress: impl FnMut(usize, usize, &str),
) -> Result<Report, ValidateError> {
    options.check()?;
    let load = |path: &Path| Model::load(path).map_err(ValidateError::Bundle);
    let (reference, model) = (load(&options.reference)?, load(&options.model)?);
    let summaries =
        [summary(&reference, options.reference_precision)?, summary(&model, model.manifest().storage.precision())?];
    let [reference_summary, model_summary] = &summaries;
    if model_summary.precision == reference_summary.precision
        && (&model_summary.encoder_sha256, &model_summary.decoder_sha256)
            == (&reference_summary.encoder_sha256, &reference_summary.decoder_sha256)
    {
        return Err(ValidateError::SameModel { precision: model_summary.precision });
    }
    let mut cases: Vec<(PathBuf, String)> = Vec::new();
    for path in npz::cases(&options.cases)? {
        let digest = file_sha256(&path)?;
        if let Some((first, _)) = cases.iter().find(|(_, other)| *other == digest) {
            return Err(ValidateError::Twice { first: first.clone(), second: path });
        }
        if !options.skipped.contains(&digest) {
            cases.push((path, digest));
        }
    }
    let work = Work::new(&options.work)?;
    let run = run_key(&summaries, options.threads)?;
    let mut pair = None;
    let mut records = Vec::with_capacity(cases.len());
    let mut unusable = Vec::new();
    for (index, (path, digest)) in cases.iter().enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        progress(index, cases.len(), &name);
        let key = record::key(&run, &name, digest);
        if let Some(record) = work.find(&key) {
            records.push(record);
            continue;
        }
        let pair = match &mut pair {
            Some(pair) => pair,
            // Not before a case needs it: a report can be written again without a run.
            None => {
                let (reference, model) = ((&reference, &*options.reference), (&model, &*options.model));
                pair.insert(Pair::new(reference, model, [&summaries[0], &summaries[1]], options.threads)?)
            }
        };
        match pair.run(path, &name, key, index % 2 == 0) {
            Ok((record, masks)) => {
                work.keep(&record, masks.as_ref())?;
                records.push(record);
            }
            // The others are run all the same: what was found in them is kept, and all that is wrong is told at once.
            Err(error) => unusable.push(error),
        }
    }
    let count = unusable.len();
    if let Some(first) = unusable.into_iter().next() {
        return Err(ValidateError::Unusable { count, cases: cases.len(), first: first.into() });
    }
    progress(cases.len(), cases.len(), "report");
    let judged = Judgement::new(&records, &options.bounds, SEED)
        .map_err(|source| ValidateError::Unjudged { path: options.cases.clone(), source })?;
    let [reference, model] = summaries;
    let report = Report::new(sum_up(reference, model, options, records.len(), judged), options.threads, records);
    let pictures = pictures::of_worst(&report, &cases, &work)?;
    write(&options.report, &report, &pictures)?;
    if options.stamp {
        stamp(&options.model, &report.validation)?;
    }
    Ok(report)
}

fn sum_up(
    reference: ValidatedModel,
    model: ValidatedModel,
    options: &ValidateOptions,
    cases: usize,
    judged: Judgement,
) -> Validation {
    let Judgement { rows, iou_correlation, failed, reasons } = judged;
    let bounds = options.bounds;
    let verdict = if reasons.is_empty() { Verdict::Passed } else { Verdict::Refused };
    let version = VALIDATION_VERSION;
    Validation { version, verdict, reasons, model, reference, bounds, cases, failed, iou_correlation, rows }
}

/// Whether cases to judge on are others than those to calibrate on: by their content, whatever their names.
///
/// # Errors
/// [`ValidateError::Shared`] if a file is among both; or if a folder or a file cannot be read.
pub fn refuse_shared(calibration: &Path, cases: &Path) -> Result<(), ValidateError> {
    let calibration: Vec<(String, PathBuf)> = npz::cases(calibration)?
        .into_iter()
        .map(|path| Ok((file_sha256(&path)?, path)))
        .collect::<Result<_, ValidateError>>()?;
    let calibration: HashMap<String, PathBuf> = calibration.into_iter().collect();
    let mut shared = Vec::new();
    for case in npz::cases(cases)? {
        if let Some(calibration) = calibration.get(&file_sha256(&case)?) {
            shared.push((case, calibration));
        }
    }
    let count = shared.len();
    match shared.into_iter().next() {
        Some((case, calibration)) => Err(ValidateError::Shared { count, case, calibration: calibration.clone() }),
        None => Ok(()),
    }
}

/// What a summary says of a bundle.
fn summary(model: &Model, precision: Precision) -> Result<ValidatedModel, ValidateError> {
    let Manifest { name, storage, encoder_sha256, decoder_sha256, .. } = model.manifest().clone();
    let bare = Manifest { validation: None, ..model.manifest().clone() };
    let bytes = umedsam::encode_bundle(model.encoder_onnx(), model.decoder_onnx(), &bare);
    let size_bytes = bytes.map_err(ValidateError::Bundle)?.len() as u64;
    Ok(ValidatedModel { name, storage, precision, size_bytes, encoder_sha256, decoder_sha256 })
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// [`ValidateError::File`] if it cannot be read.
pub fn file_sha256(path: &Path) -> Result<String, ValidateError> {
    sha256(path).map_err(|source| ValidateError::File { path: path.into(), source })
}

/// What the records of a run have in common. Of the bundles it is the graphs: the report that is put into one changes
/// nothing that is computed.
fn run_key(summaries: &[ValidatedModel; 2], threads: usize) -> Result<ContentKey, ValidateError> {
    let program = |source| ValidateError::File { path: "this program".into(), source };
    let key = program_key().map_err(program)?.with("threads", threads.to_string());
    Ok(["reference", "model"].iter().zip(summaries).fold(key, |key, (who, s)| {
        let parts =
            [("encoder", &s.encoder_sha256), ("decoder", &s.decoder_sha256), ("precision", &s.precision.to_string())];
        parts.into_iter().fold(key, |key, (what, part)| key.with(&format!("{who}'s {what}"), part))
    }))
}

fn write(folder: &Path, report: &Report, pictures: &[Picture]) -> Result<(), ValidateError> {
    let json = serde_json::to_string(report).map_err(std::io::Error::other);
    for (name, text) in [("report.json", json), ("report.html", Ok(page(report, pictures)))] {
        let path = folder.join(name);
        std::fs::create_dir_all(folder)
            .and(text)
            .and_then(|text| write_atomically(&path, |file| file.write_all(text.as_bytes())))
            .map_err(|source| ValidateError::File { path, source })?;
    }
    Ok(())
}

/// Puts a summary into the bundle that it is about.
///
/// # Errors
/// If the bundle is no longer of these graphs, or cannot be read or written.
pub fn stamp(path: &Path, validation: &Validation) -> Result<(), ValidateError> {
    let model = Model::load(path).map_err(ValidateError::Bundle)?;
    let manifest = model.manifest();
    if !validation.is_of(&manifest.encoder_sha256, &manifest.decoder_sha256) {
        return Err(ValidateError::Replaced { path: path.into() });
    }
    let manifest = Manifest { validation: Some(validation.clone()), ..manifest.clone() };
    write_bundle(path, model.encoder_onnx(), model.decoder_onnx(), &manifest).map_err(ValidateError::Bundle)
}
