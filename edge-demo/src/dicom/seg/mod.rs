//! Label maps as DICOM segmentations: one bit a voxel, one segment a label, each frame with the image it was made from.

mod bits;
mod describe;
mod read;
#[cfg(test)]
mod tests;
mod time;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_dictionary_std::uids::{EXPLICIT_VR_LITTLE_ENDIAN, SEGMENTATION_STORAGE};
use umedsam::VolumeSize;
use umedsam::files::write_atomically;

use super::Series;
use super::dataset::{Dataset, head};
use super::elements::{Elements, Value};
use super::file::meta_element;
use super::uid::{derived, is_uid};
use crate::objects::Object;
use crate::read::{Problem, Source};
use crate::scan::{Origin, Scan};
use bits::Packer;
use describe::Description;
pub use read::Segments;

/// Names the program in its files, by which they are known again.
const CLASS: &str = "2.25.206686185434904866872953419261472337905";
const VERSION: &[u8] = b"UMEDSAM";

/// What a segmentation repeats of the first image. All are text.
const COPIED: [Tag; 15] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_DESCRIPTION,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_ID,
    tags::POSITION_REFERENCE_INDICATOR,
    tags::PATIENT_AGE,
    tags::LOSSY_IMAGE_COMPRESSION_RATIO,
    tags::LOSSY_IMAGE_COMPRESSION_METHOD,
];

/// Those of them that an image has.
pub(super) fn copied(elements: &Elements) -> Vec<(Tag, Vec<u8>)> {
    let found = COPIED.iter().map(|&tag| (tag, elements.get(tag)));
    let text = |(tag, value): (Tag, Option<&Value>)| match value {
        Some(Value::Text(text)) => Some((tag, text.clone())),
        _ => None,
    };
    found.filter_map(text).collect()
}

/// Why a DICOM segmentation cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegError {
    /// The system could not write it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The scan was not read from DICOM.
    #[error("a DICOM segmentation refers to DICOM images, and this is none")]
    Origin,
    /// An image has no identity that a segmentation could refer to.
    #[error("{file}: {field} is '{found}'; a UID is expected, as a DICOM segmentation refers to it")]
    Uid {
        /// The image.
        file: String,
        /// Name in the standard.
        field: &'static str,
        /// What it holds.
        found: String,
    },
    /// Labels and scan do not fit each other.
    #[error("{labels} labels for {voxels} voxels")]
    Size {
        /// Number of labels.
        labels: usize,
        /// Number of voxels.
        voxels: usize,
    },
    /// A label is beyond the number of segments.
    #[error("label {label} of {segments} segments")]
    Label {
        /// The label.
        label: u16,
        /// Number of segments.
        segments: u16,
    },
}

/// What segmentations of a scan share: whom and which images they are of, and where those lie.
#[derive(Clone, Debug)]
pub struct Segmentation<'a> {
    series: &'a Series,
    size: VolumeSize,
    /// Distance of slices along their normal in mm, of several that have a place.
    between: Option<f64>,
    /// Whether the frames have a place in the patient.
    placed: bool,
}

impl<'a> Segmentation<'a> {
    /// The segmentation of a scan. It has a place in the patient where the images have one and name their frame of
    /// reference; without, it still refers to them.
    ///
    /// # Errors
    /// [`SegError::Origin`] if the scan is not from DICOM, [`SegError::Uid`] if its study, series or images have no
    /// UID.
    pub fn of(scan: &'a Scan) -> Result<Self, SegError> {
        let Origin::Dicom(series) = &scan.origin else { return Err(SegError::Origin) };
        let check = |file: &str, field, uid: &str| match is_uid(uid) {
            true => Ok(()),
            false => Err(SegError::Uid { file: file.into(), field, found: uid.into() }),
        };
        let first = series.instances.first().map_or("", |instance| &instance.file);
        check(first, "StudyInstanceUID", &series.study)?;
        check(first, "SeriesInstanceUID", &series.uid)?;
        series.frame_of_reference.iter().try_for_each(|uid| check(first, "FrameOfReferenceUID", uid))?;
        for instance in &series.instances {
            check(&instance.file, "SOPClassUID", &instance.class)?;
            check(&instance.file, "SOPInstanceUID", &instance.uid)?;
        }
        let placed = series.frame_of_reference.is_some()
            && scan.affine.is_some()
            && series.instances.iter().all(|i| i.position.is_some());
        let between = scan.affine.filter(|_| scan.size.depth > 1).map(|affine| affine.between());
        Ok(Self { series, size: scan.size, between, placed })
    }

    /// Whether the frames have a place in the patient.
    pub fn is_placed(&self) -> bool {
        self.placed
    }

