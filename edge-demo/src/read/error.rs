//! Why a file cannot be read.

use std::io;
use std::path::{Path, PathBuf};

use crate::dicom::Listed;
use crate::labels::GridError;

/// How the limit of memory is raised: in a browser it is not.
pub(crate) const RAISED_BY: &str = if cfg!(target_arch = "wasm32") { "" } else { " (--memory)" };

/// Why a file, a folder or an archive cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
#[non_exhaustive]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The system could not read it.
    #[error("{0}")]
    Io(io::Error),
    /// It is of another kind than those that are read.
    #[error("{0}; DICOM, NIfTI, NRRD and MetaImage are read")]
    Kind(String),
    /// It is shorter than it says itself.
    #[error("ends too early: of {expected} bytes of {part} {actual} are there")]
    Ended {
        /// The part that is not whole.
        part: &'static str,
        /// Bytes that it needs.
        expected: u64,
        /// Bytes that are there.
        actual: u64,
    },
    /// A field of its header cannot be used.
    #[error("{field} is {found}; {expected} expected")]
    Field {
        /// Name in the standard.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What is accepted, in words.
        expected: &'static str,
    },
    /// Reading it takes more memory than is allowed.
    #[error("takes {bytes} bytes of memory to read, beyond the limit of {max}{}", RAISED_BY)]
    TooLarge {
        /// Bytes that it takes.
        bytes: u64,
        /// Bytes that are allowed.
        max: u64,
    },
    /// It is whole, but nothing here reads its kind.
    #[error("{0}")]
    Unsupported(String),
    /// It is damaged.
    #[error("damaged: {0}")]
    Damaged(String),
    /// It holds several volumes, and none was chosen, or one that is not there.
    #[error("holds {of} {what}; --frame 0 to {} chooses one", of - 1)]
    Frames {
        /// `volumes` or `frames`.
        what: &'static str,
        /// Their number.
        of: usize,
    },
    /// It holds several series, and none was chosen, or one that is not there.
    #[error("{}", Listed::message(.0))]
    Series(Vec<Listed>),
    /// The slices of a series make no volume.
    #[error("series {uid}: {reason}")]
    Slices {
        /// Its SeriesInstanceUID.
        uid: String,
        /// Why, with the slices.
        reason: String,
    },
    /// A label map has a value that is no label.
    #[error("value {value} of voxel {index}: a label, a whole number from 0 to 65535, expected")]
    Label {
        /// Index of the voxel, in the order of the file.
        index: usize,
        /// The value.
        value: f64,
    },
    /// Two labels have voxels in common, of which a label map has one each.
    #[error("labels {first} and {second} have {voxels} voxels in common; --labels chooses some")]
    Overlap {
        /// The lesser label.
        first: u16,
        /// The greater one.
        second: u16,
        /// Number of voxels.
        voxels: usize,
    },
    /// The voxels of a label map are not those of the image.
    #[error(transparent)]
    Grid(Box<GridError>),
    /// There is no memory.
    #[error(transparent)]
    Memory(#[from] umedsam::Error),
}

impl Problem {
    pub(crate) fn at(self, path: &Path) -> ReadError {
        ReadError { path: path.into(), problem: self }
    }

    pub(crate) fn field(field: &'static str, found: impl ToString, expected: &'static str) -> Self {
        Self::Field { field, found: found.to_string(), expected }
    }
}

impl From<GridError> for Problem {
    fn from(error: GridError) -> Self {
        Self::Grid(Box::new(error))
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
