//! Label maps, boxes beside them and extents, deflated.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use umedsam::PixelBox;

use super::Item;
use super::error::PackProblem;
use super::slice::Beside;
use crate::data::case::large_labels;
use crate::data::dataset::Extent;

/// The box of a label that is not there.
const NONE: [u8; 4] = [1, 1, 0, 0];

/// Bytes that a label takes: 1 or 2.
pub(super) fn depth(labels: &[u16]) -> usize {
    if labels.iter().all(|&label| label < 256) { 1 } else { 2 }
}

pub(super) fn encode(parts: &Labels, z: usize) -> Vec<u8> {
    let Labels { map: labels, usable, beside, extents } = parts;
    // On the grid, coordinates are whole and below 256.
    let corners = |b: &PixelBox| [b.x0, b.y0, b.x1, b.y1].map(|c| c as u8);
    let mut bytes: Vec<u8> = match depth(labels) {
        1 => labels.iter().map(|&label| label as u8).collect(),
        _ => labels.iter().flat_map(|label| label.to_le_bytes()).collect(),
    };
    for &label in usable {
        for other in [z.checked_sub(1), Some(z + 1)] {
            let found = beside.iter().find(|b| b.label == label && Some(b.z) == other);
            bytes.extend(found.map_or(NONE, |b| corners(&b.bounds)));
        }
    }
    for label in usable {
        let extent = extents.get(label);
        bytes.extend(extent.map_or(NONE, |e| corners(&e.bounds)));
        // Volumes have fewer than 65536 slices.
        let ends = extent.map_or([0; 2], |e| [e.first as u16, e.last as u16]);
        ends.iter().for_each(|end| bytes.extend(end.to_le_bytes()));
    }
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes).and_then(|()| encoder.finish()).expect("memory takes what is written to it")
}

/// What is packed of a slice's labels.
#[derive(PartialEq)]
pub(super) struct Labels {
    /// The label of each pixel.
    pub(super) map: Vec<u16>,
    /// Those of more than `min_area` pixels.
    pub(super) usable: Vec<u16>,
    /// Their boxes in the slices beside.
    pub(super) beside: Vec<Beside>,
    /// Their extents, in a volume.
    pub(super) extents: BTreeMap<u16, Extent>,
}

pub(super) fn decode(bytes: &[u8], item: &Item, min_area: usize) -> Result<Labels, PackProblem> {
    let Item { z, width, height, depth, .. } = *item;
    let mut decoder = DeflateDecoder::new(bytes);
    let mut next = |length: usize| {
        let mut bytes = vec![0; length];
        decoder.read_exact(&mut bytes).map_err(|e| PackProblem::Labels(e.to_string()))?;
        Ok::<_, PackProblem>(bytes)
    };
    let stored = next(width * height * depth)?;
    let map: Vec<u16> = match depth {
        1 => stored.into_iter().map(u16::from).collect(),
        _ => stored.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect(),
    };
    let usable = large_labels(&map, width, min_area).map_err(|e| PackProblem::Labels(e.to_string()))?;
    if usable.is_empty() {
        return Err(PackProblem::value("no usable label", format!("one of more than {min_area} pixels")));
    }
    let corners = next(usable.len() * 2 * NONE.len())?;
    let mut beside = Vec::new();
    let sides = usable.iter().flat_map(|&label| [(label, z.checked_sub(1)), (label, Some(z + 1))]);
    let corners = corners.chunks_exact(NONE.len()).map(|c| [c[0], c[1], c[2], c[3]]);
    for ((label, other), corners) in sides.zip(corners).filter(|(_, corners)| *corners != NONE) {
        let bounds = bounds(corners, label, [width, height])?;
        let Some(z) = other else {
            return Err(PackProblem::value(format!("label {label} in slice -1"), "none before the first"));
        };
        beside.push(Beside { z, label, bounds });
    }
    let mut extents = BTreeMap::new();
    let stored = next(usable.len() * (NONE.len() + 4))?;
    for (&label, e) in usable.iter().zip(stored.chunks_exact(NONE.len() + 4)) {
        let corners = [e[0], e[1], e[2], e[3]];
        if corners == NONE {
            continue;
        }
        let bounds = bounds(corners, label, [width, height])?;
        let [first, last] = [[e[4], e[5]], [e[6], e[7]]].map(|b| usize::from(u16::from_le_bytes(b)));
        if !(first..=last).contains(&z) {
            let found = format!("slices {first} to {last} of label {label}");
            return Err(PackProblem::value(found, format!("slice {z} among them")));
        }
        extents.insert(label, Extent { bounds, first, last });
    }
    match decoder.read(&mut [0]) {
        Ok(0) => Ok(Labels { map, usable, beside, extents }),
        _ => Err(PackProblem::Labels("more bytes than labels and boxes".into())),
    }
}

/// A box within a slice.
fn bounds(corners: [u8; 4], label: u16, [width, height]: [usize; 2]) -> Result<PixelBox, PackProblem> {
    let [x0, y0, x1, y1] = corners;
    if x0 <= x1 && y0 <= y1 && usize::from(x1) < width && usize::from(y1) < height {
        return Ok(PixelBox::new(x0.into(), y0.into(), x1.into(), y1.into()));
    }
    let found = format!("box {corners:?} of label {label}");
    Err(PackProblem::value(found, format!("one within {width} x {height} pixels")))
}
