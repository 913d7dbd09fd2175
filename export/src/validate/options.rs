//! What to compare, and by which bounds.

use std::path::PathBuf;

use umedsam::Precision;

use super::ValidateError;
use super::verdict::Bounds;

/// What to compare, and by which bounds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ValidateOptions {
    /// The bundle to judge.
    pub model: PathBuf,
    /// The bundle to judge it by, of the same weights uncompressed.
    pub reference: PathBuf,
    /// Folder of labelled cases in the challenge's NPZ format, or one case.
    pub cases: PathBuf,
    /// SHA-256 of cases that are left out, such as those that the model was calibrated on ([`file_sha256`]).
    ///
    /// [`file_sha256`]: super::file_sha256
    pub skipped: Vec<String>,
    /// What the model may lose.
    pub bounds: Bounds,
    /// How the reference is computed, whatever its weights are kept in; the model always in its own precision.
    pub reference_precision: Precision,
    /// Threads of each session.
    pub threads: usize,
    /// Folder for `report.json` and `report.html`; made if absent.
    pub report: PathBuf,
    /// Folder for the records; made if absent.
    pub work: PathBuf,
    /// Whether the summary is put into the model's bundle.
    pub stamp: bool,
}

impl ValidateOptions {
    /// Default bounds, reference in f32, one thread; the report into a folder beside the
    /// model, `FILE.validation`, records within it, and the summary into the bundle.
    pub fn new(model: impl Into<PathBuf>, reference: impl Into<PathBuf>, cases: impl Into<PathBuf>) -> Self {
        let model = model.into();
        let report = model.with_added_extension("validation");
        Self {
            reference: reference.into(),
            cases: cases.into(),
            skipped: Vec::new(),
            bounds: Bounds::default(),
            reference_precision: Precision::F32,
            threads: 1,
            work: report.join("records"),
            report,
            stamp: true,
            model,
        }
    }

    /// Without the cases of these digests.
    #[must_use]
    pub fn with_skipped(self, skipped: Vec<String>) -> Self {
        Self { skipped, ..self }
    }

    /// With these bounds.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// With the reference computed in this precision.
    #[must_use]
    pub fn with_reference_precision(self, reference_precision: Precision) -> Self {
        Self { reference_precision, ..self }
    }

    /// With this number of threads; 0 counts as 1.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// With the report, and records within it, in this folder.
    #[must_use]
    pub fn with_report(self, report: impl Into<PathBuf>) -> Self {
        let report = report.into();
        Self { work: report.join("records"), report, ..self }
    }

    /// With the records in this folder.
    #[must_use]
    pub fn with_work(self, work: impl Into<PathBuf>) -> Self {
        Self { work: work.into(), ..self }
    }

    /// Putting the summary into the bundle, or not.
    #[must_use]
    pub fn with_stamp(self, stamp: bool) -> Self {
        Self { stamp, ..self }
    }

    /// Looks at the bounds.
    pub(super) fn check(&self) -> Result<(), ValidateError> {
        self.bounds.check().map_err(ValidateError::Option)
    }
}
