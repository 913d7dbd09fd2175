//! Training of U-MedSAM: LiteMedSAM in libtorch, with the names of the published checkpoint.

#![deny(unsafe_code)]

pub mod autocast;
pub mod cuda;
pub mod model;
pub mod ranks;
