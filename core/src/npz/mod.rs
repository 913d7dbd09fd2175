//! The challenge's NPZ files: cases with boxes, and segmentations.
//!
//! 2D: `imgs` (H,W) or (H,W,3), `boxes` (N,4) as x_min, y_min, x_max, y_max. 3D: `imgs` (D,H,W), `boxes` (N,6) as
//! x_min, y_min, z_min, x_max, y_max, z_max, `spacing` (3) in mm. `gts`, where present, is a label map of the same size.
//! A segmentation holds one array `segs`, label `i` for the `i`-th box from 1.

mod array;
mod decode;
mod labelled;
mod npy;
mod own;
mod truth;
mod write;

use std::path::{Path, PathBuf};
use std::prelude::v1::*;

use array::{Archive, Array};
pub use labelled::Labelled;
pub use own::own_labels;
pub use truth::Truth;
pub use write::{is_segmentation, write_segs};

use crate::error::Plain;
use crate::intensity::{Intake, NumberType, Values, Window};
use crate::{Error, ImageView, PixelBox, VolumeSize, VoxelBox};

/// How much memory a file may take.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of memory that reading a file may take at its peak: all arrays that are asked for, in the types that are
    /// kept, and a copy where an array has to be rearranged or brought to 8 bits.
    pub peak_bytes: u64,
}

impl Limits {
    /// 2 GiB a file.
    pub const fn new() -> Self {
        Self { peak_bytes: 2 << 30 }
    }

    /// With this many bytes a file.
    #[must_use]
    pub const fn with_peak_bytes(self, peak_bytes: u64) -> Self {
        Self { peak_bytes }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// Why an NPZ file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}{problem}", path.display(), array.map(|a| format!("array '{a}': ")).unwrap_or_default())]
pub struct NpzError {
    /// The file.
    pub path: PathBuf,
    /// The array in it, if one is to blame.
    pub array: Option<&'static str>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with an NPZ file or one of its arrays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The system could not read or write the file.
    #[error("{0}")]
    Io(std::io::Error),
    /// No zip archive, or a damaged one.
    #[error("not a readable NPZ archive: {0}")]
    Archive(String),
    /// A damaged array.
    #[error("damaged array: {0}")]
    Npy(String),
    /// An array that must be there is not.
    #[error("missing")]
    Missing,
    /// Python objects, which would have to be unpickled.
    #[error("holds Python objects; only arrays of numbers are read")]
    ObjectArray,
    /// Elements that are no integers of 1 to 8 bytes nor floats of 4 or 8.
    #[error("elements are {0}; integers of 1 to 8 bytes and floats of 4 and 8 are read")]
    Type(String),
    /// More data than the limits allow.
    #[error("shape {shape:?} of {stored} takes {bytes} bytes of memory to read, beyond the limit of {max}")]
    TooLarge {
        /// Shape in the array's header.
        shape: Vec<usize>,
        /// Its number type.
        stored: NumberType,
        /// Bytes that reading takes at the peak, with the arrays before.
        bytes: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// Less data than the shape asks for.
    #[error("holds {actual} of {expected} bytes")]
    Truncated {
        /// Bytes that the shape asks for; `u64::MAX` where they cannot be counted.
        expected: u64,
        /// Bytes found.
        actual: u64,
    },
    /// A shape that the format doesn't have.
    #[error("has shape {found:?}; {expected} expected")]
    Shape {
        /// Shape found.
        found: Vec<usize>,
        /// Shapes accepted, in words.
        expected: String,
    },
    /// A value out of its range.
    #[error("value {} at {index}: {expected} expected", Plain(*value))]
    Value {
        /// Position in the array, in C order.
        index: usize,
        /// Value found.
        value: f64,
        /// What is accepted, in words.
        expected: &'static str,
    },
    /// Labels that are not those of what they are to be compared with.
    #[error("has the labels {found}; {other}")]
    Labels {
        /// The labels found.
        found: String,
        /// Those of the boxes or of the segmentation, in words.
        other: String,
    },
    /// A label that is nowhere near the box of its number.
    #[error("label {label} lies outside box {label}; labels are numbered in the order of the boxes, from 1")]
    Outside {
        /// The label.
        label: usize,
    },
    /// A folder without a case.
    #[error("no NPZ file in this folder")]
    NoCases,
    /// An image that cannot be segmented.
    #[error(transparent)]
    Image(Error),
}

impl Problem {
    /// A failure while an array was read out of its archive.
    fn reading(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Npy("ends too early".into()),
            _ => Self::Npy(error.to_string()),
        }
    }
}

/// Size of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of slices of a volume; none for an image.
    pub depth: Option<usize>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 for gray, 3 for RGB.
    pub channels: usize,
}

impl Shape {
    /// Shape of the label map: (D,H,W) or (H,W).
    pub fn labels(&self) -> Vec<usize> {
        self.depth.into_iter().chain([self.height, self.width]).collect()
    }

