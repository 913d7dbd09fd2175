//! Training of U-MedSAM: LiteMedSAM in libtorch, with the names of the published checkpoint.
//!
//! A run is a [`config::Config`] on cases ([`data`]) by a [`trainer::Trainer`]: losses weighed by learnable uncertainties
//! ([`loss`]), AdamW within sharpness-aware minimisation ([`optim`]), on a CPU or a CUDA device ([`cuda`]), or on many
//! ([`ranks`]). The command `umedsam-train` is all of it.

#![deny(unsafe_code)]

pub mod autocast;
pub mod calibrate;
pub mod config;
pub mod cuda;
pub mod data;
pub mod embeddings;
pub mod encoder;
pub mod evaluate;
pub mod loss;
pub mod memory;
pub mod model;
pub mod optim;
pub mod ranks;
pub mod soup;
pub mod store;
pub mod torch;
pub mod trainer;

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
