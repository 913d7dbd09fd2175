//! Training for 8 bits.

use serde::{Deserialize, Serialize};

use super::Precision;

/// Quantization-aware training: the forward pass is computed step by step as a device computes a model of
/// `--storage int8`, the gradients pass as if nothing were rounded (straight-through), and the network that the training
/// began from teaches it in f32. Tested on a CPU; no CUDA device has run it yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct QuantizationConfig {
    /// Whether the network is trained so.
    pub enabled: bool,
    /// Layers whose names begin with one of these stay in floating point.
    pub keep: Vec<String>,
    /// The precision in which the device computes the layers that are not in 8 bits: `f32`, as most CPUs do, or `bf16`, as
    /// CPUs with AVX512-BF16 or ARM's BF16 do.
    pub precision: Precision,
}

impl Default for QuantizationConfig {
    fn default() -> Self {
        Self { enabled: false, keep: Vec::new(), precision: Precision::F32 }
    }
}

impl QuantizationConfig {
    /// Whether the layer of this name stays in floating point.
    pub fn keeps(&self, name: &str) -> bool {
        self.keep.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}
