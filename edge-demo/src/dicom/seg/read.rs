//! Reading segmentations of whichever maker.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dicom_dictionary_std::tags;
use umedsam::{VolumeSize, memory};

use crate::dicom::attributes::{group, item, number, numbers, text};
use crate::dicom::codec::decode;
use crate::dicom::file::{DicomFile, Unpacked, is_dicom};
use crate::dicom::image::Format;
use crate::dicom::modality::clean;
use crate::dicom::place::{Loader, Place};
use crate::dicom::plane::{Plane, thickness};
use crate::dicom::{Series, elements::Elements};
use crate::labels::{Grid, GridError, LabelMap, Selection, Voxels};
use crate::read::{Problem, ReadError, ReadOptions, Source};
use crate::scan::{Affine, dot, minus, times};

/// A DICOM segmentation: frames with the pixels of segments, binary ones or a label map.
#[derive(Clone, Debug)]
pub struct Segments {
    file: DicomFile,
    bytes: Vec<u8>,
    format: Format,
    frames: Vec<Frame>,
    names: BTreeMap<u16, String>,
}

/// One frame.
#[derive(Clone, Debug)]
struct Frame {
    /// The segment of a binary frame; of a label map the values tell.
    segment: Option<u16>,
    plane: Option<Plane>,
    /// The image and the frame of it, from 1, that this one is of.
    source: Option<(String, Option<u32>)>,
    /// In mm.
    thickness: f64,
}

impl Frame {
    fn grid(&self, format: &Format) -> Option<Grid> {
        let plane = self.plane.as_ref()?;
        let step = times(plane.normal(), self.thickness);
        let rows = [0, 1, 2].map(|i| {
            let (x, y) = (plane.row[i] * plane.pixel[0], plane.column[i] * plane.pixel[1]);
            [x, y, step[i], plane.position[i]]
        });
        let size = VolumeSize { depth: 1, height: format.rows, width: format.columns };
        Some(Grid::new(size, Affine(rows).flipped()))
    }
}

impl Segments {
    /// Reads a file if it is a DICOM segmentation.
    ///
    /// # Errors
    /// [`ReadError`] if it is one that is damaged, or whose segments are fractions.
    pub fn read(path: &Path, options: &ReadOptions) -> Result<Option<Self>, ReadError> {
        let fail = |problem: Problem| problem.at(path);
        if !path.is_file() || !begins_as_dicom(path).map_err(fail)? {
            return Ok(None);
        }
        let bytes = Loader::files(options.memory).load(&Place::File(path.into())).map_err(fail)?;
        let unpacked = Unpacked::new(bytes, options.memory).map_err(fail)?;
        let file = unpacked.elements().map_err(fail)?;
        if text(&file.elements, tags::MODALITY).as_deref() != Some("SEG") {
            return Ok(None);
        }
        Self::of(file, unpacked.bytes).map(Some).map_err(fail)
    }

    fn of(file: DicomFile, bytes: Vec<u8>) -> Result<Self, Problem> {
        let elements = &file.elements;
        let kind = text(elements, tags::SEGMENTATION_TYPE).unwrap_or_default();
        if !matches!(kind.as_str(), "BINARY" | "LABELMAP") {
            return Err(Problem::Unsupported(format!(
                "a DICOM segmentation of the type '{kind}'; BINARY and LABELMAP are read"
            )));
        }
        let format = Format::read(&file, &mut Vec::new())?;
        if format.samples != 1 {
            return Err(Problem::field("SamplesPerPixel", format.samples, "1, of a segmentation"));
        }
        let mut names = BTreeMap::new();
        for item in elements.items(tags::SEGMENT_SEQUENCE) {
            // Label maps may describe their background as segment 0.
            if let Some(segment) = number(item, tags::SEGMENT_NUMBER)?.filter(|segment| *segment != 0.0) {
                let name = text(item, tags::SEGMENT_LABEL).unwrap_or_default();
                names.insert(label(segment)?, name);
            }
        }
        let frame = |index: usize| {
            let segment = match kind.as_str() {
                "BINARY" => Some(segment(elements, index)?),
                _ => None,
            };
            let plane = Plane::read(elements, index, format.frames)?;
            let thickness = thickness(elements, index)?.unwrap_or(1.0);
            Ok(Frame { segment, plane, source: source(elements, index)?, thickness })
        };
        let frames = (0..format.frames).map(frame).collect::<Result<_, Problem>>()?;
        Ok(Self { frames, names, format, bytes, file })
    }

