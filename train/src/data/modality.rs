//! What a case is of, by its file name: `2DBox_<modality>_<rest>.npz`.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A modality, as the file name spells it; compared without case and hyphens.
#[derive(Clone, Debug)]
pub struct Modality(String);

impl Modality {
    /// A modality of this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    fn key(&self) -> impl Iterator<Item = char> {
        self.0.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase)
    }
}

impl PartialEq for Modality {
    fn eq(&self, other: &Self) -> bool {
        self.key().eq(other.key())
    }
}

impl Eq for Modality {}

impl PartialOrd for Modality {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Modality {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(other.key())
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Modality and number of dimensions: a row of the tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Group {
    /// As in the file name; "other" where that has none.
    pub modality: String,
    /// 2 or 3.
    pub dimensions: u8,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}D", self.modality, self.dimensions)
    }
}

/// The modality in a file's name, or "other".
pub(super) fn modality(path: &Path) -> Modality {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut parts = stem.split('_');
    match (parts.next(), parts.next()) {
        (Some(kind), Some(name)) if kind.ends_with("DBox") && !name.is_empty() => Modality::new(name),
        _ => Modality::new("other"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_without_case_and_hyphens() {
        assert_eq!(modality(Path::new("a/2DBox_XRay_1.npz")), Modality::new("X-Ray"));
        assert_eq!(modality(Path::new("3DBox_CT_STS_2.npz")).to_string(), "CT");
        assert_eq!(modality(Path::new("scan.npz")), Modality::new("other"));
        assert_ne!(Modality::new("CT"), Modality::new("OCT"));
    }
}