    /// Writes labels, slice by slice and row by row, as segments: label 1 is the first of `objects`, and so on. The same
    /// labels and objects of the same images make the same UIDs. A frame is written for each slice of each label that is there; if none is, an empty one.
    ///
    /// # Errors
    /// [`SegError::Size`] and [`SegError::Label`] if labels and scan do not fit; the system's; that of kind
    /// [`io::ErrorKind::InvalidInput`] if the pixels would have 4 GiB, or an attribute of the images is too long.
    pub fn write(&self, path: &Path, labels: &[u16], objects: &[Object]) -> Result<(), SegError> {
        let segments = u16::try_from(objects.len()).unwrap_or(u16::MAX);
        let VolumeSize { depth, height, width } = self.size;
        let area = height * width;
        if labels.len() != depth * area {
            return Err(SegError::Size { labels: labels.len(), voxels: depth * area });
        }
        if let Some(&label) = labels.iter().find(|l| **l > segments) {
            return Err(SegError::Label { label, segments });
        }
        // In order of segments, and within them of slices.
        let mut frames: BTreeSet<(u16, usize)> = BTreeSet::new();
        for (z, slice) in labels.chunks_exact(area).enumerate() {
            let mut last = 0;
            for &label in slice.iter().filter(|l| **l > 0) {
                if label != last {
                    frames.insert((label, z));
                    last = label;
                }
            }
        }
        if frames.is_empty() {
            frames.insert((1, 0));
        }
        let frames: Vec<(u16, usize)> = frames.into_iter().collect();
        let content = self.content(labels, objects);
        let uid = derived(["instance", &content]);
        let mut bytes = meta(&uid)?;
        // An image without an object has an empty segment.
        let one = [Object::new(1)];
        let objects = if objects.is_empty() { &one } else { objects };
        let description = Description { segmentation: self, frames: &frames, objects };
        description.dataset(&uid, &content).encode(&mut bytes)?;
        let length = (frames.len() * area).div_ceil(8).next_multiple_of(2);
        head(tags::PIXEL_DATA, VR::OB, length, &mut bytes)?;
        write_atomically(path, |file| {
            file.write_all(&bytes)?;
            let mut packer = Packer::new(file);
            for &(segment, z) in &frames {
                packer.frame(&labels[z * area..][..area], segment)?;
            }
            packer.finish()
        })?;
        Ok(())
    }

    /// The UID that stands for these labels of these images.
    fn content(&self, labels: &[u16], objects: &[Object]) -> String {
        let head = [env!("CARGO_PKG_VERSION").into(), self.series.uid.clone(), objects.len().to_string()];
        let told = objects.iter().filter(|object| object.name.is_some() || object.code.is_some());
        let told = told.map(|object| format!("{object:?}"));
        let instances = self.series.instances.iter().map(|i| format!("{} {}", i.uid, i.frame.unwrap_or(1)));
        // A part at a time, as a copy of all labels could be large.
        let labels = labels.chunks(1 << 16).map(|part| part.iter().flat_map(|l| l.to_le_bytes()).collect());
        derived(head.into_iter().chain(told).chain(instances).map(String::into_bytes).chain(labels))
    }
}

/// What is before the elements: the preamble, and the file meta information.
fn meta(instance: &str) -> io::Result<Vec<u8>> {
    let elements = Dataset::new()
        .with(tags::FILE_META_INFORMATION_VERSION, [0, 1])
        .with(tags::MEDIA_STORAGE_SOP_CLASS_UID, SEGMENTATION_STORAGE)
        .with(tags::MEDIA_STORAGE_SOP_INSTANCE_UID, instance)
        .with(tags::TRANSFER_SYNTAX_UID, EXPLICIT_VR_LITTLE_ENDIAN)
        .with(tags::IMPLEMENTATION_CLASS_UID, CLASS)
        .with(tags::IMPLEMENTATION_VERSION_NAME, VERSION);
    let mut rest = Vec::new();
    elements.encode(&mut rest)?;
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    Dataset::new().longs(tags::FILE_META_INFORMATION_GROUP_LENGTH, &[rest.len() as u32]).encode(&mut bytes)?;
    bytes.extend(rest);
    Ok(bytes)
}

/// Whether [`Segmentation::write`] wrote this file.
pub fn is_segmentation(path: &Path) -> bool {
    let mut bytes = [0; 512];
    let ended = |actual| Problem::Ended { part: "the header", expected: 512, actual };
    let filled = Source::open(path).and_then(|mut source| source.fill(&mut bytes, ended));
    if filled.is_err() || bytes[128..132] != *b"DICM" {
        return false;
    }
    let mut at = 132;
    while let Some((element, value)) = meta_element(&bytes, at) {
        if element == tags::IMPLEMENTATION_VERSION_NAME.element() {
            return bytes[value].strip_prefix(VERSION).is_some_and(|rest| rest.iter().all(|b| *b == b' '));
        }
        at = value.end;
    }
    false
}
