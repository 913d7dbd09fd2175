//! What was settled for weights when they were quantized, beside the weights themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a block is computed in instead of the session's precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FloatPrecision {
    /// The floats that the CPU is fastest in: bf16, f16 or f32. Of a block that has an 8-bit form.
    Fast,
    /// f32.
    F32,
}

/// The blocks that keep more precision than the rest, and the range of what reaches each layer in 8 bits.
///
/// It travels with the weights, in the metadata of their file, since it was chosen for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    blocks: BTreeMap<String, FloatPrecision>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ranges: BTreeMap<String, [f32; 2]>,
}

impl Plan {
    /// What a block, by its name in the graphs, is kept in, if not in the session's precision.
    pub fn block(&self, block: &str) -> Option<FloatPrecision> {
        self.blocks.get(block).copied()
    }

    /// Keeps a block in these floats.
    #[must_use]
    pub fn with_block(mut self, block: impl Into<String>, precision: FloatPrecision) -> Self {
        self.blocks.insert(block.into(), precision);
        self
    }

    /// The blocks that are kept in floats, by name.
    pub fn blocks(&self) -> impl Iterator<Item = (&str, FloatPrecision)> {
        self.blocks.iter().map(|(block, &precision)| (block.as_str(), precision))
    }

    /// With no block kept in floats.
    #[must_use]
    pub fn without_blocks(self) -> Self {
        Self { blocks: BTreeMap::new(), ..self }
    }

    /// The one range in which a format with fixed ranges rounds what reaches a layer, by the layer's name in the
    /// checkpoint; 0 is within. Our own 8-bit form measures ranges while it runs and needs none.
    pub fn range(&self, layer: &str) -> Option<[f32; 2]> {
        self.ranges.get(layer).copied()
    }

    /// With the range of what reaches a layer.
    #[must_use]
    pub fn with_range(mut self, layer: impl Into<String>, range: [f32; 2]) -> Self {
        self.ranges.insert(layer.into(), range);
        self
    }

    /// Whether nothing is settled.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.ranges.is_empty()
    }
}
