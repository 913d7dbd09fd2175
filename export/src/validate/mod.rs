//! The gate: whether a smaller or faster model may take another's place, on real cases with known truth.
//!
//! Both segment every case as devices do, one after the other and in turns first, on the same threads. A model is refused
//! if its mean DSC falls by more than a tolerance, that of a modality by more than twice as much, or if single objects
//! collapse; the [`Validation`] with the verdict goes into its bundle's manifest.

mod html;
mod pictures;
mod plot;
mod record;
mod store;
mod verdict;

use std::path::{Path, PathBuf};

pub use html::page;
pub use pictures::Picture;
pub use record::{CaseRecord, ObjectRecord};
use serde::Serialize;
use umedsam::npz::{self, NpzError};
use umedsam::{Arithmetic, Model, Precision, Session, SessionOptions, Validation, encode_bundle};
pub use verdict::Loss;

/// Losses that are listed.
const LOSSES: usize = 20;
/// Of these, cases that are shown.
const PICTURES: usize = 8;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// A case cannot be read.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// A case whose truth is not of its image's size.
    #[error("{case}: gts is of the size {truth:?}, imgs of {image:?}")]
    Shape {
        /// The case.
        case: String,
        /// Size of the truth.
        truth: Vec<usize>,
        /// Size of the image.
        image: Vec<usize>,
    },
    /// The reference cannot segment a case.
    #[error("{case}: the reference failed: {source}")]
    Reference {
        /// The case.
        case: String,
        /// Why.
        source: umedsam::Error,
    },
    /// A model cannot be loaded or written.
    #[error(transparent)]
    Model(#[from] umedsam::Error),
    /// Nothing to judge by.
    #[error("none of the {cases} cases has an object that both models segmented")]
    NoObjects {
        /// Cases that were looked at.
        cases: usize,
    },
    /// A record or a report cannot be kept.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A picture cannot be drawn.
    #[error("{case}: {source}")]
    Picture {
        /// The case.
        case: String,
        /// Why.
        source: png::EncodingError,
    },
}

/// What is allowed, and how the models run.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// DSC that the mean may lose, 0 to 1; a row may lose twice as much.
    pub tolerance: f64,
    /// Share of the objects that may collapse, that is lose more than 0.2 of DSC.
    pub collapse_rate: f64,
    /// Threads of both models.
    pub threads: usize,
    /// Arithmetic of the model; its own if left out.
    pub arithmetic: Option<Arithmetic>,
    /// Arithmetic of the reference.
    pub reference_arithmetic: Arithmetic,
}

impl Options {
    /// Half a point of DSC, no collapsed object, one thread, the model as it is made against f32.
    pub const fn new() -> Self {
        Self {
            tolerance: 0.005,
            collapse_rate: 0.0,
            threads: 1,
            arithmetic: None,
            reference_arithmetic: Arithmetic::F32,
        }
    }

