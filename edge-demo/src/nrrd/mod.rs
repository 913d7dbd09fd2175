//! NRRD: label maps as 3D Slicer's segmentations (`.seg.nrrd`).

mod write;

pub use write::{is_segmentation, write_labels};
