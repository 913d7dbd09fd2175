//! DICOM images: single files, multi-frame and enhanced ones, folders and ZIP archives with one or several series.
//!
//! `jpeg-decoder` and `jpeg2k` (OpenJPEG in Rust) decode pixels, after their sizes were compared with the file's. The
//! elements, what the values mean and where they lie are worked out here.

mod attributes;
mod codec;
mod color;
mod dataset;
mod elements;
mod file;
mod frames;
mod group;
mod image;
mod modality;
mod place;
mod plane;
mod seg;
mod stack;
mod uid;
mod voi;
mod volume;

use std::path::{Path, PathBuf};

use dicom_core::Tag;
pub(crate) use file::is_dicom;
use file::{DicomFile, Unpacked};
pub use group::Listed;
use group::{Group, Image, groups};
use place::{Loader, Place};
pub use seg::{SegError, Segmentation, Segments, is_segmentation};

use crate::read::{Problem, ReadError, ReadOptions, within};
use crate::scan::{Applied, Scan};

/// Digits of a series' number in the list, at most; more are the end of a UID.
const NUMBER: usize = 4;

/// The identity of a series, for objects that refer to it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Series {
    /// SeriesInstanceUID.
    pub uid: String,
    /// StudyInstanceUID.
    pub study: String,
    /// FrameOfReferenceUID, if there is one.
    pub frame_of_reference: Option<String>,
    /// ImageOrientationPatient, if there is one.
    pub orientation: Option<[f64; 6]>,
    /// Size of a pixel along x and y in mm, of slices that have a place.
    pub pixel: Option<[f64; 2]>,
    /// SliceThickness in mm, if there is one.
    pub thickness: Option<f64>,
    /// Whether the pixels went through a lossy compression.
    pub lossy: bool,
    /// What results repeat of patient and study: tags and values as the first file has them.
    copied: Vec<(Tag, Vec<u8>)>,
    /// What each slice came from, in the order of the volume.
    pub instances: Vec<Instance>,
}

/// The image that a slice came from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Instance {
    /// SOPClassUID.
    pub class: String,
    /// SOPInstanceUID.
    pub uid: String,
    /// The frame of a multi-frame image, from 1.
    pub frame: Option<u32>,
    /// ImagePositionPatient as the file writes it.
    pub position: Option<String>,
    /// Name of the file.
    pub file: String,
}

/// Reads one file.
///
/// # Errors
/// [`ReadError`] if the file is damaged, is no image, or is compressed in a way that is not decoded.
pub fn read_file(path: &Path, options: &ReadOptions) -> Result<Scan, ReadError> {
    let mut loader = Loader::files(options.memory);
    let place = Place::File(path.into());
    let fail = |problem: Problem| problem.at(path);
    let unpacked = Unpacked::new(loader.load(&place).map_err(fail)?, options.memory).map_err(fail)?;
    let file = unpacked.elements().map_err(fail)?;
    group::kind(&file).map_err(|what| fail(Problem::Unsupported(what)))?;
    let image = Image::new(place, file).map_err(fail)?;
    choose(path, &[image], &mut loader, options, Vec::new())
}

/// Reads a series from the files in a folder and those in it.
///
/// # Errors
/// As for [`read_file`]; [`Problem::Series`] if there are several series and none is chosen, [`Problem::Slices`] if slices
/// are missing, doubled, or do not fit each other.
pub fn read_folder(path: &Path, options: &ReadOptions) -> Result<Scan, ReadError> {
    let places = place::walk(path)?;
    read_places(path, places, Loader::files(options.memory), options)
}

/// The files in a folder and those in it; none where it cannot be read.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let places = place::walk(path).unwrap_or_default();
    places.into_iter().map(|place| place.path(path)).collect()
}

/// Reads a series from a ZIP archive, which may unfold to as much as the options allow.
///
/// # Errors
/// As for [`read_folder`].
pub fn read_zip(path: &Path, options: &ReadOptions) -> Result<Scan, ReadError> {
    let loader = Loader::archive(path, options.memory).map_err(|problem| problem.at(path))?;
    let entries = loader.entries().map_err(|problem| problem.at(path))?;
    read_places(path, entries, loader, options)
}

fn read_places(path: &Path, places: Vec<Place>, mut loader: Loader, options: &ReadOptions) -> Result<Scan, ReadError> {
    let (mut images, mut ignored, mut unfolded) = (Vec::new(), Vec::new(), 0);
    for place in places {
        let fail = |problem: Problem| problem.at(&place.path(path));
        let bytes = loader.load(&place).map_err(fail)?;
        unfolded += bytes.len() as u64;
        if matches!(place, Place::Entry(..)) {
            within(unfolded, options.memory).map_err(|problem| problem.at(path))?;
        }
        if !is_dicom(&bytes) {
            ignored.push(format!("{} (no DICOM file)", place.name()));
            continue;
        }
        let file: DicomFile = Unpacked::new(bytes, options.memory).and_then(|u| u.elements()).map_err(fail)?;
        match group::kind(&file) {
            Ok(()) => images.push(Image::new(place.clone(), file).map_err(fail)?),
            Err(what) => ignored.push(format!("{} ({what})", place.name())),
        }
    }
    if images.is_empty() {
        let passed =
            ignored.first().map_or(String::new(), |first| format!(", but {} others, such as {first}", ignored.len()));
        return Err(Problem::Unsupported(format!("no DICOM image{passed}")).at(path));
    }
    let count = ignored.len();
    let applied = ignored.into_iter().next().map(|first| Applied::Ignored { files: count, first });
    choose(path, &images, &mut loader, options, applied.into_iter().collect())
}

/// Reads the group that the options choose, or the only one.
fn choose(
    path: &Path,
    images: &[Image],
    loader: &mut Loader,
    options: &ReadOptions,
    mut applied: Vec<Applied>,
) -> Result<Scan, ReadError> {
    let (mut groups, notes) = groups(images).map_err(|problem| problem.at(path))?;
    let list: Vec<Listed> = groups.iter().zip(1..).map(|(group, number)| Listed::new(number, group, images)).collect();
    let chosen: Vec<usize> = match options.series.as_deref() {
        None => (0..list.len()).collect(),
        Some(text) => {
            let number = |listed: &Listed| text.parse() == Ok(listed.number);
            let by_number = list.iter().position(number);
            // A small number is one of the list, or a mistake.
            let is_number = text.len() <= NUMBER && text.bytes().all(|b| b.is_ascii_digit());
            let ends = |listed: &Listed| !is_number && listed.uid.ends_with(text);
            by_number.map_or_else(|| (0..list.len()).filter(|&i| ends(&list[i])).collect(), |i| vec![i])
        }
    };
    let [index] = chosen[..] else { return Err(Problem::Series(list).at(path)) };
    if images.len() > 1 || groups.len() > 1 {
        let Listed { uid, description, .. } = list[index].clone();
        applied.push(Applied::Series { uid, description, of: list.len() });
    }
    applied.extend(notes);
    let group: Group = groups.swap_remove(index);
    volume::volume(path, images, group, loader, options, applied)
}