    /// Size of the volume; an image is a volume of one slice.
    pub fn volume(&self) -> VolumeSize {
        VolumeSize { depth: self.depth.unwrap_or(1), height: self.height, width: self.width }
    }
}

/// The boxes of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Boxes {
    /// Of an image.
    Plane(Vec<PixelBox>),
    /// Of a volume.
    Volume(Vec<VoxelBox>),
}

impl Boxes {
    /// Number of boxes.
    pub fn len(&self) -> usize {
        match self {
            Self::Plane(boxes) => boxes.len(),
            Self::Volume(boxes) => boxes.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An image or a volume with boxes.
#[derive(Clone, Debug)]
pub struct Case {
    /// 8-bit intensities, slice by slice, row by row, channels interleaved.
    pub pixels: Vec<u8>,
    /// Size.
    pub shape: Shape,
    /// What to segment.
    pub boxes: Boxes,
    /// What was done to the intensities.
    pub intake: Intake,
}

impl Case {
    /// Reads a case. Intensities that are not whole numbers from 0 to 255 are brought there by
    /// [`Window::Percentile`].
    pub fn read(path: &Path, limits: &Limits) -> Result<Self, NpzError> {
        let fail = |array, problem| NpzError { path: path.into(), array: Some(array), problem };
        let mut archive = Archive::open(path, limits)?;
        let boxes = boxes(&archive.require("boxes")?).map_err(|p| fail("boxes", p))?;
        let imgs = archive.require("imgs")?;
        let volume = matches!(boxes, Boxes::Volume(_));
        let shape = shape(&imgs.shape, volume).map_err(|p| fail("imgs", p))?;
        // The frame's bounds are those of every image: sizes of 0 and absurd ones end here.
        crate::Frame::new(shape.width, shape.height).map_err(|e| fail("imgs", Problem::Image(e)))?;
        let (pixels, intake) = intensities(imgs.values).map_err(|p| fail("imgs", p))?;
        Ok(Self { pixels, shape, boxes, intake })
    }

    /// The image, or slice `z` of the volume.
    pub fn slice(&self, z: usize) -> Result<ImageView<'_>, Error> {
        view(&self.pixels, &self.shape, z)
    }
}

/// Slice `z` of the intensities of a case; an image is its only slice.
fn view<'a>(pixels: &'a [u8], shape: &Shape, z: usize) -> Result<ImageView<'a>, Error> {
    let &Shape { height, width, channels, .. } = shape;
    let size = height * width * channels;
    let pixels = pixels.get(z * size..(z + 1) * size).unwrap_or_default();
    if channels == 1 { ImageView::gray8(pixels, width, height) } else { ImageView::rgb8(pixels, width, height) }
}

