//! Why a model could not be judged.

use std::io;
use std::path::PathBuf;

use umedsam::npz::NpzError;

/// Why a model could not be judged. What the model itself does wrong in a case is no error but a reason to refuse it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// An option out of its range.
    #[error("{field} is {value}; {expected} expected")]
    Option {
        /// The option.
        field: &'static str,
        /// Its value.
        value: f64,
        /// What is accepted, in words.
        expected: &'static str,
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
    /// Cases without any object to judge by.
    #[error("{}: no object that both models have scored", path.display())]
    NoObjects {
        /// The cases.
        path: PathBuf,
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
