//! The challenge's NPZ files: cases with boxes, and segmentations.
//!
//! A 2D case contains `imgs` (H,W) or (H,W,3) and `boxes` (N,4): x_min, y_min, x_max, y_max in pixels. A 3D case
//! contains `imgs` (D,H,W), `boxes` (N,6): x_min, y_min, z_min, x_max, y_max, z_max in voxels, and `spacing` (3): the
//! size of a voxel along x, y, z in mm. Later challenges have `boxes` (N) of dictionaries instead, whose `z_mid_x_min`,
//! `z_mid_y_min`, `z_mid_x_max` and `z_mid_y_max` are a box in slice `z_mid`, and `z_min` and `z_max` the object's first and
//! last slice: it is followed from that slice to these. `gts`, where a case has it, is a label map of the same size; `affine` (3,4), where it
//! is there, maps a voxel's x, y and z to its place in the patient. A segmentation
//! contains one array `segs` of the same size, in which label `i` is the object of the `i`-th box, counted from 1.

mod array;
mod boxes;
mod decode;
mod labelled;
mod npy;
mod own;
mod pickle;
mod truth;
mod write;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::prelude::v1::*;

use array::{Archive, Array};
pub use boxes::Boxes;
pub use labelled::Labelled;
pub use own::own_labels;
pub use truth::Truth;
pub use write::{NewCase, is_case, is_segmentation, write_case, write_segs};

use crate::error::Plain;
use crate::intensity::{Intake, NumberType, Values, Window};
use crate::{Error, ImageView, VolumeSize};

/// How much memory reading a file may take.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Greatest peak of memory, in bytes: of all arrays that are read, in the types that are kept, and of a copy where
    /// an array has to be rearranged or mapped to 8 bits.
    pub peak_bytes: u64,
}

impl Limits {
    /// A peak of 2 GiB.
    pub const fn new() -> Self {
        Self { peak_bytes: 2 << 30 }
    }

    /// Sets the peak of memory, in bytes.
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
    /// The array that is wrong, if it is one.
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
    /// The file is not a zip archive, or a damaged one.
    #[error("not a readable NPZ archive: {0}")]
    Archive(String),
    /// An array is damaged.
    #[error("damaged array: {0}")]
    Npy(String),
    /// A required array is missing.
    #[error("missing")]
    Missing,
    /// An array contains Python objects, which would have to be unpickled.
    #[error("holds Python objects; only arrays of numbers are read")]
    ObjectArray,
    /// An array of Python objects is not the one that is read, of boxes in dictionaries.
    #[error("holds Python objects that are no list of boxes: {reason} before byte {offset} of the pickle")]
    Pickle {
        /// Where reading ended.
        offset: usize,
        /// What is there.
        reason: String,
    },
    /// A dictionary is no box.
    #[error("box {number}: {reason}")]
    Box {
        /// Its number, from 1.
        number: usize,
        /// Why, in words.
        reason: String,
    },
    /// The elements are neither integers of 1 to 8 bytes nor floats of 4 or 8.
    #[error("elements are {0}; integers of 1 to 8 bytes and floats of 4 and 8 are read")]
    Type(String),
    /// The data exceed the limits.
    #[error("shape {shape:?} of {stored} takes {bytes} bytes of memory to read, beyond the limit of {max}")]
    TooLarge {
        /// Shape in the array's header.
        shape: Vec<usize>,
        /// Its number type.
        stored: NumberType,
        /// Peak of memory that reading would take, with the arrays read before, in bytes.
        bytes: u64,
        /// Peak of memory that is allowed, in bytes.
        max: u64,
    },
    /// There are less data than the shape requires.
    #[error("holds {actual} of {expected} bytes")]
    Truncated {
        /// Number of bytes that the shape requires; `u64::MAX` if it is beyond that.
        expected: u64,
        /// Number of bytes found.
        actual: u64,
    },
    /// The shape is not one of the format.
    #[error("has shape {found:?}; {expected} expected")]
    Shape {
        /// Shape found.
        found: Vec<usize>,
        /// The shapes that are accepted, in words.
        expected: String,
    },
    /// A value is out of its range.
    #[error("value {} at {index}: {expected} expected", Plain(*value))]
    Value {
        /// Index in the array, in C order.
        index: usize,
        /// The value found.
        value: f64,
        /// The values that are accepted, in words.
        expected: &'static str,
    },
    /// The labels are not those of the boxes or the segmentation that they should be compared with.
    #[error("has the labels {found}; {other}")]
    Labels {
        /// The labels found.
        found: String,
        /// Those of the boxes or of the segmentation, in words.
        other: String,
    },
    /// No part of a label is near the box of its number.
    #[error("label {label} lies outside box {label}; labels are numbered in the order of the boxes, from 1")]
    Outside {
        /// The label.
        label: usize,
    },
    /// A folder contains no case.
    #[error("no NPZ file in this folder")]
    NoCases,
    /// The image cannot be segmented.
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

/// Reads an array of a .npy file alone, of `length` bytes: its values in their own number type and in C order, and its shape.
///
/// # Errors
/// [`Problem::TooLarge`] if reading would take more than the limit, and as for the arrays of a case.
pub fn read_npy(reader: impl Read, length: u64, limits: &Limits) -> Result<(Values, Vec<usize>), Problem> {
    let npy = decode::Npy::open(reader, length)?;
    let (shape, bytes, max) = (npy.shape().to_vec(), npy.peak(|size| size), limits.peak_bytes);
    if bytes > max {
        return Err(Problem::TooLarge { shape, stored: npy.number_type(), bytes, max });
    }
    Ok((npy.values()?, shape))
}

/// Size of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of slices of a volume; `None` for an image.
    pub depth: Option<usize>,
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
    /// Number of channels: 1 for gray, 3 for RGB.
    pub channels: usize,
}

