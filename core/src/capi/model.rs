//! Models.

use std::ffi::{CString, c_char, c_void};
use std::prelude::v1::*;
use std::ptr::{null, null_mut};

use super::pointers::{file_path, free, reference, result, values};
use super::status::{Failure, call, umedsam_status};
use crate::{Model, ValidationStatus};

/// A checked model. It never changes, and any number of threads may use it at once.
#[derive(Debug)]
pub struct umedsam_model {
    pub(super) model: Model,
    name: CString,
}

impl umedsam_model {
    fn into_handle(model: Model) -> *mut Self {
        let name = model.manifest().name.replace('\0', "");
        Box::into_raw(Box::new(Self { model, name: CString::new(name).unwrap_or_default() }))
    }
}

/// What the model says of the accuracy gate that models pass before they are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum umedsam_validation {
    /// It has no report that this library can read.
    Absent = 0,
    /// It passed.
    Passed = 1,
    /// It was refused.
    Refused = 2,
    /// Its report is of other weights.
    Other = 3,
}

/// Gets the model that is part of the library. It returns UMEDSAM_STATUS_UNSUPPORTED if the library was built without
/// one. Free it with umedsam_model_free.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_model_bundled(model: *mut *mut umedsam_model) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let place = unsafe { result(model, null_mut(), "model") }?;
        *place = umedsam_model::into_handle(bundled()?);
        Ok(())
    })
}

#[cfg(feature = "bundled")]
fn bundled() -> Result<Model, Failure> {
    Ok(Model::bundled()?)
}

#[cfg(not(feature = "bundled"))]
fn bundled() -> Result<Model, Failure> {
    Err(Failure::new(umedsam_status::Unsupported, "this library was built without a model (feature `bundled`)"))
}

/// Reads and checks a model file (.umedsam). `path` is a string as the system's calls for files take it; on Windows it
/// is UTF-8. Free the model with umedsam_model_free.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_model_load(path: *const c_char, model: *mut *mut umedsam_model) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (place, path) = unsafe { (result(model, null_mut(), "model")?, file_path(path, "path")?) };
        *place = umedsam_model::into_handle(Model::load(path)?);
        Ok(())
    })
}

/// Checks a model file that is in memory, and copies it: `bytes` may be freed afterwards. Free the model with
/// umedsam_model_free.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_model_from_bytes(
    bytes: *const c_void,
    size: usize,
    model: *mut *mut umedsam_model,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (place, bytes) =
            unsafe { (result(model, null_mut(), "model")?, values(bytes.cast::<u8>(), size, "bytes")?) };
        let mut copy = crate::memory::with_room(size)?;
        copy.extend_from_slice(bytes);
        *place = umedsam_model::into_handle(Model::from_bytes(copy)?);
        Ok(())
    })
}

/// Checks a model that is part of the program, or mapped into memory as long as it runs: `bytes` must stay, unchanged,
/// until the program ends. Nothing is copied; weights are read there when a session is made. Free the model with
/// umedsam_model_free.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_model_from_static(
    bytes: *const c_void,
    size: usize,
    model: *mut *mut umedsam_model,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (place, bytes) =
            unsafe { (result(model, null_mut(), "model")?, values(bytes.cast::<u8>(), size, "bytes")?) };
        *place = umedsam_model::into_handle(Model::from_static(bytes)?);
        Ok(())
    })
}

/// Gets the model's name, in UTF-8. It is part of the model, and valid as long as that.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_model_name(model: *const umedsam_model, name: *mut *const c_char) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (place, model) = unsafe { (result(name, null(), "name")?, reference(model, "model")?) };
        *place = model.name.as_ptr();
        Ok(())
    })
}

/// Gets what the model says of the accuracy gate.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_model_validation(
    model: *const umedsam_model,
    validation: *mut umedsam_validation,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (place, model) =
            unsafe { (result(validation, umedsam_validation::Absent, "validation")?, reference(model, "model")?) };
        *place = match model.model.validation() {
            ValidationStatus::Passed(_) => umedsam_validation::Passed,
            ValidationStatus::Refused(_) => umedsam_validation::Refused,
            ValidationStatus::OtherGraphs(_) => umedsam_validation::Other,
            ValidationStatus::OtherVersion(_) | ValidationStatus::Absent => umedsam_validation::Absent,
        };
        Ok(())
    })
}

/// Frees a model. NULL is passed over. Sessions that were made from it stay as they are.
///
/// Threads: any, once nobody uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_model_free(model: *mut umedsam_model) {
    // SAFETY: the caller's duty, at the head of the header.
    unsafe { free(model) }
}
