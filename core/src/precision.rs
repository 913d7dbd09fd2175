//! The number formats in which the network can be computed.

use std::prelude::v1::*;

use serde::{Deserialize, Serialize};

/// How the network's matrix products are computed; everything between them is in f32 always.
///
/// A model may name blocks that are in f32 in each of them, those that lower precision would break.
///
/// Every precision runs on every CPU and gives the same results up to rounding; which is faster depends on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Products of 16-bit floats (8 bits of precision), summed in f32.
    Bf16,
    /// Products of half floats (11 bits of precision, at most 65504), summed in f32; on ARM cores with half floats
    /// (FEAT_FP16: Cortex-A55 and A76 on, Apple's) 32 of them at a time in half floats first. What would be greater than
    /// the greatest half is that.
    F16,
    /// Linear layers in integers of 8 bits: weights rounded by output channel, activations by token, summed in 32 bits.
    /// What that would break, attention and the convolutions around depthwise ones, is in the floats that the CPU is
    /// fastest in: bf16, f16 or f32.
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
        let found = Self::ALL.into_iter().find(|a| a.name() == s);
        found.ok_or_else(|| format!("precision '{s}' is none of f32, f16, bf16, int8"))
    }
}
