//! What the command `umedsam` is built of: reading the images and label maps that people have, and writing label maps for
//! them.
//!
//! [`read`](read::read) gives a [`Scan`](scan::Scan) of a DICOM file, a folder or ZIP of them, or a NIfTI file, and
//! [`Scan::to_8bit`](scan::Scan::to_8bit) maps it to the 8 bits that the network is given. [`boxes`] reads the boxes to
//! segment.

#![deny(unsafe_code)]

pub mod boxes;
pub mod dicom;
mod jpeg;
pub mod kind;
pub mod label_file;
pub mod labels;
pub mod metaimage;
pub mod nifti;
pub mod nrrd;
pub mod objects;
pub mod overlay;
pub mod pages;
pub mod picture;
pub mod png_file;
pub mod polygons;
pub mod read;
pub mod scan;
pub mod shown;
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod web;
