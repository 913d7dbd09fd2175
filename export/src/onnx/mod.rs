//! Building the ONNX graphs from the checkpoint's weights.
//!
//! The graphs are written in coarse **model-local functions** of one domain (`WindowAttention`, `MbConv`,
//! ...: [`umedsam::runtime::functions`]), each with a body of standard operators: any runtime that inlines functions runs the file, and a runtime that
//! knows the functions may run them fused.

mod body;
mod decoder;
mod decoder_functions;
mod encoder;
mod encoder_functions;
#[cfg(test)]
mod function_tests;
mod graph;
mod layout;
mod proto;
mod qdq;

pub use body::OPSET;
pub(crate) use encoder::{STAGES, Stage};
use umedsam::Storage;
use umedsam::runtime::inline_functions;

use crate::checkpoint::{Error as CheckpointError, Weights};
use crate::layers;
use crate::plan::FloatPrecision;

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
    /// The weights were not quantized: what reaches a layer has no range.
    #[error("layer {layer} has no range of activations; `quantize` finds them")]
    NoRange {
        /// The layer.
        layer: String,
    },
    /// A graph lacks a layer that is to be in 8 bits.
    #[error("layer {layer} is not in the graph")]
    NoLayer {
        /// The layer.
        layer: String,
    },
    /// A graph could not be written in standard operators.
    #[error(transparent)]
    Inline(#[from] umedsam::runtime::InlineError),
    /// A graph could not be read back.
    #[error("not an ONNX model: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The plan of the weights names a block that the graphs don't have, or that has no 8 bits to be kept out of.
    #[error(
        "the weights' plan keeps block '{block}' in {precision:?} precision, which is no block that this holds for"
    )]
    Plan {
        /// The block.
        block: String,
        /// What is planned for it.
        precision: FloatPrecision,
    },
}

/// A call of one of our functions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// Its name, by which a [`Plan`](crate::Plan) knows it.
    pub name: String,
    /// The function, in the form that it is called in.
    pub function: String,
    /// Whether it can be computed in 8 bits.
    pub has_int8: bool,
    /// Products of two numbers that it takes, for an image in the encoder and a box in the decoder.
    pub products: u64,
}

/// The two ONNX files of a model.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Graphs {
    /// `image` (B,3,256,256), 0 to 1, to `embedding` (B,256,64,64).
    pub encoder: Vec<u8>,
    /// `embedding` (1,256,64,64) and `boxes` (N,4) to `logits` (N,256,256) and `iou` (N).
    pub decoder: Vec<u8>,
    /// What they call, in order.
    pub blocks: Vec<Block>,
}

/// Builds both graphs, with the weights stored in this way, but for what their plan keeps out of it.
pub fn build(weights: &Weights, storage: Storage) -> Result<Graphs, OnnxError> {
    let encoder = encoder::encoder(weights, storage)?;
    let decoder = decoder::decoder(weights, storage)?;
    let blocks = [encoder.blocks, decoder.blocks].concat();
    for (block, precision) in weights.plan().blocks() {
        let known = blocks.iter().any(|b| b.name == block && (b.has_int8 || precision == FloatPrecision::F32));
        if !known {
            return Err(OnnxError::Plan { block: block.into(), precision });
        }
    }
    Ok(Graphs { encoder: encoder.onnx, decoder: decoder.onnx, blocks })
}

/// Builds both graphs in standard operators, int8 by QuantizeLinear and DequantizeLinear around the layers that
/// [`Storage::Int8`] computes in 8 bits, in the ranges that [`quantize`](crate::quantize) found for `weights`. The
/// other weights are in f32.
///
/// # Errors
/// [`OnnxError::NoRange`] if the weights were not quantized, [`OnnxError::NoLayer`] if a graph lacks one of the layers.
pub fn build_qdq(weights: &Weights) -> Result<Graphs, OnnxError> {
    let Graphs { encoder, decoder, blocks } = build(weights, Storage::F32)?;
    let layers = layers::layers();
    let write = |graph: &[u8], encoder: bool| {
        qdq::qdq(&inline_functions(graph)?, layers.iter().filter(|layer| layer.encoder == encoder), weights.plan())
    };
    Ok(Graphs { encoder: write(&encoder, true)?, decoder: write(&decoder, false)?, blocks })
}
