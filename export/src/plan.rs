//! Which blocks of the network keep more precision than the rest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a block is computed in instead of the session's arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Floats {
    /// The floats that the CPU is fastest in: bf16, f16 or f32. Of a block that has an 8-bit form.
    Fast,
    /// f32.
    F32,
}

/// The blocks, by their names in the graphs, that are kept out of the session's arithmetic.
///
/// It travels with the weights, in the metadata of their file, since it was chosen for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Plan(BTreeMap<String, Floats>);

impl Plan {
    /// What is planned for a block, if anything.
    pub fn get(&self, block: &str) -> Option<Floats> {
        self.0.get(block).copied()
    }

    /// Keeps a block in these floats, or lets it go.
    pub fn set(&mut self, block: &str, floats: Option<Floats>) {
        match floats {
            Some(floats) => self.0.insert(block.into(), floats),
            None => self.0.remove(block),
        };
    }

    /// With a block in these floats.
    #[must_use]
    pub fn with(mut self, block: &str, floats: Floats) -> Self {
        self.set(block, Some(floats));
        self
    }

    /// Whether every block is left to the session.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The blocks, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Floats)> {
        self.0.iter().map(|(block, &floats)| (block.as_str(), floats))
    }
}
