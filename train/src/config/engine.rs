//! How the network is computed on its device.

use serde::{Deserialize, Serialize};
use tch::Device;

/// How the network is computed on its device. What is left out, the device decides: a CUDA device takes what is fast
/// there, a CPU the plain form, which is as fast there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct EngineConfig {
    /// The encoder's attention in one operation, which keeps no scores. Not in 8 bits, which prescribe theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fused_attention: Option<bool>,
    /// Images as (N,H,W,C) in memory, in which the layers between convolutions have them anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels_last: Option<bool>,
    /// AdamW of all parameters in one kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fused_adamw: Option<bool>,
    /// Steps from one look at the losses to the next. In between nothing waits for a CUDA device. Ranks look at every
    /// step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_every: Option<u64>,
    /// cuDNN times its algorithms for each new shape and takes the fastest. Not where `deterministic`.
    pub cudnn_benchmark: bool,
    /// Only operations that give the same bits every time; one that has no such form ends the run with an error. On a
    /// CUDA device it needs CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment.
    pub deterministic: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            fused_attention: None,
            channels_last: None,
            fused_adamw: None,
            read_every: None,
            cudnn_benchmark: true,
            deterministic: false,
        }
    }
}

/// An [`EngineConfig`] on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    /// See [`EngineConfig::fused_attention`].
    pub fused_attention: bool,
    /// See [`EngineConfig::channels_last`].
    pub channels_last: bool,
    /// See [`EngineConfig::fused_adamw`].
    pub fused_adamw: bool,
    /// See [`EngineConfig::read_every`].
    pub read_every: u64,
}

/// Steps from one look at the losses to the next on a CUDA device: some seconds at most.
const READ_EVERY: u64 = 20;

impl EngineConfig {
    /// With what `device` decides.
    pub fn on(&self, device: Device) -> Engine {
        let cuda = device.is_cuda();
        Engine {
            fused_attention: self.fused_attention.unwrap_or(cuda),
            channels_last: self.channels_last.unwrap_or(cuda),
            fused_adamw: self.fused_adamw.unwrap_or(cuda),
            read_every: self.read_every.unwrap_or(if cuda { READ_EVERY } else { 1 }),
        }
    }
}
