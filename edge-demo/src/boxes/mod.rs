//! Boxes from files: a table in CSV, JSON, or the regions of interest that 3D Slicer saves (`.mrk.json`).
//!
//! A table has a line of names, `x0,y0,x1,y1` for boxes in an image or a slice and `x0,y0,z0,x1,y1,z1` for boxes in a
//! volume, in any order, and a line for each box. JSON has a list of boxes, or an object whose `boxes` is one; a box is a
//! list of numbers in these orders, or an object with these names. Numbers are in pixels or voxels from 0, both corners
//! included, or of boxes in a volume in millimetres, as the caller knows; 3D Slicer's are in millimetres always.

mod error;
mod json;
mod markups;
mod patient;
mod table;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use error::{BoxFileError, BoxProblem};
pub use patient::{CornerError, PatientBox, System};
use umedsam::{PixelBox, VoxelBox};

/// Most bytes of a file of boxes.
pub const MAX_BYTES: u64 = 16 << 20;

/// Most boxes of a file: a label map has no more labels.
pub const MAX_BOXES: usize = u16::MAX as usize;

/// Boxes of one kind.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FileBoxes {
    /// In an image or a slice.
    Plane(Vec<PixelBox>),
    /// In a volume.
    Volume(Vec<VoxelBox>),
    /// In the patient, with the number of markups of other kinds that were passed over.
    Patient(Vec<PatientBox>, usize),
}

/// Reads boxes, in the format that the file's name tells: `.csv`, `.mrk.json`, or another `.json`.
///
/// # Errors
/// [`BoxFileError`] if the file cannot be read, is longer than [`MAX_BYTES`], has no box or more than [`MAX_BOXES`], or
/// has one that cannot be used.
pub fn read_boxes(path: &Path) -> Result<FileBoxes, BoxFileError> {
    read(path).map_err(|problem| BoxFileError { path: path.into(), problem })
}

fn read(path: &Path) -> Result<FileBoxes, BoxProblem> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let parse = match () {
        () if name.ends_with(".mrk.json") => markups::parse,
        () if name.ends_with(".json") => json::parse,
        () if name.ends_with(".csv") => table::parse,
        () => return Err(BoxProblem::Kind),
    };
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(BoxProblem::TooLong);
    }
    let text = String::from_utf8(text).map_err(|_| BoxProblem::Text)?;
    parse(text.trim_start_matches('\u{feff}'))
}

/// Boxes of named numbers, all of them with the same names.
fn of_rows(rows: impl Iterator<Item = Result<Row, BoxProblem>>) -> Result<FileBoxes, BoxProblem> {
    let (mut plane, mut volume) = (Vec::new(), Vec::new());
    for (row, index) in rows.zip(0..) {
        if index == MAX_BOXES {
            return Err(BoxProblem::TooMany);
        }
        let Row { x: [x0, x1], y: [y0, y1], z } = row?;
        for (field, value) in [("x0", x0), ("y0", y0), ("x1", x1), ("y1", y1)]
            .into_iter()
            .chain(z.into_iter().flat_map(|[z0, z1]| [("z0", z0), ("z1", z1)]))
        {
            if !value.is_finite() {
                return Err(BoxProblem::Number { index, field, found: value.to_string() });
            }
        }
        match z {
            None => plane.push(PixelBox::new(x0, y0, x1, y1)),
            Some([z0, z1]) => volume.push(VoxelBox::new(x0, y0, z0, x1, y1, z1)),
        }
    }
    match (plane.is_empty(), volume.is_empty()) {
        (false, true) => Ok(FileBoxes::Plane(plane)),
        (true, false) => Ok(FileBoxes::Volume(volume)),
        (true, true) => Err(BoxProblem::Empty),
        (false, false) => Err(BoxProblem::Mixed),
    }
}

/// One box of a table or a list.
struct Row {
    x: [f64; 2],
    y: [f64; 2],
    z: Option<[f64; 2]>,
}
