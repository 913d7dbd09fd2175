//! An image or volume as it was read, of whichever format.

mod affine;
mod applied;
mod file_window;
mod values;
mod window;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use affine::Affine;
pub(crate) use affine::{cross, dot, length, minus, times};
pub use applied::Applied;
pub use file_window::FileWindow;
use umedsam::VolumeSize;
use umedsam::intensity::Values;
pub(crate) use values::{Sink, Stored};
pub use window::{Eight, Window, WindowError};

use crate::dicom::Series;
use crate::nifti::Forms;

/// An image or a volume: its values in their own numbers and units, where it lies in the patient, where it came from,
/// and what was done to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scan {
    /// Values, slice by slice, row by row, channels interleaved: Hounsfield units for CT, else what the file says.
    pub values: Values,
    /// 1 for gray, 3 for RGB.
    pub channels: usize,
    /// Number of slices (1 for an image), rows and columns.
    pub size: VolumeSize,
    /// From voxels to the patient, where the file tells.
    pub affine: Option<Affine>,
    /// Size of a voxel along x, y and z in mm, where it is known; of a single slice its thickness, or the size along y.
    pub spacing: Option<[f64; 3]>,
    /// DICOM's code of the modality (`CT`, `MR`, ...), where the file tells.
    pub modality: Option<String>,
    /// The file, folder or archive.
    pub path: PathBuf,
    /// What a writer of results needs of it.
    pub origin: Origin,
    /// How it is meant to be shown.
    pub display: Display,
    /// What was done, in order.
    pub applied: Vec<Applied>,
}

/// The kind of a scan's file, with what a writer of results needs of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Origin {
    /// A NIfTI file, with the orientation as it has it.
    Nifti(Forms),
    /// A file of another format, with the names that it has for labels.
    Other(BTreeMap<u16, String>),
    /// DICOM files, with their identity, slice by slice.
    Dicom(Box<Series>),
}

/// How a scan is meant to be shown.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Display {
    /// The file's own window, if it has one.
    pub window: Option<FileWindow>,
    /// Low values are bright.
    pub inverted: bool,
    /// Values from the first to the second are padding around the image.
    pub padding: Option<(f64, f64)>,
}

impl Scan {
    /// Number of slices, rows and columns of a volume; rows and columns of an image.
    pub fn shape(&self) -> Vec<usize> {
        let VolumeSize { depth, height, width } = self.size;
        if depth == 1 { vec![height, width] } else { vec![depth, height, width] }
    }
}
