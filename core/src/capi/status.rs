//! How calls end: a status, a message for the calling thread, and never a panic.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::prelude::v1::*;

use crate::{BundleError, Error};

/// How a call ended. The numbers are fixed; later versions of the library may add more, so treat an unknown number as a
/// failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum umedsam_status {
    /// The call did what it says.
    Ok = 0,
    /// A pointer that must not be NULL is NULL, or is not aligned for its type.
    Pointer = 1,
    /// A buffer of the caller is too small.
    BufferSize = 2,
    /// An argument has a value that the call does not know.
    Argument = 3,
    /// The size of an image, its row stride or a window is out of bounds.
    Image = 4,
    /// A box is not finite, is reversed, or does not touch the image; or there are too many.
    Box = 5,
    /// A volume has a size out of bounds, or a slice of another size.
    Volume = 6,
    /// A file cannot be read.
    File = 7,
    /// A file is not a model that this library runs, or it is damaged.
    Model = 8,
    /// An embedding is empty, or another model made it.
    Embedding = 9,
    /// The network's answer to a box is not a finite number.
    NotFinite = 10,
    /// There is no memory for a large buffer.
    Memory = 11,
    /// The progress callback ended the work.
    Cancelled = 12,
    /// The slice callback reported a failure.
    Callback = 13,
    /// The network could not be loaded or run.
    Engine = 14,
    /// This build of the library lacks what was asked for.
    Unsupported = 15,
    /// A handle is in use by another call: of another thread, or one that is waiting for this callback.
    Busy = 16,
    /// The library has a fault, which it kept from spreading to the program; or a handle was in use when that happened.
    /// Free the handles of the call.
    Panic = 17,
}

/// Why a call ends without a result.
#[derive(Debug)]
pub(super) struct Failure {
    status: umedsam_status,
    message: String,
}

impl Failure {
    pub(super) fn new(status: umedsam_status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::BufferSize { .. } => umedsam_status::BufferSize,
            Error::ImageSize { .. }
            | Error::Stride { .. }
            | Error::CropOutside { .. }
            | Error::PixelNotFinite { .. }
            | Error::Window { .. } => umedsam_status::Image,
            Error::BoxNotFinite { .. }
            | Error::BoxReversed { .. }
            | Error::BoxOutside { .. }
            | Error::TooManyBoxes { .. } => umedsam_status::Box,
            Error::VolumeDepth { .. }
            | Error::SliceOutside { .. }
            | Error::SliceSize { .. }
            | Error::Spacing { .. } => umedsam_status::Volume,
            Error::Uncertainty { .. } => umedsam_status::Argument,
            Error::Memory { .. } => umedsam_status::Memory,
            Error::Cancelled { .. } => umedsam_status::Cancelled,
            Error::Embedding(_) | Error::EmbeddingLength { .. } | Error::EmbeddingNotFinite { .. } => {
                umedsam_status::Embedding
            }
            Error::NotFinite { .. } => umedsam_status::NotFinite,
            Error::Bundle(BundleError::Io { .. }) | Error::CacheFolder { .. } => umedsam_status::File,
            Error::Bundle(_) => umedsam_status::Model,
            Error::NotRequested { .. } | Error::NotSupplied { .. } | Error::Input { .. } | Error::Engine { .. } => {
                umedsam_status::Engine
            }
        };
        Self { status, message: error.to_string() }
    }
}

thread_local! {
    static LAST_MESSAGE: RefCell<CString> = RefCell::default();
}

/// Runs the body of a call. Panics end here, and the message is kept for the thread.
pub(super) fn call(body: impl FnOnce() -> Result<(), Failure>) -> umedsam_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => umedsam_status::Ok,
        Ok(Err(failure)) => remember(failure),
        Err(payload) => remember(Failure::new(umedsam_status::Panic, format!("panic: {}", text_of(payload)))),
    }
}

/// As [`call`], for what returns nothing and cannot fail otherwise.
pub(super) fn quietly(body: impl FnOnce()) {
    call(|| {
        body();
        Ok(())
    });
}

fn remember(failure: Failure) -> umedsam_status {
    let mut bytes = failure.message.into_bytes();
    bytes.retain(|&b| b != 0);
    // A thread that is ending has no message any more.
    let _ = LAST_MESSAGE.try_with(|last| *last.borrow_mut() = CString::new(bytes).unwrap_or_default());
    failure.status
}

fn text_of(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => match other.downcast::<&'static str>() {
            Ok(text) => (*text).to_owned(),
            Err(other) => {
                // To drop a payload of unknown type may panic again.
                std::mem::forget(other);
                "of unknown kind".to_owned()
            }
        },
    }
}

/// The message of the last call of this thread that failed, in UTF-8, or "" if none did. The pointer is valid until the
/// next call of this thread that fails, and is not freed by the caller.
///
/// Threads: any; each has its own message.
#[unsafe(no_mangle)]
pub extern "C" fn umedsam_last_error_message() -> *const c_char {
    LAST_MESSAGE.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}
