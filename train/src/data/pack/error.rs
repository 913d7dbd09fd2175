use std::path::PathBuf;

/// Why a pack cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {field}: {problem}", path.display())]
pub struct PackError {
    /// The file.
    pub path: PathBuf,
    /// The part of it, or the setting, that is to blame.
    pub field: String,
    /// What is wrong.
    pub problem: PackProblem,
}

/// What is wrong with a pack.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackProblem {
    /// The system could not read the file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is not what was written.
    #[error("the bytes have another digest than when they were written")]
    Digest,
    /// An index that is no JSON of its form.
    #[error(transparent)]
    Index(#[from] serde_json::Error),
    /// A value out of its bounds.
    #[error("{found}; {expected} expected")]
    Value {
        /// Value found.
        found: String,
        /// What is accepted, in words.
        expected: String,
    },
    /// A picture that is no lossless JPEG XL of its size.
    #[error("{0}")]
    Picture(String),
    /// Labels that are not as many as they should be.
    #[error("damaged: {0}")]
    Labels(String),
    /// A slice that another shard has, too.
    #[error("also in {}", .0.display())]
    Twice(PathBuf),
}

impl PackProblem {
    pub(in crate::data) fn value(found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Value { found: found.to_string(), expected: expected.into() }
    }
}
