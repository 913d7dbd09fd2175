//! Why a model could not be judged.

use std::io;
use std::path::PathBuf;

use umedsam::npz::NpzError;

use super::verdict::Unjudged;

/// Why a model could not be judged: no verdict, and nothing is put into its bundle. What the model itself does wrong in a
/// case is no error but a reason to refuse it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// An option out of its range.
    #[error("{0}")]
    Option(String),
    /// A model beside itself.
    #[error("both are the same graphs, computed in {precision}: nothing would be compared")]
    SameModel {
        /// How both are computed.
        precision: umedsam::Precision,
    },
    /// Cases that the model was calibrated on.
    #[error(
        "{count} of the cases are among those to calibrate on, such as {} ({} there); a model is judged on others",
        case.display(),
        calibration.display()
    )]
    Shared {
        /// How many.
        count: usize,
        /// The first of them.
        case: PathBuf,
        /// The same file among those to calibrate on.
        calibration: PathBuf,
    },
    /// A case that is there twice, and would count as two.
    #[error("{} and {} are the same file", first.display(), second.display())]
    Twice {
        /// The one.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Cases that cannot be used; all others have been run, and their records are kept.
    #[error("{count} of {cases} cases cannot be used, the first: {first}")]
    Unusable {
        /// How many.
        count: usize,
        /// Cases in all.
        cases: usize,
        /// What is wrong with the first.
        first: Box<ValidateError>,
    },
    /// A bundle that cannot be read, or written with its report.
    #[error(transparent)]
    Bundle(umedsam::Error),
    /// A bundle whose graphs cannot be loaded.
    #[error("{}: {source}", path.display())]
    Session {
        /// The bundle.
        path: PathBuf,
        /// Why.
        source: umedsam::Error,
    },
    /// A bundle that was replaced by another while it was judged.
    #[error("{}: no longer the model that was judged; the report was not put into it", path.display())]
    Replaced {
        /// The bundle.
        path: PathBuf,
    },
    /// A case that cannot be read or holds no truth, or label maps that cannot be kept.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// A truth that is not of the image's size.
    #[error("{}: gts has shape {truth:?}, imgs {image:?} without channels", path.display())]
    Shape {
        /// The case.
        path: PathBuf,
        /// Shape of the truth.
        truth: Vec<usize>,
        /// Shape of the image, (H,W), or of the volume, (D,H,W).
        image: Vec<usize>,
    },
    /// A case that the reference cannot segment.
    #[error("{}: the reference cannot segment it: {source}", path.display())]
    Reference {
        /// The case.
        path: PathBuf,
        /// Why.
        source: umedsam::Error,
    },
    /// Cases that allow no verdict.
    #[error("{}: {source}", path.display())]
    Unjudged {
        /// The cases.
        path: PathBuf,
        /// Why.
        source: Unjudged,
    },
    /// A file or folder that cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A picture of a case that cannot be drawn.
    #[error("{case}: picture: {message}")]
    Picture {
        /// The case.
        case: String,
        /// Why.
        message: String,
    },
}
