//! Which frames make a volume together.

use std::fmt;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde::Serialize;

use super::attributes::{group, item, text};
use super::elements::Elements;
use super::file::DicomFile;
use super::image::Format;
use super::place::Place;
use super::plane::Plane;
use super::stack::doubled;
use crate::read::Problem;
use crate::scan::Applied;

/// An image file that was looked through.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) place: Place,
    pub(super) file: DicomFile,
    pub(super) format: Format,
    pub(super) notes: Vec<Applied>,
}

impl Image {
    pub(super) fn new(place: Place, file: DicomFile) -> Result<Self, Problem> {
        let mut notes: Vec<Applied> = file.note.iter().map(|note| Applied::Note((*note).into())).collect();
        let format = Format::read(&file, &mut notes)?;
        Ok(Self { place, file, format, notes })
    }

    pub(super) fn text(&self, tag: Tag) -> String {
        text(&self.file.elements, tag).unwrap_or_default()
    }
}

/// One frame of an image, by its index in the list of images.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    pub(super) image: usize,
    pub(super) frame: usize,
    pub(super) plane: Option<Plane>,
}

/// Frames that belong together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) slices: Vec<Slice>,
    /// What tells it from others of its series.
    pub(super) what: String,
}

/// A series or a part of one that can be chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Listed {
    /// Its number in the list, from 1.
    pub number: usize,
    /// SeriesInstanceUID.
    pub uid: String,
    /// Modality.
    pub modality: String,
    /// SeriesDescription.
    pub description: String,
    /// Number of slices, rows and columns.
    pub shape: [usize; 3],
    /// What tells it from others of the same series.
    pub what: String,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, uid, modality, description, shape: [depth, height, width], what } = self;
        write!(
            f,
            "{number}: {modality} {depth}x{height}x{width} '{description}' {what}{}{uid}",
            if what.is_empty() { "" } else { " " }
        )
    }
}

impl Listed {
    pub(crate) fn message(list: &[Self]) -> String {
        let lines: String = list.iter().map(|listed| format!("\n  {listed}")).collect();
        format!("holds {} series; --series chooses one by its number or the end of its UID{lines}", list.len())
    }

    pub(super) fn new(number: usize, group: &Group, images: &[Image]) -> Self {
        let image = &images[group.slices[0].image];
        Self {
            number,
            uid: image.text(tags::SERIES_INSTANCE_UID),
            modality: image.text(tags::MODALITY),
            description: image.text(tags::SERIES_DESCRIPTION),
            shape: [group.slices.len(), image.format.rows, image.format.columns],
            what: group.what.clone(),
        }
    }
}

/// The groups of all images: by series, then by what can be stacked, then by what tells time points, echoes and the like
/// apart where several slices are at one place. Localizers among other images of their series are left out; of each
/// series that has some the number is told.
pub(super) fn groups(images: &[Image]) -> Result<(Vec<Group>, Vec<Applied>), Problem> {
    let mut series: Vec<(String, Vec<usize>)> = Vec::new();
    for (index, image) in images.iter().enumerate() {
        let uid = image.text(tags::SERIES_INSTANCE_UID);
        match series.iter_mut().find(|(other, _)| *other == uid) {
            Some((_, members)) => members.push(index),
            None => series.push((uid, vec![index])),
        }
    }
    let (mut groups, mut notes) = (Vec::new(), Vec::new());
    for (_, members) in &series {
        let mut parts = parallel(images, members)?;
        let localizer =
            |g: &Group| g.slices.iter().all(|s| images[s.image].text(tags::IMAGE_TYPE).contains("LOCALIZER"));
        if parts.iter().any(localizer) && !parts.iter().all(localizer) {
            let left: usize = parts.iter().filter(|g| localizer(g)).map(|g| g.slices.len()).sum();
            parts.retain(|g| !localizer(g));
            notes.push(Applied::Note(format!("{left} localizer images of the series passed over")));
        }
        let several = parts.len() > 1;
        for part in parts {
            let split = apart(images, part);
            for mut group in split {
                if several && group.what.is_empty() {
                    group.what = orientation(&group);
                }
                groups.push(group);
            }
        }
    }
    Ok((groups, notes))
}

fn orientation(group: &Group) -> String {
    let Some(Plane { row: [a, b, c], column: [d, e, f], .. }) = &group.slices[0].plane else { return String::new() };
    format!("rows along ({a:.2}, {b:.2}, {c:.2}), columns along ({d:.2}, {e:.2}, {f:.2})")
}

