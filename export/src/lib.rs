//! From a LiteMedSAM checkpoint to ONNX graphs and a model bundle, without Python or PyTorch.
//!
//! [`checkpoint`] reads the published weights, [`onnx`] builds the two graphs from them, [`bundle`] puts the graphs and
//! a manifest into the one file that [`umedsam::Model`] loads, [`quantize`] calibrates weights for 8
//! bits, [`validate`] judges whether a compressed bundle may stand in for another.

#![forbid(unsafe_code)]

pub mod bundle;
pub mod checkpoint;
mod content_key;
mod layers;
pub mod onnx;
mod plan;
pub mod quantize;
pub mod validate;

pub use content_key::program_key;
pub use plan::{FloatPrecision, Plan};
