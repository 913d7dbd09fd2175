//! Running ONNX graphs: fused blocks with kernels of our own, and tract for everything else.

#[cfg(feature = "runtime")]
mod calls;
#[cfg(feature = "runtime")]
mod constant;
#[cfg(feature = "runtime")]
mod engine;
#[cfg(feature = "runtime")]
pub mod functions;
#[cfg(feature = "tract")]
mod inline;
mod kernels;
#[cfg(feature = "runtime")]
mod onnx;
#[cfg(feature = "runtime")]
mod ops;
#[cfg(feature = "runtime")]
mod program;
mod quantize;
#[cfg(feature = "tract")]
mod tract;
#[cfg(feature = "runtime")]
mod workers;

#[cfg(feature = "runtime")]
pub use engine::{Execution, Graph, GraphOptions};
#[cfg(feature = "tract")]
pub use inline::{InlineError, inline_functions};
pub use kernels::Kernels;
pub use quantize::quantize_weights;