    /// With this tolerance of the mean DSC, 0 to 1.
    #[must_use]
    pub const fn with_tolerance(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    /// With this share of objects that may collapse.
    #[must_use]
    pub const fn with_collapse_rate(self, collapse_rate: f64) -> Self {
        Self { collapse_rate, ..self }
    }

    /// With this number of threads.
    #[must_use]
    pub const fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// With the model in this arithmetic instead of its own.
    #[must_use]
    pub const fn with_arithmetic(self, arithmetic: Option<Arithmetic>) -> Self {
        Self { arithmetic, ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// One of the two models.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Contender {
    /// Its name.
    pub name: String,
    /// How its weights are stored.
    pub precision: String,
    /// What it was computed in.
    pub arithmetic: String,
    /// Bytes of its bundle.
    pub bytes: usize,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
}

/// How long both took, the model's time over the reference's of the same case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Speed {
    /// Seconds of all cases, of the reference and of the model.
    pub seconds: [f64; 2],
    /// Least and median ratio of the encoder's time.
    pub encode_ratio: [f64; 2],
    /// Least and median ratio of the whole.
    pub ratio: [f64; 2],
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Version of this layout: 1.
    pub version: u32,
    /// The verdict and the figures that the bundle carries.
    pub validation: Validation,
    /// The reference and the model.
    pub contenders: [Contender; 2],
    /// Time on the machine at hand, with whatever else ran on it.
    pub speed: Speed,
    /// The objects that lost most, the worst first.
    pub losses: Vec<Loss>,
    /// Every case.
    pub cases: Vec<CaseRecord>,
    /// The worst cases.
    #[serde(skip)]
    pub pictures: Vec<Picture>,
}

/// Compares `model` with `reference` on cases of the challenge's format.
///
/// With `work`, a folder, what was found in a case is kept there, and taken from there if nothing that it depends on has
/// changed. `progress` is told of the cases done.
///
/// # Errors
/// [`ValidateError`] if there is no verdict. A model that cannot segment a case is refused, which is none.
pub fn validate(
    model: &Model,
    reference: &Model,
    cases: &[PathBuf],
    options: &Options,
    work: Option<&Path>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Report, ValidateError> {
    let open = |model: &Model, arithmetic| -> Result<Session, umedsam::Error> {
        model.session(&SessionOptions::new().with_threads(options.threads).with_arithmetic(arithmetic))
    };
    let own = if model.manifest().precision == Precision::Int8 { Arithmetic::Int8 } else { Arithmetic::F32 };
    let arithmetics = [options.reference_arithmetic, options.arithmetic.unwrap_or(own)];
    let mut sessions = [open(reference, arithmetics[0])?, open(model, arithmetics[1])?];
    let store = work.map(|folder| store::Store::new(folder, [reference, model], arithmetics, options.threads));
    let store = store.transpose()?;
    let mut records = Vec::with_capacity(cases.len());
    for (done, path) in cases.iter().enumerate() {
        progress(done, cases.len());
        let kept = store.as_ref().map(|store| store.find(path)).transpose()?.flatten();
        let found = match kept {
            Some(found) => found,
            None => {
                let (found, _) = record::record(path, &mut sessions, done % 2 == 0)?;
                if let Some(store) = &store {
                    store.keep(path, &found)?;
                }
                found
            }
        };
        records.push(found);
    }
    progress(cases.len(), cases.len());
    let contender = |model: &Model, arithmetic: Arithmetic| {
        let manifest = model.manifest();
        Contender {
            name: manifest.name.clone(),
            precision: manifest.precision.to_string(),
            arithmetic: arithmetic.to_string(),
            bytes: model.size_bytes(),
            weights_sha256: manifest.weights_sha256.clone(),
        }
    };
    let contenders = [contender(reference, arithmetics[0]), contender(model, arithmetics[1])];
    let judged = verdict::judge(&records, options)?;
    let validation = Validation {
        encoder_sha256: model.manifest().encoder_sha256.clone(),
        decoder_sha256: model.manifest().decoder_sha256.clone(),
        reference: format!("{} in {}", contenders[0].name, contenders[0].arithmetic),
        reference_weights_sha256: contenders[0].weights_sha256.clone(),
        ..judged
    };
    let losses = verdict::losses(&records, LOSSES);
    let pictures = show(&losses, cases, &mut sessions)?;
    Ok(Report { version: 1, validation, contenders, speed: speed(&records), losses, cases: records, pictures })
}

/// Draws the cases of the worst losses, each once.
fn show(losses: &[Loss], cases: &[PathBuf], sessions: &mut [Session; 2]) -> Result<Vec<Picture>, ValidateError> {
    let mut pictures: Vec<Picture> = Vec::new();
    for loss in losses {
        let path = cases.iter().find(|path| path.file_name().is_some_and(|name| name.to_string_lossy() == loss.case));
        let Some(path) = path.filter(|_| pictures.iter().all(|p| p.loss.case != loss.case)) else { continue };
        if pictures.len() == PICTURES {
            break;
        }
        let (_, labels) = record::record(path, sessions, true)?;
        pictures.extend(pictures::draw(loss, &labels)?);
    }
    Ok(pictures)
}

fn speed(records: &[CaseRecord]) -> Speed {
    let done: Vec<&CaseRecord> = records.iter().filter(|r| r.failure.is_none()).collect();
    let ratio = |of: fn(&CaseRecord) -> [f64; 2]| {
        let mut ratios: Vec<f64> = done.iter().map(|r| of(r)).filter(|t| t[0] > 0.0).map(|[a, b]| b / a).collect();
        ratios.sort_by(f64::total_cmp);
        [ratios.first(), ratios.get(ratios.len() / 2)].map(|r| r.copied().unwrap_or(1.0))
    };
    let sum = |who: usize| done.iter().map(|r| r.seconds[who]).sum();
    Speed { seconds: [sum(0), sum(1)], encode_ratio: ratio(|r| r.encode_seconds), ratio: ratio(|r| r.seconds) }
}

/// The cases of a folder, by name.
///
/// # Errors
/// [`NpzError`] if the folder cannot be listed or holds none.
pub fn cases(folder: &Path) -> Result<Vec<PathBuf>, NpzError> {
    npz::cases(folder)
}

/// The bytes of the bundle with its report in it.
///
/// # Errors
/// If the manifest cannot be written.
pub fn stamped(model: &Model, validation: &Validation) -> Result<Vec<u8>, umedsam::Error> {
    let manifest = umedsam::Manifest { validation: Some(validation.clone()), ..model.manifest().clone() };
    encode_bundle(model.encoder_onnx(), model.decoder_onnx(), &manifest)
}