    /// The labels on the voxels of an image.
    pub(crate) fn on(&self, grid: &Grid, series: Option<&Series>, selection: &Selection) -> Result<LabelMap, Problem> {
        let mut labels = memory::zeros(grid.voxels())?;
        let mut from: BTreeMap<u16, BTreeSet<u16>> = BTreeMap::new();
        let mut overlaps: BTreeMap<(u16, u16), usize> = BTreeMap::new();
        for (index, frame) in self.frames.iter().enumerate() {
            if frame.segment.is_some_and(|segment| selection.of(segment) == 0) {
                continue;
            }
            let decoded = decode(&self.bytes, &self.file, &self.format, index)?;
            let found = |v: &i64| {
                let value = clean(*v, &self.format, decoded.bits);
                frame.segment.map_or(value, |segment| i64::from(value != 0) * i64::from(segment))
            };
            let (mut voxels, mut last) = (None, 0);
            for (i, value) in decoded.values.iter().map(found).enumerate().filter(|(_, value)| *value != 0) {
                let segment = label(value as f64)?;
                let kept = selection.of(segment);
                if kept == 0 {
                    continue;
                }
                if segment != last {
                    from.entry(kept).or_default().insert(segment);
                    last = segment;
                }
                // Empty frames may lie anywhere.
                let voxels = match &voxels {
                    Some(voxels) => voxels,
                    None => voxels.insert(self.voxels(frame, index, grid, series)?.indices().collect::<Vec<_>>()),
                };
                let voxel = &mut labels[voxels[i]];
                if *voxel != 0 && *voxel != kept {
                    *overlaps.entry(((*voxel).min(kept), (*voxel).max(kept))).or_default() += 1;
                }
                *voxel = kept;
            }
        }
        if let Some((&(first, second), &voxels)) = overlaps.first_key_value() {
            return Err(Problem::Overlap { first, second, voxels });
        }
        Ok(LabelMap { labels, grid: *grid, names: selection.named(&self.names), from, applied: Vec::new() })
    }

    /// The voxels of a frame.
    fn voxels(&self, frame: &Frame, index: usize, grid: &Grid, series: Option<&Series>) -> Result<Voxels, Problem> {
        if let (Some(own), Some(_)) = (frame.grid(&self.format), grid.affine) {
            return Ok(own.within(grid)?);
        }
        let nowhere = || {
            let what = format!("frame {} has no place that the image has, and is of none of its slices", index + 1);
            Problem::Unsupported(what)
        };
        // A segmentation of one image, and there is one image.
        if grid.size.depth == 1 && series.is_none() && self.frames.iter().all(|other| other.source == frame.source) {
            return self.slice(grid, 0);
        }
        let (series, (uid, number)) = (series.ok_or_else(nowhere)?, frame.source.as_ref().ok_or_else(nowhere)?);
        let instances = &series.instances;
        let same = |number: &Option<u32>| instances.iter().position(|i| i.uid == *uid && i.frame == *number);
        let z = same(number).or_else(|| same(&None)).ok_or_else(nowhere)?;
        self.slice(grid, z)
    }

    /// A frame in the place of slice `z`.
    fn slice(&self, grid: &Grid, z: usize) -> Result<Voxels, Problem> {
        let (size, own) = (grid.size, (self.format.rows, self.format.columns));
        if own != (size.height, size.width) {
            let (found, expected) = ([1, own.0, own.1], [1, size.height, size.width]);
            return Err(GridError::Size { found, expected }.into());
        }
        Ok(Voxels::slice(size, z))
    }

