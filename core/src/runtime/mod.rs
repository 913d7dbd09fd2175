//! Running ONNX graphs: what this library does and what tract does.
//!
//! A model's graphs are calls of coarse functions ([`functions`]). [`Graph::load`] makes a program of them:
//!
//! 1. It reads the calls and computes the constants that they take: f16 weights become f32, 8-bit weights of
//!    floating-point blocks are dequantized, tables are expanded, cells get their position encoding.
//! 2. One block is built for each call, with its weights packed for the kernels of this CPU ([`Kernels`]) in the session's
//!    [`Precision`](crate::Precision).
//! 3. The values that blocks pass on get places in one memory; a place is used again when its value has had its last
//!    reader.
//!
//! [`Graph::run`] then runs block after block, each with all threads. Nothing changes a program after it was built, so all
//! sessions of a model run the same one ([`Model::session`](crate::Model::session)), each in a memory of its own that its
//! encoder and its decoder share.
//!
//! tract takes part only with the feature `tract`, and only for graphs that hold anything else. It parses them, replaces
//! calls that depend on weights alone by the function's body, infers types and shapes and folds constants. If calls are
//! all that is left, they become such a program, too. Otherwise, in f32, [`Execution::Any`] falls back on tract for the
//! whole graph: every call is replaced by its body, and tract optimises and runs the standard operators, about three times
//! slower and in twice the memory. [`Graph::fallback`] says why. In other precisions, with [`Execution::Fused`] and without
//! the feature, loading fails and names the node. Tests compare each block with the body of its function
//! ([`Execution::Operators`]).

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
mod layout;
#[cfg(all(feature = "runtime", target_os = "unknown", target_feature = "atomics"))]
mod lent;
#[cfg(feature = "runtime")]
mod onnx;
#[cfg(feature = "runtime")]
mod ops;
#[cfg(feature = "runtime")]
mod program;
mod quantize;
#[cfg(feature = "runtime")]
mod run;
#[cfg(feature = "runtime")]
mod shared;
#[cfg(feature = "tract")]
mod tract;
#[cfg(feature = "runtime")]
mod workers;

#[cfg(feature = "runtime")]
pub(crate) use engine::Stage;
#[cfg(feature = "runtime")]
pub use engine::{Execution, Graph, GraphOptions};
#[cfg(feature = "tract")]
pub use inline::{InlineError, inline_functions};
pub use kernels::Kernels;
#[cfg(all(feature = "runtime", target_os = "unknown", target_feature = "atomics"))]
pub use lent::lend_thread;
pub use quantize::quantize_weights;
#[cfg(feature = "runtime")]
pub(crate) use shared::Shared;
#[cfg(feature = "runtime")]
pub(crate) use workers::Workspace;
