//! Lets one build run on CPU and CUDA machines alike.
//!
//! The linker drops libtorch's CUDA half, since nothing here names a symbol of it, and a CPU machine has none anyway.
//! Loaded at run time, it registers its devices by itself.
//!
//! What is here has met machines without a device only, so far: no training step has run on CUDA.

#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use tch::{Cuda, Device};

#[cfg(target_os = "linux")]
// SAFETY: the C library's own declarations.
unsafe extern "C" {
    fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

/// Why no CUDA device is to be had.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// The loader did not find or refused libtorch_cuda.so: a CPU libtorch, or libraries of CUDA are missing.
    #[error("libtorch's CUDA library cannot be loaded: {0}")]
    Library(String),
    /// The library is there, but no driver or fewer devices.
    #[error("CUDA device {index} does not exist, {count} found")]
    NoDevice {
        /// The device asked for, from 0.
        index: usize,
        /// Devices that libtorch sees.
        count: usize,
    },
}

/// The CUDA device `index`, from 0.
///
/// Ask before anything else is done with libtorch. It looks for its CUDA half once, at the first call that could concern
/// CUDA (`tch::Cuda`, `Device::cuda_if_available`, `tch::manual_seed`, a first backward pass), and then keeps the answer.
/// The library is searched as the system's loader does: LD_LIBRARY_PATH, then the folder that the program was linked
/// against.
///
/// # Errors
/// [`CudaError::Library`] on a machine without libtorch's CUDA libraries, [`CudaError::NoDevice`] without such a device.
pub fn device(index: usize) -> Result<Device, CudaError> {
    static LOADED: OnceLock<Result<(), CudaError>> = OnceLock::new();
    LOADED.get_or_init(load).clone()?;
    let count = usize::try_from(Cuda::device_count()).unwrap_or(0);
    if index < count { Ok(Device::Cuda(index)) } else { Err(CudaError::NoDevice { index, count }) }
}

#[cfg(target_os = "linux")]
fn load() -> Result<(), CudaError> {
    // Every symbol at once, and visible to the libtorch that is loaded already. glibc's and musl's values.
    const NOW_GLOBAL: c_int = 0x2 | 0x100;
    // SAFETY: the name is a C string of static lifetime, and loading runs only the library's own initialisers. It is
    // never unloaded, so what these register stays valid.
    if !unsafe { dlopen(c"libtorch_cuda.so".as_ptr(), NOW_GLOBAL) }.is_null() {
        return Ok(());
    }
    // SAFETY: the string belongs to the loader and to this thread until its next call of dlopen; it is copied at once.
    let reason = unsafe {
        let text = dlerror();
        if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    };
    Err(CudaError::Library(reason))
}

#[cfg(not(target_os = "linux"))]
fn load() -> Result<(), CudaError> {
    Err(CudaError::Library("only on Linux".into()))
}