    /// The least volume of evenly spaced slices that has the frames of all.
    pub(crate) fn grid(all: &[&Self], options: &ReadOptions) -> Result<Grid, Problem> {
        let unplaced = || Problem::Unsupported("frames of a segmentation have no place; an image is needed".into());
        let frames: Vec<(&Frame, &Format)> = all.iter().flat_map(|s| s.frames.iter().map(|f| (f, &s.format))).collect();
        let &(first, format) = frames.first().ok_or_else(unplaced)?;
        let plane = first.plane.as_ref().ok_or_else(unplaced)?;
        let mut places = Vec::with_capacity(frames.len());
        for (frame, other) in &frames {
            let own = frame.plane.as_ref().ok_or_else(unplaced)?;
            if !own.parallel(plane) || (other.rows, other.columns) != (format.rows, format.columns) {
                return Err(Problem::Unsupported("frames of different orientation or size; an image is needed".into()));
            }
            places.push((own.along(plane.normal()), own.position));
        }
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        places.dedup_by(|a, b| (a.0 - b.0).abs() < 0.01);
        let (low, high) = (places[0], places[places.len() - 1]);
        let gap = places.windows(2).map(|w| w[1].0 - w[0].0).fold(f64::INFINITY, f64::min);
        let (steps, step) = if places.len() > 1 {
            let steps = ((high.0 - low.0) / gap).round();
            (steps, times(minus(high.1, low.1), 1.0 / steps))
        } else {
            (0.0, times(plane.normal(), first.thickness))
        };
        let depth = steps as usize + 1;
        let voxels = (depth as u64).saturating_mul((format.rows * format.columns) as u64);
        options.allow(voxels.saturating_mul(2))?;
        let rows = [0, 1, 2].map(|i| {
            let (x, y) = (plane.row[i] * plane.pixel[0], plane.column[i] * plane.pixel[1]);
            [x, y, step[i], low.1[i]]
        });
        debug_assert!(dot(step, plane.normal()) > 0.0);
        let size = VolumeSize { depth, height: format.rows, width: format.columns };
        Ok(Grid::new(size, Affine(rows).flipped()))
    }
}

/// Whether a file begins as DICOM does.
fn begins_as_dicom(path: &Path) -> Result<bool, Problem> {
    let mut head = [0; 132];
    let mut length = head.len() as u64;
    let filled = Source::open(path)?.fill(&mut head, |actual| {
        length = actual;
        Problem::Ended { part: "the file", expected: 132, actual }
    });
    match filled {
        Ok(()) | Err(Problem::Ended { .. }) => Ok(is_dicom(&head[..length as usize])),
        Err(problem) => Err(problem),
    }
}

fn label(value: f64) -> Result<u16, Problem> {
    let label = value as u16;
    if label > 0 && f64::from(label) == value {
        Ok(label)
    } else {
        Err(Problem::field("SegmentNumber", value, "a whole number from 1 to 65535"))
    }
}

fn segment(elements: &Elements, frame: usize) -> Result<u16, Problem> {
    let group = group(elements, frame, tags::SEGMENT_IDENTIFICATION_SEQUENCE);
    let expected = "the segment of each frame";
    let found = number(group, tags::REFERENCED_SEGMENT_NUMBER)?;
    label(found.ok_or_else(|| Problem::field("ReferencedSegmentNumber", "missing", expected))?)
}

fn source(elements: &Elements, frame: usize) -> Result<Option<(String, Option<u32>)>, Problem> {
    let groups = group(elements, frame, tags::DERIVATION_IMAGE_SEQUENCE);
    let Some(image) = item(groups, tags::SOURCE_IMAGE_SEQUENCE) else { return Ok(None) };
    let number = numbers(image, tags::REFERENCED_FRAME_NUMBER)?.map(|numbers| numbers[0] as u32);
    Ok(text(image, tags::REFERENCED_SOP_INSTANCE_UID).map(|uid| (uid, number)))
}
