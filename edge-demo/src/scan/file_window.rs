//! The window that a file brings.

/// How a file says that its values are shown.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FileWindow {
    /// The values that become black and white.
    Linear(f64, f64),
    /// By `255 / (1 + exp(-4 (v - center) / width))`.
    Sigmoid {
        /// The value that becomes half bright.
        center: f64,
        /// Above 0.
        width: f64,
    },
    /// By a table.
    Table {
        /// The value of the first entry.
        first: f64,
        /// What values become, from the first on; others become the nearest.
        shown: Vec<u8>,
    },
}

impl FileWindow {
    /// The window in words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Linear(low, high) => format!("window {low} to {high}, the file's own"),
            Self::Sigmoid { center, width } => {
                format!("sigmoid window of center {center} and width {width}, the file's own")
            }
            Self::Table { first, shown } => format!("{} values from {first} on by the file's own VOI LUT", shown.len()),
        }
    }

    /// A value in 8 bits.
    pub(super) fn show(&self, value: f64) -> u8 {
        match self {
            Self::Linear(low, high) => ((value - low) / (high - low) * 255.0) as u8,
            Self::Sigmoid { center, width } => (255.0 / (1.0 + (-4.0 * (value - center) / width).exp())) as u8,
            Self::Table { first, shown } => shown[((value - first).max(0.0) as usize).min(shown.len() - 1)],
        }
    }
}
