//! How a session is set up.

use std::prelude::v1::*;
use std::ptr::null_mut;
use std::sync::Mutex;

use super::pointers::{free, lock, reference, result};
use super::status::{Failure, call, umedsam_status};
use crate::{Precision, SessionOptions};

/// How the network's matrix products are computed. Each runs on every CPU and gives the same masks up to rounding;
/// which is fastest depends on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum umedsam_precision {
    /// As the model was made: in 8 bits if its weights are, in 32-bit floats otherwise.
    Model = 0,
    /// 32-bit floats.
    F32 = 1,
    /// Products of half floats.
    F16 = 2,
    /// Products of bfloat16, summed in 32-bit floats.
    Bf16 = 3,
    /// Linear layers in 8-bit integers, summed in 32 bits.
    Int8 = 4,
}

/// Options of a session. New ones get setters here, so that programs built against an older header keep running.
#[derive(Debug)]
pub struct umedsam_options(Mutex<SessionOptions>);

impl umedsam_options {
    pub(super) fn get(&self) -> Result<SessionOptions, Failure> {
        Ok(lock(&self.0, "options")?.clone())
    }

    fn change(&self, change: impl FnOnce(SessionOptions) -> SessionOptions) -> Result<(), Failure> {
        let mut options = lock(&self.0, "options")?;
        *options = change(options.clone());
        Ok(())
    }
}

/// Makes options: 1 thread, 4 boxes at a time, the model's own precision. Free them with umedsam_options_free.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_options_new(options: *mut *mut umedsam_options) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let place = unsafe { result(options, null_mut(), "options") }?;
        *place = Box::into_raw(Box::new(umedsam_options(Mutex::new(SessionOptions::new()))));
        Ok(())
    })
}

/// Sets the number of threads that one call of the session may use, 1 or more. They are started with the session.
///
/// Threads: one at a time for the same options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_options_set_threads(options: *mut umedsam_options, threads: usize) -> umedsam_status {
    call(|| {
        let threads = at_least_one(threads, "threads")?;
        // SAFETY: the caller's duty, at the head of the header.
        unsafe { reference(options, "options") }?.change(|o| o.with_threads(threads))
    })
}

/// Sets how many boxes are decoded together, 1 or more. A box takes about 9 MiB while it is decoded.
///
/// Threads: one at a time for the same options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_options_set_max_batch(options: *mut umedsam_options, boxes: usize) -> umedsam_status {
    call(|| {
        let boxes = at_least_one(boxes, "boxes")?;
        // SAFETY: the caller's duty, at the head of the header.
        unsafe { reference(options, "options") }?.change(|o| o.with_max_batch(boxes))
    })
}

/// Sets the precision: one of enum umedsam_precision, otherwise UMEDSAM_STATUS_ARGUMENT is returned.
///
/// Threads: one at a time for the same options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_options_set_precision(
    options: *mut umedsam_options,
    precision: i32,
) -> umedsam_status {
    const MODEL: i32 = umedsam_precision::Model as i32;
    const F32: i32 = umedsam_precision::F32 as i32;
    const F16: i32 = umedsam_precision::F16 as i32;
    const BF16: i32 = umedsam_precision::Bf16 as i32;
    const INT8: i32 = umedsam_precision::Int8 as i32;
    call(|| {
        let precision = match precision {
            MODEL => None,
            F32 => Some(Precision::F32),
            F16 => Some(Precision::F16),
            BF16 => Some(Precision::Bf16),
            INT8 => Some(Precision::Int8),
            _ => {
                let message = format!("precision {precision} is none of enum umedsam_precision");
                return Err(Failure::new(umedsam_status::Argument, message));
            }
        };
        // SAFETY: the caller's duty, at the head of the header.
        unsafe { reference(options, "options") }?.change(|mut o| {
            o.precision = precision;
            o
        })
    })
}

/// Frees options. NULL is passed over.
///
/// Threads: any, once nobody uses them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_options_free(options: *mut umedsam_options) {
    // SAFETY: the caller's duty, at the head of the header.
    unsafe { free(options) }
}

fn at_least_one(value: usize, name: &str) -> Result<usize, Failure> {
    if value > 0 { Ok(value) } else { Err(Failure::new(umedsam_status::Argument, format!("{name} is 0"))) }
}
