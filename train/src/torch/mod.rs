//! What libtorch can do and `tch` does not offer: optimizers and norms over many tensors at once, settings of CUDA's
//! libraries, the allocator of a device.
//!
//! One call over a list is one or a few kernels on a CUDA device, where a call a tensor is hundreds. On a CPU libtorch
//! goes through the list, with the same results.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};

use tch::{TchError, Tensor};

/// `at::Tensor*`
type Handle = *const c_void;

// SAFETY: torch.cpp's declarations. Lists of `count` handles are read only, no handle is kept, and a message is a
// string of malloc or null.
unsafe extern "C" {
    fn umedsam_adamw(
        parameters: *const Handle,
        gradients: *const Handle,
        means: *const Handle,
        squares: *const Handle,
        count: usize,
        steps: Handle,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
        not_finite: Handle,
    ) -> *mut c_char;
    fn umedsam_norm(tensors: *const Handle, count: usize, norm: *mut c_void) -> *mut c_char;
    fn umedsam_add_scaled(tensors: *const Handle, others: *const Handle, count: usize, factor: Handle) -> *mut c_char;
    fn umedsam_pinned(tensor: Handle, pinned: *mut c_void) -> *mut c_char;
    fn umedsam_is_pinned(tensor: Handle, pinned: *mut bool) -> *mut c_char;
    fn umedsam_no_cudnn_attention() -> *mut c_char;
    fn umedsam_tf32(allowed: bool) -> *mut c_char;
    fn umedsam_deterministic(asked: bool) -> *mut c_char;
    fn umedsam_free_cached_memory() -> *mut c_char;
    fn umedsam_reset_peak_memory(device: i8) -> *mut c_char;
    fn umedsam_peak_memory(device: i8, bytes: *mut i64) -> *mut c_char;
    fn free(memory: *mut c_void);
}

/// The numbers of a step of AdamW.
#[derive(Clone, Copy, Debug)]
pub struct AdamWNumbers {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decays of the averages.
    pub betas: (f64, f64),
    /// Part of the learning rate by which the parameters shrink.
    pub weight_decay: f64,
    /// Added to the root of the average square.
    pub epsilon: f64,
}

/// Parameters with their gradients and running averages, as many of each.
#[derive(Debug, Default)]
pub struct AdamWLists {
    /// What moves.
    pub parameters: Vec<Tensor>,
    /// Gradients, of the parameters' shapes.
    pub gradients: Vec<Tensor>,
    /// Running averages of the gradients.
    pub means: Vec<Tensor>,
    /// Running averages of their squares.
    pub squares: Vec<Tensor>,
}

/// A step of AdamW of all parameters in one kernel. `steps` is an f32 scalar, this step counted; if `not_finite`, an f32
/// scalar, is not 0, nothing is moved, and nobody has waited for the device to know.
///
/// # Errors
/// libtorch's: tensors of different devices, kinds or shapes.
///
/// # Panics
/// If the lists are not of one length.
pub fn adamw(
    lists: &AdamWLists,
    steps: &Tensor,
    numbers: AdamWNumbers,
    not_finite: Option<&Tensor>,
) -> Result<(), TchError> {
    let AdamWLists { parameters, gradients, means, squares } = lists;
    let count = parameters.len();
    assert!([gradients, means, squares].iter().all(|list| list.len() == count), "lists of one length");
    let _guard = tch::no_grad_guard();
    let AdamWNumbers { learning_rate, betas, weight_decay, epsilon } = numbers;
    let (p, g) = (handles(parameters), handles(gradients));
    let (m, s) = (handles(means), handles(squares));
    let found = not_finite.map_or(std::ptr::null(), handle);
    // SAFETY: four lists of `count` tensors, and tensors, that live until the call returns.
    checked(unsafe {
        umedsam_adamw(
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            s.as_ptr(),
            count,
            handle(steps),
            learning_rate,
            betas.0,
            betas.1,
            weight_decay,
            epsilon,
            found,
        )
    })
}

/// The Euclidean norm over all values of all tensors, a scalar. Nobody waits for the device.
///
/// # Errors
/// libtorch's: no tensor, or tensors of several devices.
pub fn norm(tensors: &[Tensor]) -> Result<Tensor, TchError> {
    let _guard = tch::no_grad_guard();
    let list = handles(tensors);
    let mut norm = Tensor::new();
    // SAFETY: a list of so many tensors, and one to put the result in, that live until the call returns.
    checked(unsafe { umedsam_norm(list.as_ptr(), list.len(), norm.as_mut_ptr().cast()) })?;
    Ok(norm)
}

