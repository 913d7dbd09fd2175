//! How the network is computed on its device.

use serde::{Deserialize, Serialize};
use tch::Device;

/// How the network is computed on its device. The default of a setting that is left out depends on the device: a CUDA
/// device uses what is fast there, a CPU the plain form, which is as fast there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct EngineConfig {
    /// Whether the encoder's attention is one operation, which does not store the scores. It has no effect under
    /// quantization, whose attention is prescribed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fused_attention: Option<bool>,
    /// Whether images are (N,H,W,C) in memory, as the layers between the convolutions need them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels_last: Option<bool>,
    /// Whether AdamW updates all parameters in one kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fused_adamw: Option<bool>,
    /// Number of steps after which the losses are read back. Between these, nothing waits for a CUDA device. Runs of
    /// several ranks read every step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_every: Option<u64>,
    /// Whether cuDNN times its algorithms for each new shape and takes the fastest: for the whole model in bf16 on an H100
    /// the first step takes more than 10 s then. It has no effect if `deterministic`.
    pub cudnn_benchmark: bool,
    /// Whether only operations are used that give the same bits every time. An operation that has no such form ends the
    /// run with an error. On a CUDA device the environment must contain CUBLAS_WORKSPACE_CONFIG=:4096:8.
    pub deterministic: bool,
}

/// An [`EngineConfig`] with the defaults of a device.
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

/// Default of [`EngineConfig::read_every`] on a CUDA device: a few seconds at most.
const READ_EVERY: u64 = 20;

impl EngineConfig {
    /// The settings, with the defaults of `device`.
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
