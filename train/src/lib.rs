//! Training of U-MedSAM: LiteMedSAM in libtorch, with the names of the published checkpoint.

#![forbid(unsafe_code)]

pub mod loss;
pub mod model;
pub mod optim;
