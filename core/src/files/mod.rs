//! Files: the system's, or in a browser, which has none, those that the page put into memory.
//!
//! Writing is atomic: nobody ever sees half of a file, not even after a loss of power.

#[cfg(any(test, all(target_arch = "wasm32", target_os = "unknown")))]
#[allow(unreachable_pub, reason = "tested where nobody else calls it")]
mod memory;
#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
mod system;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
pub use memory::{File, entries, is_dir, is_file, length, put, take, write_atomically};
#[cfg(all(feature = "runtime", not(all(target_arch = "wasm32", target_os = "unknown"))))]
pub(crate) use system::is_temporary;
#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
pub use system::{File, check_output, entries, is_dir, is_file, length, replace, same, write_atomically};

#[cfg(all(feature = "runtime", target_arch = "wasm32", target_os = "unknown"))]
pub(crate) const fn is_temporary(_: &str) -> bool {
    false
}
