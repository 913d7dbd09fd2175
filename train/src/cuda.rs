//! Lets one build run on CPU and CUDA machines alike.
//!
//! The linker drops libtorch's CUDA half, since nothing here names a symbol of it, and a CPU machine has none anyway.
//! Loaded at run time, it registers its devices by itself.
//!
//! What is deterministic there: the samples drawn, on every device. A step is, to the bit, on the same device and libtorch
//! with [`engine.deterministic`](crate::config::EngineConfig::deterministic); without it, sums in the backward pass
//! (of attention, of biases looked up by index) may be added in another order each time, and cuDNN's benchmark may choose
//! another algorithm in another run. A CPU's bits are not a CUDA device's.
//!
//! No training step has run on CUDA yet: `umedsam-cuda check` is what to run first.

#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use tch::{Cuda, Device, Kind, Tensor};

use crate::config::{Config, Precision};
use crate::torch;

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
    /// TF32 asked of a CPU.
    #[error("model.precision is tf32, which CUDA devices have, not a CPU")]
    Tf32,
    /// cuBLAS is deterministic with a workspace of its own only, whose size it reads from the environment.
    #[error("engine.deterministic: set CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment")]
    Workspace,
    /// libtorch refused a setting, or the device a tensor.
    #[error("libtorch: {0}")]
    Setting(String),
}

/// Sets what `config` asks of the libraries beneath libtorch, for all of the process.
///
/// # Errors
/// [`CudaError::Tf32`], [`CudaError::Workspace`], [`CudaError::Setting`].
pub fn configure(device: Device, config: &Config) -> Result<(), CudaError> {
    let setting = |error: tch::TchError| CudaError::Setting(error.to_string());
    let tf32 = config.model.precision == Precision::Tf32;
    let deterministic = config.engine.deterministic;
    torch::deterministic(deterministic).map_err(setting)?;
    if !device.is_cuda() {
        return if tf32 { Err(CudaError::Tf32) } else { Ok(()) };
    }
    if deterministic && std::env::var_os("CUBLAS_WORKSPACE_CONFIG").is_none() {
        return Err(CudaError::Workspace);
    }
    torch::allow_tf32(tf32).map_err(setting)?;
    benchmark(device, benchmarks(config));
    Ok(())
}

/// Whether cuDNN is to time its algorithms for each new shape.
pub(crate) const fn benchmarks(config: &Config) -> bool {
    config.engine.cudnn_benchmark && !config.engine.deterministic
}

/// Tells cuDNN, where the device is one of CUDA's.
pub(crate) fn benchmark(device: Device, on: bool) {
    if device.is_cuda() {
        Cuda::cudnn_set_benchmark(on);
    }
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
    if index >= count {
        return Err(CudaError::NoDevice { index, count });
    }
    let setting = |error: tch::TchError| CudaError::Setting(error.to_string());
    // f32 means f32, unless a configuration says otherwise.
    torch::allow_tf32(false).map_err(setting)?;
    torch::no_cudnn_attention().map_err(setting)?;
    // The allocator is there from the first tensor on; and a driver that does not work shows here.
    drop(Tensor::f_zeros([1], (Kind::Float, Device::Cuda(index))).map_err(setting)?);
    Ok(Device::Cuda(index))
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
