//! What the network is computed in.

use std::prelude::v1::*;

/// The precision that a session computes the network in: the number format of the operands of its matrix products. All
/// else, biases, norms and activation functions, is in f32 in every precision.
///
/// Every precision runs on every CPU and gives the same masks up to rounding. Which is the fastest depends on the CPU.
/// A model may mark blocks that lower precision would harm: they are in f32 in every precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
#[repr(u8)]
pub enum Precision {
    /// IEEE single precision.
    #[default]
    F32,
    /// bfloat16 (8 significant bits), accumulated in f32.
    Bf16,
    /// IEEE half precision (11 significant bits), accumulated in f32; on ARM cores with half-precision arithmetic
    /// (FEAT_FP16: Cortex-A55 and A76 on, Apple's) 32 products at a time are accumulated in f16 first. Values beyond
    /// ±65504 saturate.
    F16,
    /// Linear layers in 8-bit integers, accumulated in 32 bits: weights are quantized by output channel, activations by
    /// token while the network runs. Attention and the convolutions around depthwise ones, which 8 bits would harm, are
    /// in the floating-point precision that is the fastest on the CPU: bf16 on AMD's with AVX512-BF16 and ARM's with
    /// FEAT_BF16, f16 on ARM's with FEAT_FP16 alone, f32 on all others.
    Int8,
}

impl Precision {
    /// All of them, the most precise first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::Int8];

    const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Precision {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|p| p.name() == s);
        found.ok_or_else(|| format!("precision '{s}' is none of f32, f16, bf16, int8"))
    }
}
