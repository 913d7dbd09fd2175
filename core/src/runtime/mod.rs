//! Running ONNX graphs: fused blocks with kernels of our own, and tract for everything else.

mod engine;
mod inline;
mod kernels;
mod ops;
mod program;
mod quantize;
mod workers;

pub use engine::{Graph, GraphOptions};
pub use inline::{InlineError, inline_functions};
pub use kernels::Kernels;
pub use quantize::quantize_weights;
