//! Firmware of a device that segments what its sensor sees, while an accelerator of its own runs the network.
//!
//! Everything but the network is the library's, without std and, once it is warm, without heap: a frame of 8 or 16 bits
//! whose rows have gaps is brought to the network's input, a box to its prompt, and its logits to a mask, a contour and
//! sizes in mm; a box is carried through a volume. In place of the accelerator stands a recording of what the built-in
//! model answered to the same inputs, which are checked to the bit.
//!
//! The same program runs on a host and prints the same lines; `test.sh` compares them.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

#[cfg(target_os = "none")]
mod board;
mod work;

/// What the network answered, as `tests/tests/firmware.rs` of the repository recorded it.
static RECORDING: &[u8] = include_bytes!("../recording.bin");

/// Frames and volumes are gone through so many times.
const ROUNDS: usize = 2;

#[cfg(not(target_os = "none"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut network = work::recording::Recording::new(RECORDING);
    let mut device = work::Device::new();
    for _ in 0..ROUNDS {
        device.round(&mut network, &mut |line| println!("{line}"))?;
    }
    if network.is_finished() { Ok(()) } else { Err("entries of the recording were not asked for".into()) }
}