/// Adds to each tensor the other one times a factor, a scalar, in place.
///
/// # Errors
/// libtorch's: tensors of different devices or shapes.
///
/// # Panics
/// If the lists are not of one length.
pub fn add_scaled(tensors: &[Tensor], others: &[Tensor], factor: &Tensor) -> Result<(), TchError> {
    assert_eq!(tensors.len(), others.len(), "lists of one length");
    let _guard = tch::no_grad_guard();
    let (list, others) = (handles(tensors), handles(others));
    // SAFETY: two lists of as many tensors, and one, that live until the call returns.
    checked(unsafe { umedsam_add_scaled(list.as_ptr(), others.as_ptr(), list.len(), handle(factor)) })
}

/// A copy in memory that CUDA devices read by themselves. `tch` names a device, which libtorch warns of each time.
///
/// # Errors
/// Where there is no CUDA, or no such memory left.
pub fn pinned(tensor: &Tensor) -> Result<Tensor, TchError> {
    let mut pinned = Tensor::new();
    // SAFETY: a tensor, and one to put the result in, that live until the call returns.
    checked(unsafe { umedsam_pinned(handle(tensor), pinned.as_mut_ptr().cast()) })?;
    Ok(pinned)
}

/// Whether a tensor is in such memory.
///
/// # Errors
/// libtorch's.
pub fn is_pinned(tensor: &Tensor) -> Result<bool, TchError> {
    let mut pinned = false;
    // SAFETY: a tensor that lives until the call returns; writes one value.
    checked(unsafe { umedsam_is_pinned(handle(tensor), &raw mut pinned) })?;
    Ok(pinned)
}

/// Keeps attention in one operation away from cuDNN, so that the same kernel computes it with gradients and without.
///
/// # Errors
/// libtorch's.
pub fn no_cudnn_attention() -> Result<(), TchError> {
    // SAFETY: sets a variable of libtorch.
    checked(unsafe { umedsam_no_cudnn_attention() })
}

/// Whether CUDA may round the operands of products in f32 to TF32, of 10 bits. libtorch does so in convolutions unless
/// told otherwise.
///
/// # Errors
/// libtorch's.
pub fn allow_tf32(allowed: bool) -> Result<(), TchError> {
    // SAFETY: sets variables of libtorch.
    checked(unsafe { umedsam_tf32(allowed) })
}

/// Whether libtorch takes deterministic algorithms only; one that has none becomes an error where it is called.
///
/// # Errors
/// libtorch's.
pub fn deterministic(asked: bool) -> Result<(), TchError> {
    // SAFETY: sets variables of libtorch.
    checked(unsafe { umedsam_deterministic(asked) })
}

/// Gives the memory that no tensor holds back to the CUDA devices, so that it can be cut anew.
///
/// # Errors
/// Where there is no CUDA.
pub fn free_cached_memory() -> Result<(), TchError> {
    // SAFETY: concerns memory that no tensor holds.
    checked(unsafe { umedsam_free_cached_memory() })
}

/// Starts to measure [`peak_memory`] of a CUDA device anew.
///
/// # Errors
/// Where there is no such device.
pub fn reset_peak_memory(device: usize) -> Result<(), TchError> {
    // SAFETY: concerns statistics.
    checked(unsafe { umedsam_reset_peak_memory(index(device)) })
}

/// Most bytes that tensors have held on a CUDA device at once.
///
/// # Errors
/// Where there is no such device.
pub fn peak_memory(device: usize) -> Result<u64, TchError> {
    let mut bytes = 0;
    // SAFETY: writes one number.
    checked(unsafe { umedsam_peak_memory(index(device), &raw mut bytes) })?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// libtorch numbers devices in 8 bits; there is none of a number beyond, and libtorch says so of the greatest.
fn index(device: usize) -> i8 {
    i8::try_from(device).unwrap_or(i8::MAX)
}

fn handle(tensor: &Tensor) -> Handle {
    tensor.as_ptr().cast()
}

fn handles(tensors: &[Tensor]) -> Vec<Handle> {
    tensors.iter().map(handle).collect()
}

fn checked(message: *mut c_char) -> Result<(), TchError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a string of malloc that is ours.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        free(message.cast());
        text
    };
    Err(TchError::Torch(text))
}
