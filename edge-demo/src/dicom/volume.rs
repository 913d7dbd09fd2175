//! The scan of a group of frames.

use dicom_dictionary_std::tags;
use std::path::Path;
use umedsam::VolumeSize;
use umedsam::intensity::{NumberType, Values};

use super::attributes::text;
use super::codec::{Codec, decode};
use super::color::{Palette, from_ybr};
use super::file::Unpacked;
use super::group::{Group, Image, Slice, frame_of_reference};
use super::modality::{Modality, clean, stored_range};
use super::place::Loader;
use super::plane::{Plane, pixel, thickness};
use super::stack::stack;
use super::voi::{display, lossy};
use super::{Instance, Series, seg};
use crate::read::{Problem, ReadError, ReadOptions};
use crate::scan::{Affine, Applied, Origin, Scan, Sink};

/// Reads the frames of a group and puts them together. `path` is the file, folder or archive.
pub(super) fn volume(
    path: &Path,
    images: &[Image],
    group: Group,
    loader: &mut Loader,
    options: &ReadOptions,
    mut applied: Vec<Applied>,
) -> Result<Scan, ReadError> {
    let mut slices = group.slices;
    let first = &images[slices[0].image];
    let at = |slice: &Slice| images[slice.image].place.path(path);
    applied.extend(first.notes.iter().cloned());
    let (mut affine, mut spacing) = (None, None);
    let here = at(&slices[0]);
    let fail = |problem: Problem| problem.at(&here);
    if slices.iter().all(|s| s.plane.is_some()) {
        let found = place(images, &mut slices, options, &mut applied).map_err(|problem| problem.at(path))?;
        (affine, spacing) = (Some(found), Some(found.spacing()));
    } else if slices.len() == 1 {
        let elements = &first.file.elements;
        let thick = thickness(elements, 0).map_err(fail)?;
        spacing = pixel(elements, 0).map_err(fail)?.map(|[x, y]| [x, y, thick.unwrap_or(y)]);
        applied.push(Applied::NoGeometry);
    } else {
        applied.push(Applied::NoGeometry);
    }
    let depth = slices.len();
    if let Some(index) = options.frame {
        if index >= depth {
            return Err(fail(Problem::Frames { what: "frames", of: depth }));
        }
        slices = vec![slices.swap_remove(index)];
        affine = affine.map(|a: Affine| {
            let origin = a.place([0.0, 0.0, index as f64]);
            Affine([0, 1, 2].map(|i| [a.0[i][0], a.0[i][1], a.0[i][2], origin[i]]))
        });
        applied.push(Applied::Frame { index, of: depth });
    }
    let first = &images[slices[0].image];
    let (values, channels) = values(path, images, &slices, loader, options, &mut applied)?;
    let middle = &slices[slices.len() / 2];
    let (image, here) = (&images[middle.image], at(middle));
    let fail = |problem: Problem| problem.at(&here);
    let modality = Modality::read(&image.file.elements, &image.format, middle.frame).map_err(fail)?;
    let display = display(&image.file.elements, &image.format, middle.frame, &modality).map_err(fail)?;
    if first.text(tags::MODALITY) == "PT" {
        let units = first.text(tags::UNITS);
        applied.push(Applied::Note(format!("PET in the file's units ({units}); no SUV was computed")));
    }
    let series = series(images, &slices).map_err(fail)?;
    if series.lossy {
        applied.push(Applied::Note("compressed with loss before".into()));
    }
    Ok(Scan {
        values,
        channels,
        size: VolumeSize { depth: slices.len(), height: first.format.rows, width: first.format.columns },
        affine,
        spacing,
        modality: text(&first.file.elements, tags::MODALITY),
        path: path.into(),
        origin: Origin::Dicom(Box::new(series)),
        display,
        applied,
    })
}

/// Puts the slices in order, and finds where they lie (in RAS).
fn place(
    images: &[Image],
    slices: &mut Vec<Slice>,
    options: &ReadOptions,
    applied: &mut Vec<Applied>,
) -> Result<Affine, Problem> {
    let first = &images[slices[0].image];
    let planes: Vec<&Plane> = slices.iter().filter_map(|s| s.plane.as_ref()).collect();
    let thick = thickness(&first.file.elements, slices[0].frame)?;
    if slices.len() == 1 && thick.is_none() {
        applied.push(Applied::Note("a slice of unknown thickness; 1 mm is taken".into()));
    }
    let name = |i: usize| {
        let (slice, image) = (&slices[i], &images[slices[i].image]);
        if image.format.frames > 1 { format!("frame {}", slice.frame) } else { image.place.name() }
    };
    let stacked = stack(&planes, thick.unwrap_or(1.0), options.gaps, name)
        .map_err(|reason| Problem::Slices { uid: first.text(tags::SERIES_INSTANCE_UID), reason })?;
    applied.extend(stacked.notes);
    *slices = stacked.order.iter().map(|&i| slices[i].clone()).collect();
    Ok(stacked.affine.flipped())
}