/// The NPZ files of a folder, in order of name; or `path` itself if it is a file. Folders of such names and the
/// attributes that macOS puts beside a file (`._case.npz`) are no cases.
///
/// # Errors
/// [`NpzError`] if the folder cannot be read or has no such file.
pub fn cases(path: &Path) -> Result<Vec<PathBuf>, NpzError> {
    if path.is_file() {
        return Ok(std::vec![path.into()]);
    }
    let fail = |problem| NpzError { path: path.into(), array: None, problem };
    let entries = std::fs::read_dir(path).and_then(|entries| entries.map(|e| Ok(e?.path())).collect());
    let mut cases: Vec<PathBuf> = entries.map_err(|e| fail(Problem::Io(e)))?;
    let attributes = |path: &Path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("._"));
    cases.retain(|path| {
        path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) && !attributes(path) && path.is_file()
    });
    cases.sort();
    if cases.is_empty() { Err(fail(Problem::NoCases)) } else { Ok(cases) }
}

/// Reads the labels of a segmentation and their shape.
pub fn read_segs(path: &Path, limits: &Limits) -> Result<(Vec<u16>, Vec<usize>), NpzError> {
    Archive::open(path, limits)?.labels("segs")
}

/// Reads the size of a case's voxels, where it is there: `spacing`, mm along x, y, z.
///
/// # Errors
/// [`NpzError`] if the file or the array cannot be used.
pub fn read_spacing(path: &Path, limits: &Limits) -> Result<Option<[f64; 3]>, NpzError> {
    let found = Archive::open(path, limits)?.read("spacing")?.map(|array| spacing(&array)).transpose();
    found.map_err(|problem| NpzError { path: path.into(), array: Some("spacing"), problem })
}

fn boxes(array: &Array) -> Result<Boxes, Problem> {
    let [count, columns] = array.shape[..] else {
        return Err(Problem::Shape { found: array.shape.clone(), expected: "(N,4) or (N,6)".into() });
    };
    if count == 0 {
        return Err(Problem::Shape { found: array.shape.clone(), expected: "at least one box".into() });
    }
    let values = array.values.to_f64();
    Ok(match columns {
        4 => Boxes::Plane(values.chunks_exact(4).map(|b| PixelBox::new(b[0], b[1], b[2], b[3])).collect()),
        6 => Boxes::Volume(values.chunks_exact(6).map(|b| VoxelBox::new(b[0], b[1], b[2], b[3], b[4], b[5])).collect()),
        _ => return Err(Problem::Shape { found: array.shape.clone(), expected: "(N,4) or (N,6)".into() }),
    })
}

fn shape(found: &[usize], volume: bool) -> Result<Shape, Problem> {
    let (depth, height, width, channels) = match (volume, found) {
        (false, &[h, w]) => (None, h, w, 1),
        (false, &[h, w, c @ (1 | 3)]) => (None, h, w, c),
        (true, &[d, h, w]) => (Some(d), h, w, 1),
        (true, &[d, h, w, c @ (1 | 3)]) => (Some(d), h, w, c),
        _ => {
            let expected = if volume { "(D,H,W) for boxes (N,6)" } else { "(H,W) or (H,W,3) for boxes (N,4)" };
            return Err(Problem::Shape { found: found.into(), expected: expected.into() });
        }
    };
    if depth == Some(0) {
        return Err(Problem::Shape { found: found.into(), expected: "at least one slice".into() });
    }
    Ok(Shape { depth, height, width, channels })
}

/// Brings intensities to 8 bits: whole numbers from 0 to 255 as they are, others by [`Window::Percentile`].
fn intensities(values: Values) -> Result<(Vec<u8>, Intake), Problem> {
    values.into_u8(Window::Percentile).map_err(Problem::Image)
}

fn spacing(array: &Array) -> Result<[f64; 3], Problem> {
    let values = array.values.to_f64();
    let shape = || Problem::Shape { found: array.shape.clone(), expected: "(3)".into() };
    let spacing: [f64; 3] = values.try_into().map_err(|_| shape())?;
    match spacing.iter().position(|&s| !(s.is_finite() && s > 0.0)) {
        None => Ok(spacing),
        Some(index) => Err(Problem::Value { index, value: spacing[index], expected: "a length in mm above 0" }),
    }
}
