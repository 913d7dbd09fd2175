//! Building the ONNX graphs from the checkpoint's weights.
//!
//! The graphs are written in coarse **model-local functions** of the domain [`DOMAIN`] (`WindowAttention`, `MbConv`,
//! ...), each with a body of standard operators: any runtime that inlines functions runs the file, and a runtime that
//! knows the functions may run them fused.

mod body;
mod decoder;
mod decoder_functions;
mod encoder;
mod encoder_functions;
mod graph;
mod layout;
mod proto;

pub use body::{DOMAIN, DOMAIN_VERSION, OPSET};
use umedsam::Precision;

use crate::checkpoint::{Error as CheckpointError, Weights};

/// Why the graphs could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The weights are not those of the network.
    #[error(transparent)]
    Weights(#[from] CheckpointError),
    /// A weight beyond what 16 bits hold.
    #[error("tensor {tensor}: {value} is beyond the range of f16 (65504)")]
    F16Range {
        /// Name of the tensor.
        tensor: String,
        /// The value.
        value: f32,
    },
}

/// The two ONNX files of a model.
#[derive(Clone, Debug)]
pub struct Graphs {
    /// `image` (B,3,256,256), 0 to 1, to `embedding` (B,256,64,64).
    pub encoder: Vec<u8>,
    /// `embedding` (1,256,64,64) and `boxes` (N,4) to `logits` (N,256,256) and `iou` (N).
    pub decoder: Vec<u8>,
}

/// Builds both graphs, with the weights stored in the given precision.
pub fn build(weights: &Weights, precision: Precision) -> Result<Graphs, OnnxError> {
    Ok(Graphs { encoder: encoder::encoder(weights, precision)?, decoder: decoder::decoder(weights, precision)? })
}
