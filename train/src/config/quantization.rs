//! Training for 8 bits.

use serde::{Deserialize, Serialize};

/// Training for 8 bits: the network is computed as a model of `--storage int8` computes it on a device, its gradients
/// as if nothing were rounded, and the network that the training began from teaches it in f32. Tested on a CPU; no CUDA
/// device has run it yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct QuantizationConfig {
    /// Whether.
    pub enabled: bool,
    /// Beginnings of the names of layers that stay in floats.
    pub keep: Vec<String>,
    /// The floats in which the device multiplies what is not in 8 bits.
    pub floats: Floats,
}

impl QuantizationConfig {
    /// Whether the layer of this name stays in floats.
    pub fn keeps(&self, name: &str) -> bool {
        self.keep.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// Floats that a device multiplies; sums are in f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Floats {
    /// Single precision: most CPUs.
    #[default]
    F32,
    /// bfloat16: CPUs with AVX512-BF16, or ARM's BF16.
    Bf16,
}
