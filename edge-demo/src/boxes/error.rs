//! Why boxes cannot be read.

use std::io;
use std::path::PathBuf;

use super::{MAX_BOXES, MAX_BYTES};

/// Why boxes cannot be read from a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
#[non_exhaustive]
pub struct BoxFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: BoxProblem,
}

/// What is wrong with a file of boxes. Boxes count from 0 here, and from 1 in messages, as labels do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoxProblem {
    /// The system could not read it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Its name tells no format that is read.
    #[error("boxes are read from .csv, .json and .mrk.json")]
    Kind,
    /// It is longer than any list of boxes.
    #[error("is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// It is not text.
    #[error("is no text in UTF-8")]
    Text,
    /// It is not in its format.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A table has other columns.
    #[error("line 1: columns are {found}; x0,y0,x1,y1 or x0,y0,z0,x1,y1,z1 expected, each once")]
    Columns {
        /// The first line.
        found: String,
    },
    /// A line has more or fewer fields than the first one.
    #[error("box {}: {found} fields; {expected} expected", index + 1)]
    Fields {
        /// Which box.
        index: usize,
        /// Number of fields.
        found: usize,
        /// Number of columns.
        expected: usize,
    },
    /// A field is no finite number.
    #[error("box {}: {field} is '{found}', not a finite number", index + 1)]
    Number {
        /// Which box.
        index: usize,
        /// Which of its numbers.
        field: &'static str,
        /// What is there.
        found: String,
    },
    /// A region of interest has a field that cannot be used.
    #[error("markup {}: {field} is {found}; {expected} expected", index + 1)]
    Markup {
        /// Which of all markups in the file.
        index: usize,
        /// Name of the field.
        field: &'static str,
        /// What is there.
        found: String,
        /// What can be used.
        expected: &'static str,
    },
    /// Some boxes are in an image and some in a volume.
    #[error("some boxes have z0 and z1, and some have not")]
    Mixed,
    /// There is none.
    #[error("no box is in it")]
    Empty,
    /// There are more than labels.
    #[error("more than {MAX_BOXES} boxes")]
    TooMany,
}