/// Frames of a series by format and orientation. Frames without a place stay with their file.
fn parallel(images: &[Image], members: &[usize]) -> Result<Vec<Group>, Problem> {
    let mut parts: Vec<Group> = Vec::new();
    for &index in members {
        let image = &images[index];
        for frame in 0..image.format.frames {
            let plane = Plane::read(&image.file.elements, frame, image.format.frames)?;
            let fits = |part: &&mut Group| {
                let first = &part.slices[0];
                let other = &images[first.image].format;
                let same = (other.rows, other.columns, other.samples)
                    == (image.format.rows, image.format.columns, image.format.samples)
                    && other.photometric == image.format.photometric;
                match (&first.plane, &plane) {
                    (Some(a), Some(b)) => same && a.parallel(b),
                    (None, None) => first.image == index,
                    _ => false,
                }
            };
            let slice = Slice { image: index, frame, plane: plane.clone() };
            match parts.iter_mut().find(fits) {
                Some(part) => part.slices.push(slice),
                None => parts.push(Group { slices: vec![slice], what: String::new() }),
            }
        }
    }
    Ok(parts)
}

/// What can tell images at one place apart: its name, and where it is in a functional group and at the top.
const KEYS: [(&str, Option<Tag>, Tag); 9] = [
    ("stack", Some(tags::FRAME_CONTENT_SEQUENCE), tags::STACK_ID),
    ("time point", Some(tags::FRAME_CONTENT_SEQUENCE), tags::TEMPORAL_POSITION_INDEX),
    ("time point", None, tags::TEMPORAL_POSITION_IDENTIFIER),
    ("echo", None, tags::ECHO_NUMBERS),
    ("echo time", Some(tags::MR_ECHO_SEQUENCE), tags::EFFECTIVE_ECHO_TIME),
    ("b-value", Some(tags::MR_DIFFUSION_SEQUENCE), tags::DIFFUSION_B_VALUE),
    ("image type", None, tags::IMAGE_TYPE),
    ("acquisition", None, tags::ACQUISITION_NUMBER),
    ("trigger time", None, tags::TRIGGER_TIME),
];

fn key(elements: &Elements, frame: usize, (_, sequence, tag): (&str, Option<Tag>, Tag)) -> Option<String> {
    text(sequence.map_or(elements, |sequence| group(elements, frame, sequence)), tag)
}

/// Splits a group with several slices at one place by the first attribute that leaves one each.
fn apart(images: &[Image], part: Group) -> Vec<Group> {
    let clashes = |slices: &[Slice]| {
        let planes: Vec<&Plane> = slices.iter().filter_map(|s| s.plane.as_ref()).collect();
        planes.len() > 1 && doubled(&planes).is_some()
    };
    if !clashes(&part.slices) {
        return vec![part];
    }
    for named in KEYS {
        let mut split: Vec<(Option<String>, Group)> = Vec::new();
        for slice in &part.slices {
            let value = key(&images[slice.image].file.elements, slice.frame, named);
            match split.iter_mut().find(|(other, _)| *other == value) {
                Some((_, group)) => group.slices.push(slice.clone()),
                None => {
                    let what = format!("{} {}", named.0, value.as_deref().unwrap_or("not told"));
                    split.push((value, Group { slices: vec![slice.clone()], what }));
                }
            }
        }
        if split.len() > 1 && split.iter().all(|(_, group)| !clashes(&group.slices)) {
            return split.into_iter().map(|(_, group)| group).collect();
        }
    }
    vec![part]
}

/// Whether an object is an image to segment, and else what it is. Pixels of segmentations are labels.
pub(super) fn kind(file: &DicomFile) -> Result<(), String> {
    let modality = text(&file.elements, tags::MODALITY).unwrap_or_default();
    let is = |what: &str| Err(format!("no image: {what}"));
    match modality.as_str() {
        "SEG" => is("a DICOM segmentation"),
        _ if file.elements.get(tags::DIRECTORY_RECORD_SEQUENCE).is_some() => is("a DICOMDIR"),
        _ if file.elements.get(tags::FLOAT_PIXEL_DATA).is_some()
            || file.elements.get(tags::DOUBLE_FLOAT_PIXEL_DATA).is_some() =>
        {
            is("its pixels are floats, which are not read")
        }
        _ if file.pixels.is_none() => is(&format!("a DICOM object without pixels ({modality})")),
        _ => Ok(()),
    }
}

/// UID of the series that an item of a sequence or the object tells.
pub(super) fn frame_of_reference(elements: &Elements) -> Option<String> {
    text(elements, tags::FRAME_OF_REFERENCE_UID).or_else(|| {
        item(elements, tags::REFERENCED_FRAME_OF_REFERENCE_SEQUENCE).and_then(|i| text(i, tags::FRAME_OF_REFERENCE_UID))
    })
}
