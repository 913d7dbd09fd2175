//! Why something is not done.

use umedsam::terminal;

/// Why an image is not read, or what is asked of it not done.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// What was given cannot be used: why, in words for whom it came from.
    #[error("{0}")]
    Asked(String),
    /// The network or memory failed.
    #[error(transparent)]
    Failed(#[from] umedsam::Error),
    /// A file could not be written.
    #[error("{}", terminal::chain(&**.0))]
    Unwritten(anyhow::Error),
}

impl Unfit {
    pub(super) fn asked(words: impl Into<String>) -> Self {
        Self::Asked(words.into())
    }
}
