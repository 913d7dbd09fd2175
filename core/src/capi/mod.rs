//! The C ABI: `include/umedsam.h` is generated from this module by cbindgen, and `capi/header.sh` compares the two.
//!
//! Comments here are written for the reader of that header. Handles lock themselves without waiting, so that a call
//! from a second thread, or from a callback of the same session, gets an error instead of undefined behaviour.
#![allow(unsafe_code, reason = "pointers of the caller")]
#![allow(non_camel_case_types, reason = "names of C")]
#![allow(clippy::missing_safety_doc, reason = "stated once for all calls, at the head of the header")]
#![warn(clippy::undocumented_unsafe_blocks)]

mod image;
mod model;
mod options;
mod pointers;
mod segment;
mod session;
mod slices;
mod status;
mod uncertainty;
mod volume;

pub use image::{umedsam_image, umedsam_pixel_type, umedsam_window, umedsam_window_kind};
pub use model::{
    umedsam_model, umedsam_model_bundled, umedsam_model_free, umedsam_model_from_bytes, umedsam_model_from_static,
    umedsam_model_load, umedsam_model_name, umedsam_model_validation, umedsam_validation,
};
pub use options::{
    umedsam_options, umedsam_options_free, umedsam_options_new, umedsam_options_set_max_batch,
    umedsam_options_set_precision, umedsam_options_set_threads, umedsam_precision,
};
pub use segment::{umedsam_box, umedsam_embedding_mask_bytes, umedsam_embedding_size, umedsam_segment};
pub use session::{
    umedsam_embedding, umedsam_embedding_free, umedsam_embedding_new, umedsam_encode, umedsam_memory, umedsam_session,
    umedsam_session_free, umedsam_session_memory, umedsam_session_new, umedsam_session_set_cache,
};
pub use status::{umedsam_last_error_message, umedsam_status};
pub use uncertainty::{umedsam_segment_uncertain, umedsam_uncertainty, umedsam_uncertainty_default};
pub use volume::{
    umedsam_progress_fn, umedsam_slice_fn, umedsam_volume, umedsam_volume_free, umedsam_volume_label_count,
    umedsam_volume_new, umedsam_volume_segment, umedsam_volume_set_cache_bytes, umedsam_volume_set_middle_start,
    umedsam_volume_set_progress, umedsam_volume_set_slices, umedsam_volume_set_upstream_rounding,
    umedsam_volume_set_voxels, umedsam_volume_set_window, umedsam_voxel_box,
};

use std::ffi::c_char;

/// Version of this interface. Calls, constants and status codes may be added under one version; what is there keeps its
/// meaning.
pub const UMEDSAM_ABI_VERSION: u32 = 1;

/// Floats in the logits of one box: 256 rows of 256.
pub const UMEDSAM_LOGITS_LEN: usize = 65536;

const _: () = assert!(UMEDSAM_LOGITS_LEN == crate::postprocess::LOGITS_LEN);

/// The UMEDSAM_ABI_VERSION of the library that the program runs with. Compare it with the header's before any other
/// call.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn umedsam_abi_version() -> u32 {
    UMEDSAM_ABI_VERSION
}

/// The library's version, such as "0.1.0". It is never freed.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn umedsam_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}
