//! Training of U-MedSAM: LiteMedSAM in libtorch, with the names of the published checkpoint.

#![forbid(unsafe_code)]

pub mod evaluate;
pub mod model;
