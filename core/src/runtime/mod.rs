//! Running ONNX graphs with tract.

mod engine;
mod inline;

pub(crate) use engine::{Graph, floats, tensor};
pub use inline::{InlineError, inline_functions};
