//! Running ONNX graphs: what tract does and what this library does.
//!
//! A model's graphs are calls of coarse functions ([`functions`]). [`Graph::load`] makes a program of them, in this
//! order:
//!
//! 1. Calls that depend on weights alone are replaced by the function's body, in standard operators
//!    ([`inline_functions`]).
//! 2. tract parses the ONNX file, infers types and shapes, and folds constants: f16 weights become f32, 8-bit weights of
//!    floating-point blocks are dequantized, tables are expanded.
//! 3. Every node that is left must be a call. One block is built for each, with its weights packed for the kernels of
//!    this CPU ([`Kernels`]) in the session's [`Precision`](crate::Precision).
//! 4. Buffers are assigned to the values that blocks pass on; a buffer is reused when its value has had its last reader.
//!
//! From then on tract has no part in it: [`Graph::run`] runs block after block, each with all threads, on memory that
//! was allocated before.
//!
//! A graph that contains anything else (standard operators between the calls, functions of another version) cannot
//! become such a program. In f32 [`Execution::Any`] falls back on tract for the whole graph: every call is replaced by
//! its body, and tract optimises and runs the standard operators, about three times slower and in twice the memory.
//! [`Graph::fallback`] says why. In other precisions, and with [`Execution::Fused`], loading fails instead. Tests
//! compare each block with the body of its function this way ([`Execution::Operators`]).

#[cfg(feature = "runtime")]
mod engine;
#[cfg(feature = "runtime")]
pub mod functions;
#[cfg(feature = "runtime")]
mod inline;
mod kernels;
#[cfg(feature = "runtime")]
mod ops;
#[cfg(feature = "runtime")]
mod program;
mod quantize;
#[cfg(feature = "runtime")]
mod workers;

#[cfg(feature = "runtime")]
pub use engine::{Execution, Graph, GraphOptions};
#[cfg(feature = "runtime")]
pub use inline::{InlineError, inline_functions};
pub use kernels::Kernels;
pub use quantize::quantize_weights;