impl Shape {
    /// Shape of the label map: (D,H,W) for a volume, (H,W) for an image.
    pub fn labels(&self) -> Vec<usize> {
        self.depth.into_iter().chain([self.height, self.width]).collect()
    }

    /// Size as a volume; an image has one slice.
    pub fn volume(&self) -> VolumeSize {
        VolumeSize { depth: self.depth.unwrap_or(1), height: self.height, width: self.width }
    }
}

/// An image or a volume, and the boxes around its objects.
#[derive(Clone, Debug)]
pub struct Case {
    /// 8-bit intensities, slice by slice, row by row, channels interleaved.
    pub pixels: Vec<u8>,
    /// Size.
    pub shape: Shape,
    /// The boxes around the objects to segment.
    pub boxes: Boxes,
    /// What was done to the intensities.
    pub intake: Intake,
}

impl Case {
    /// Reads a case. Intensities that are not whole numbers from 0 to 255 are mapped to them by [`Window::Percentile`].
    ///
    /// # Errors
    /// [`NpzError`] if the file is damaged or exceeds the limits, if an array is missing, or if an array cannot be
    /// used.
    pub fn read(path: &Path, limits: &Limits) -> Result<Self, NpzError> {
        let fail = |array, problem| NpzError { path: path.into(), array: Some(array), problem };
        let mut archive = Archive::open(path, limits)?;
        let boxes = archive.boxes()?.ok_or_else(|| fail("boxes", Problem::Missing))?;
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

/// The NPZ files of the folder `path`, sorted by name, or `path` itself if it is a file. Folders with such names and
/// the files of attributes that macOS writes (`._case.npz`) are left out.
///
/// # Errors
/// [`NpzError`] if the folder cannot be read or contains no such file.
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

/// Reads `segs`: the label map and its shape, (H,W) or (D,H,W).
///
/// # Errors
/// [`NpzError`] if the file is damaged or exceeds the limits, or if `segs` is missing or cannot be used.
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

/// Reads a case's affine, where it is there: `affine` (3,4) or (4,4), from a voxel's x, y and z to its place in the patient
/// (right, anterior, superior, in mm), as [`write_case`] writes it.
///
/// # Errors
/// [`NpzError`] if the file or the array cannot be used.
pub fn read_affine(path: &Path, limits: &Limits) -> Result<Option<[[f64; 4]; 3]>, NpzError> {
    let found = Archive::open(path, limits)?.read("affine")?.map(|array| affine(&array)).transpose();
    found.map_err(|problem| NpzError { path: path.into(), array: Some("affine"), problem })
}

fn affine(array: &Array) -> Result<[[f64; 4]; 3], Problem> {
    if !matches!(array.shape[..], [3 | 4, 4]) {
        return Err(Problem::Shape { found: array.shape.clone(), expected: "(3,4) or (4,4)".into() });
    }
    let values = array.values.to_f64();
    if let Some(index) = values.iter().position(|v| !v.is_finite()) {
        return Err(Problem::Value { index, value: values[index], expected: "a finite number" });
    }
    Ok(core::array::from_fn(|row| core::array::from_fn(|column| values[4 * row + column])))
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
