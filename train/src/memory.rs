//! Memory that is freed is kept for the next step; memory that there is not is an error, not the end.
//!
//! A step of training takes and frees gigabytes in pieces of up to a hundred megabytes. glibc gives pieces of this size
//! back to the kernel, which hands them out again page by page, cleared: a third of a step on a CPU was spent on that.

#![allow(unsafe_code)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    // SAFETY: the C library's own declaration; it takes any numbers.
    safe fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
}

/// Tells the C library to keep what is freed. For programs, at their start; elsewhere than on glibc it does nothing.
///
/// The process stays at the greatest size that it ever had.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // malloc.h's names: M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD. Without them training is slower, and no worse.
        const SETTINGS: [(std::ffi::c_int, std::ffi::c_int); 3] =
            [(-4, 0), (-1, std::ffi::c_int::MAX), (-2, 256 << 20)];
        for (parameter, value) in SETTINGS {
            let _ = mallopt(parameter, value);
        }
    }
}

/// A device or the host had no room for a tensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of memory: {0}")]
pub struct OutOfMemory(
    /// libtorch's account, its first line.
    pub String,
);

/// What libtorch says then: a CUDA device's allocator, cuDNN and cuBLAS, cuDNN where no algorithm has its workspace, the
/// host's allocator, and oneDNN, which gives no reason.
const PHRASES: [&str; 5] = [
    "out of memory",
    "_STATUS_ALLOC_FAILED",
    "unable to find an engine to execute this computation",
    "can't allocate memory",
    "could not create a primitive",
];

/// The result of `body`, or that libtorch had no memory for it, which `tch` makes known by a panic.
///
/// # Errors
/// [`OutOfMemory`]. Tensors that `body` held are freed; what it had changed stays changed.
pub fn attempt<T>(body: impl FnOnce() -> T) -> Result<T, OutOfMemory> {
    // What body has changed is the caller's to put right: it is told.
    let panic = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(result) => return Ok(result),
        Err(panic) => panic,
    };
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    match text.and_then(shortage) {
        Some(line) => Err(OutOfMemory(line.into())),
        None => std::panic::resume_unwind(panic),
    }
}

/// The line that tells of a want of memory.
fn shortage(text: &str) -> Option<&str> {
    let line =
        text.split("\\n").flat_map(str::lines).find(|line| PHRASES.iter().any(|phrase| line.contains(phrase)))?;
    // Without the words of `unwrap`.
    Some(line.split_once("Torch(\"").map_or(line, |(_, account)| account))
}

/// Keeps the panics that [`attempt`] catches from being printed, with libtorch's stack. For programs, at their start.
pub fn silence_shortages() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().and_then(shortage).is_none() {
            default(panic);
        }
    }));
}