/// The values of all slices, and the number of channels.
fn values(
    path: &Path,
    images: &[Image],
    slices: &[Slice],
    loader: &mut Loader,
    options: &ReadOptions,
    applied: &mut Vec<Applied>,
) -> Result<(Values, usize), ReadError> {
    let first = &images[slices[0].image];
    let palette = first.format.photometric == "PALETTE COLOR";
    let channels = if palette { 3 } else { first.format.samples };
    let mut modalities = Vec::with_capacity(slices.len());
    for slice in slices {
        let image = &images[slice.image];
        let fail = |problem: Problem| problem.at(&image.place.path(path));
        Codec::of(&image.file).map_err(fail)?;
        modalities.push(if channels == 1 {
            Modality::read(&image.file.elements, &image.format, slice.frame).map_err(fail)?
        } else {
            Modality::Linear(1.0, 0.0)
        });
    }
    let here = first.place.path(path);
    let fail = |problem: Problem| problem.at(&here);
    let kind = kind(images, slices, &modalities, channels);
    let count = slices.len() as u64 * (first.format.rows * first.format.columns * channels) as u64;
    options.allow(count.saturating_mul(kind.size() as u64)).map_err(fail)?;
    let mut sink = Sink::narrow(kind, count as usize).map_err(|error| fail(error.into()))?;
    let mut loaded: Option<(usize, Unpacked)> = None;
    let mut colors = None;
    for (slice, modality) in slices.iter().zip(&modalities) {
        let image = &images[slice.image];
        let fail = |problem: Problem| problem.at(&image.place.path(path));
        if loaded.as_ref().is_none_or(|(index, _)| *index != slice.image) {
            let bytes = loader.load(&image.place).map_err(fail)?;
            loaded = Some((slice.image, Unpacked::new(bytes, options.memory).map_err(fail)?));
        }
        let Some((_, unpacked)) = &loaded else { continue };
        let format = &image.format;
        let decoded = decode(&unpacked.bytes, &image.file, format, slice.frame).map_err(fail)?;
        let mut raw = decoded.values;
        raw.iter_mut().for_each(|v| *v = clean(*v, format, decoded.bits));
        if palette {
            let table = Palette::read(&image.file.elements, format.signed).map_err(fail)?;
            sink.extend(raw.iter().flat_map(|&v| table.color(v)).map(|v| v as f64));
            colors = Some(Applied::Palette);
        } else if channels == 3 {
            if format.photometric.starts_with("YBR") {
                if !decoded.rgb {
                    from_ybr(&mut raw, format.stored);
                }
                colors = Some(Applied::ToRgb { from: format.photometric.clone() });
            }
            sink.extend(raw.iter().map(|&v| v as f64));
        } else {
            let values = raw.iter().map(|&v| modality.apply(v));
            sink.fit(values.clone()).map_err(|error| fail(error.into()))?;
            sink.extend(values);
        }
    }
    applied.extend(colors);
    applied.extend(rescaled(&modalities));
    Ok((sink.finish(), channels))
}

/// The type that holds the values of all slices.
fn kind(images: &[Image], slices: &[Slice], modalities: &[Modality], channels: usize) -> NumberType {
    let first = &images[slices[0].image].format;
    if channels == 3 {
        let wide = first.photometric != "PALETTE COLOR" && first.stored > 8;
        return match (wide, first.stored) {
            (false, _) => NumberType::U8,
            (true, ..=16) => NumberType::U16,
            _ => NumberType::U32,
        };
    }
    let ranges = slices.iter().map(|s| stored_range(&images[s.image].format));
    let (low, high) = ranges.fold((0.0f64, 0.0f64), |(a, b), (low, high)| (a.min(low), b.max(high)));
    if modalities.iter().any(|m| matches!(m, Modality::Table(_))) {
        return NumberType::U16;
    }
    Sink::kind(low, high, modalities.iter().map(Modality::pair))
}

fn rescaled(modalities: &[Modality]) -> Option<Applied> {
    match &modalities[0] {
        first if modalities.iter().any(|m| m != first) => Some(Applied::RescaleBySlice),
        Modality::Table(_) => Some(Applied::ModalityTable),
        Modality::Linear(1.0, 0.0) => None,
        Modality::Linear(slope, intercept) => Some(Applied::Rescale { slope: *slope, intercept: *intercept }),
    }
}

/// The identity of slices, in the order of the volume.
fn series(images: &[Image], slices: &[Slice]) -> Result<Series, Problem> {
    let first = &images[slices[0].image];
    let elements = &first.file.elements;
    let instance = |slice: &Slice| {
        let image = &images[slice.image];
        Instance {
            class: image.text(tags::SOP_CLASS_UID),
            uid: image.text(tags::SOP_INSTANCE_UID),
            frame: (image.format.frames > 1).then_some(slice.frame as u32 + 1),
            position: slice.plane.as_ref().map(|p| p.written.clone()),
            file: image.place.name(),
        }
    };
    let direction = |p: &Plane| [p.row[0], p.row[1], p.row[2], p.column[0], p.column[1], p.column[2]];
    Ok(Series {
        uid: first.text(tags::SERIES_INSTANCE_UID),
        study: first.text(tags::STUDY_INSTANCE_UID),
        frame_of_reference: frame_of_reference(elements),
        orientation: slices[0].plane.as_ref().map(direction),
        pixel: slices[0].plane.as_ref().map(|p| p.pixel),
        thickness: thickness(elements, slices[0].frame)?,
        lossy: lossy(elements)?,
        copied: seg::copied(elements),
        instances: slices.iter().map(instance).collect(),
    })
}
