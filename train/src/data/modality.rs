//! Names of modalities.

use std::fmt;

/// A modality, as file names or a configuration spell it; compared without case and hyphens.
#[derive(Clone, Debug)]
pub struct Modality(String);

impl Modality {
    /// A modality of this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as it was spelled.
    pub fn name(&self) -> &str {
        &self.0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_without_case_and_hyphens() {
        assert_eq!(Modality::new("XRay"), Modality::new("X-Ray"));
        assert_ne!(Modality::new("CT"), Modality::new("OCT"));
        assert!(Modality::new("ct") < Modality::new("MR"));
    }
}
