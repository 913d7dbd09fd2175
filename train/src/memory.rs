//! Memory that is freed is kept for the next step.
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
