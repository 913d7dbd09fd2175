//! What a model's weights are stored in.

use std::prelude::v1::*;

use serde::{Deserialize, Serialize};

use crate::Precision;

/// The number format that a model's weights are stored in. It decides the size of the file; a session may compute in
/// any [`Precision`], whatever the weights are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Storage {
    /// IEEE single precision.
    F32,
    /// IEEE half precision; tensors of fewer than 1024 values in f32.
    F16,
    /// 8-bit integers with a scale for each output channel; the few weights that this would harm are in f16.
    Int8,
}

impl Storage {
    /// The precision that a session computes such weights in unless its options name another.
    pub const fn precision(self) -> Precision {
        match self {
            Self::Int8 => Precision::Int8,
            Self::F32 | Self::F16 => Precision::F32,
        }
    }
}

impl std::fmt::Display for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        })
    }
}

impl std::str::FromStr for Storage {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "int8" => Ok(Self::Int8),
            _ => Err(format!("storage '{s}' is none of f32, f16, int8")),
        }
    }
}
