//! Box-prompted segmentation of medical images with LiteMedSAM on devices without a GPU.
//!
//! A person draws a box around an object, and the library returns the object's mask, in images and in volumes:
//!
//! ```no_run
//! # #[cfg(feature = "runtime")] fn main() -> Result<(), umedsam::Error> {
//! use umedsam::{ImageView, Model, PixelBox, SessionOptions};
//!
//! let model = Model::load("lite-medsam.umedsam")?;
//! let mut session = model.session(&SessionOptions::new().with_threads(2))?;
//! let (width, height) = (640, 480);
//! let pixels = vec![0u8; width * height * 3];
//! let embedding = session.encode(&ImageView::rgb8(&pixels, width, height)?)?;
//! let masks = session.segment(&embedding, &[PixelBox::new(40.0, 60.0, 180.0, 210.0)])?;
//! println!("{} px, predicted IoU {:.2}", masks[0].area(), masks[0].predicted_iou());
//! # Ok(()) }
//! # #[cfg(not(feature = "runtime"))] fn main() {}
//! ```
//!
//! Without default features the crate is `no_std` + `alloc` and contains everything but inference: [`geometry`],
//! [`image`], [`intensity`], [`preprocess`], [`postprocess`], [`uncertainty`], [`volume`] and [`zoom`].
//!
//! What judges a model is not part of the library on a device. The feature `evaluation` adds it: `metrics`, scores
//! against the truth, `validation`, the report of the accuracy gate that a bundle carries, and `html` for reports. The feature `npz` adds
//! the files of the challenge.

#![no_std]
#![deny(unsafe_code)]

extern crate no_std_compat as std;

#[cfg(feature = "capi")]
pub mod capi;
mod error;
mod file_kind;
#[cfg(feature = "std")]
pub mod files;
pub mod geometry;
#[cfg(feature = "evaluation")]
pub mod html;
pub mod image;
pub mod intensity;
pub mod mask;
pub mod memory;
#[cfg(feature = "evaluation")]
pub mod metrics;
#[cfg(feature = "npz")]
pub mod npz;
pub mod postprocess;
#[cfg(feature = "kernels")]
mod precision;
pub mod preprocess;
pub mod resize;
#[cfg(feature = "kernels")]
pub mod runtime;
#[cfg(feature = "std")]
pub mod terminal;
pub mod uncertainty;
pub mod volume;
pub mod zoom;

#[cfg(feature = "runtime")]
mod bundle;
#[cfg(feature = "runtime")]
pub mod cache;
#[cfg(feature = "runtime")]
mod digest;
#[cfg(feature = "runtime")]
mod embedding;
#[cfg(feature = "runtime")]
mod picture;
#[cfg(feature = "runtime")]
mod session;
#[cfg(feature = "runtime")]
mod stopwatch;
#[cfg(feature = "runtime")]
mod storage;
#[cfg(all(feature = "evaluation", feature = "runtime"))]
pub mod validation;

#[cfg(feature = "runtime")]
pub use bundle::{ARCHITECTURE, BundleError, FORMAT_VERSION, Manifest, Model, encode_bundle, write_bundle};
#[cfg(feature = "runtime")]
pub use cache::{CacheOptions, EmbeddingCache};
#[cfg(feature = "runtime")]
pub use digest::{ContentKey, hex_digest};
#[cfg(feature = "runtime")]
pub use embedding::{EMBEDDING_BYTES, EMBEDDING_LEN, Embedding};
pub use error::Error;
pub use file_kind::FileKind;
pub use geometry::{Frame, MODEL_SIDE, ModelBox, PixelBox, Region, VolumeSize, VoxelBox};
pub use image::ImageView;
#[cfg(feature = "runtime")]
pub use picture::ImageSegmentation;
pub use postprocess::MaskLogits;
#[cfg(feature = "kernels")]
pub use precision::Precision;
#[cfg(feature = "runtime")]
pub use runtime::Execution;
#[cfg(feature = "runtime")]
pub use session::{Memory, Segmentation, Session, SessionOptions, Stats};
#[cfg(feature = "runtime")]
pub use storage::Storage;
pub use uncertainty::{Uncertain, UncertaintyOptions};
#[cfg(all(feature = "evaluation", feature = "runtime"))]
pub use validation::{Validation, ValidationStatus, Verdict};
#[cfg(feature = "runtime")]
pub use volume::VolumeOptions;
pub use volume::VolumeSegmentation;
pub use zoom::ZoomOptions;
