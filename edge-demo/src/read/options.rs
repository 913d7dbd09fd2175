//! What a reader is told.

use super::Problem;

/// What to read of what is there, and within which memory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Greatest number of bytes that values may take, and that one compressed file may unfold to.
    pub memory: u64,
    /// The volume of a 4D file, or the frame of a multi-frame one, from 0.
    pub frame: Option<usize>,
    /// The series of several: its number in the list, from 1, or its SeriesInstanceUID, or the end of that; up to four digits are
    /// a number.
    pub series: Option<String>,
    /// Accept series with slices missing; the spacing is the usual one.
    pub gaps: bool,
}

impl ReadOptions {
    /// 2 GiB of memory, and no choice made.
    pub const fn new() -> Self {
        Self { memory: 2 << 30, frame: None, series: None, gaps: false }
    }

    /// Sets the greatest number of bytes.
    #[must_use]
    pub fn with_memory(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    /// Chooses a frame or volume, from 0.
    #[must_use]
    pub fn with_frame(self, frame: impl Into<Option<usize>>) -> Self {
        Self { frame: frame.into(), ..self }
    }

    /// Chooses a series.
    #[must_use]
    pub fn with_series(self, series: impl Into<Option<String>>) -> Self {
        Self { series: series.into(), ..self }
    }

    /// Accepts series with slices missing.
    #[must_use]
    pub fn with_gaps(self) -> Self {
        Self { gaps: true, ..self }
    }

    pub(crate) fn allow(&self, bytes: u64) -> Result<(), Problem> {
        within(bytes, self.memory)
    }
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Refuses more bytes than are allowed.
pub(crate) fn within(bytes: u64, max: u64) -> Result<(), Problem> {
    if bytes > max { Err(Problem::TooLarge { bytes, max }) } else { Ok(()) }
}
