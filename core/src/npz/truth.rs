//! The truth of a case, and whether boxes or segmentations can be compared with it.

use std::path::{Path, PathBuf};
use std::prelude::v1::*;

use super::array::Archive;
use super::{Boxes, Limits, NpzError, Problem, spacing};
use crate::metrics::group;

/// The truth of a case, for scoring.
///
/// Labels are compared by their values, which is right only if the values mean the same. Check this before scoring:
/// with [`of_boxes`](Self::of_boxes) if the masks were made from the case's boxes and label `i` belongs to the `i`-th,
/// with [`of_segs`](Self::of_segs) if they were read from a file.
#[derive(Clone, Debug)]
pub struct Truth {
    /// Label map; 0 is background.
    pub labels: Vec<u16>,
    /// Shape of the label map: (H,W) or (D,H,W).
    pub shape: Vec<usize>,
    /// Size of a voxel along x, y, z in mm, if the case has `spacing`.
    pub spacing: Option<[f64; 3]>,
    /// The boxes, if the case has them.
    pub boxes: Option<Boxes>,
    path: PathBuf,
}

impl Truth {
    /// A truth that was read by other means, without boxes. `path` is for messages.
    pub fn new(path: &Path, labels: Vec<u16>, shape: Vec<usize>, spacing: Option<[f64; 3]>) -> Self {
        Self { labels, shape, spacing, boxes: None, path: path.into() }
    }

    /// Reads `gts`, and `spacing` and `boxes` if the case has them.
    ///
    /// # Errors
    /// [`NpzError`] if the file is damaged or exceeds the limits, if an array cannot be used, or if the dimension in
    /// the file's name, by which scores are grouped, is not that of `gts`.
    pub fn read(path: &Path, limits: &Limits) -> Result<Self, NpzError> {
        let fail = |array, problem| NpzError { path: path.into(), array: Some(array), problem };
        let mut archive = Archive::open(path, limits)?;
        let (labels, shape) = archive.labels("gts")?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let expected = match group(&name).1 {
            "2D" if shape.len() != 2 => Some("(H,W)"),
            "3D" if shape.len() != 3 => Some("(D,H,W)"),
            _ => None,
        };
        if let Some(expected) = expected {
            let expected = format!("{expected}, as the file's name says,");
            return Err(fail("gts", Problem::Shape { found: shape, expected }));
        }
        let spacing = archive.read("spacing")?.map(|array| spacing(&array)).transpose();
        let boxes = archive.boxes()?;
        Ok(Self { labels, shape, spacing: spacing.map_err(|p| fail("spacing", p))?, boxes, path: path.into() })
    }

    /// Checks that masks of the boxes, numbered from 1, can be compared with the truth.
    ///
    /// # Errors
    /// [`Problem::Labels`] unless the labels are 1 to the number of boxes, [`Problem::Outside`] if one of them lies
    /// beside the box of its number.
    pub fn of_boxes(&self) -> Result<(), NpzError> {
        let Some(boxes) = &self.boxes else { return Ok(()) };
        let (found, extents) = (self.found(), self.extents());
        if !found.iter().copied().eq(1..=boxes.len()) {
            return Err(self.fail(Problem::Labels { found: list(&found), other: numbers(boxes) }));
        }
        let outside = |label: &usize| extents[*label].is_some_and(|extent| extent.outside(boxes, label - 1));
        match found.iter().copied().find(outside) {
            Some(label) => Err(self.fail(Problem::Outside { label })),
            None => Ok(()),
        }
    }

    /// Checks that the label map `segs` of a segmentation can be compared with the truth: both number the objects by
    /// the boxes, or both have the case's own labels.
    ///
    /// # Errors
    /// [`Problem::Labels`] or [`Problem::Outside`] if they do not, or if it cannot be decided.
    pub fn of_segs(&self, segs: &[u16]) -> Result<(), NpzError> {
        let (found, segs) = (self.found(), present(segs));
        let within = segs.iter().all(|label| found.binary_search(label).is_ok());
        let same = match &self.boxes {
            None => within,
            Some(boxes) if found.iter().copied().eq(1..=boxes.len()) => {
                self.of_boxes()?;
                within
            }
            // Numbers of its own, one for each box. A segmentation that uses none beyond the number of boxes may mean the
            // boxes.
            Some(boxes) => {
                let own = segs.last().is_none_or(|&greatest| greatest > boxes.len());
                within && own && found.len() == boxes.len()
            }
        };
        if same {
            return Ok(());
        }
        let boxes = self.boxes.as_ref().map_or(String::new(), |boxes| format!("; {}", numbers(boxes)));
        let other = format!("the segmentation has {}{boxes}", list(&segs));
        Err(self.fail(Problem::Labels { found: list(&found), other }))
    }

    fn fail(&self, problem: Problem) -> NpzError {
        NpzError { path: self.path.clone(), array: Some("gts"), problem }
    }

    /// The labels that are there, in ascending order.
    fn found(&self) -> Vec<usize> {
        present(&self.labels)
    }

    /// Of each label up to the largest.
    fn extents(&self) -> Vec<Option<Extent>> {
        let largest = self.labels.iter().copied().max().unwrap_or(0);
        let mut extents: Vec<Option<Extent>> = vec![None; usize::from(largest) + 1];
        let [.., height, width] = self.shape[..] else { return extents };
        for (row, labels) in self.labels.chunks_exact(width.max(1)).enumerate() {
            let (z, y) = (row / height.max(1), row % height.max(1));
            for (x, &label) in labels.iter().enumerate().filter(|(_, label)| **label > 0) {
                let at = [x, y, z];
                let extent = extents[usize::from(label)].get_or_insert(Extent { low: at, high: at });
                extent.low = core::array::from_fn(|axis| extent.low[axis].min(at[axis]));
                extent.high = core::array::from_fn(|axis| extent.high[axis].max(at[axis]));
            }
        }
        extents
    }
}

/// First and last voxel of a label along x, y, z.
#[derive(Clone, Copy)]
struct Extent {
    low: [usize; 3],
    high: [usize; 3],
}

impl Extent {
    /// Whether no part of it is in the box, or within a voxel of it: boxes may be rounded.
    fn outside(&self, boxes: &Boxes, index: usize) -> bool {
        let ranges: Option<Vec<(f64, f64)>> = match boxes {
            Boxes::Plane(boxes) => boxes.get(index).map(|b| vec![(b.x0, b.x1), (b.y0, b.y1)]),
            Boxes::Volume(boxes) => {
                boxes.get(index).map(|b| vec![(b.plane.x0, b.plane.x1), (b.plane.y0, b.plane.y1), (b.z0, b.z1)])
            }
        };
        let extent = self.low.iter().zip(&self.high);
        // NaN lies nowhere; whoever segments refuses it.
        ranges.is_some_and(|ranges| {
            extent.zip(ranges).any(|((&low, &high), (from, to))| (high as f64) < from - 1.0 || low as f64 > to + 1.0)
        })
    }
}

/// The labels of a map in ascending order, without the background.
fn present(labels: &[u16]) -> Vec<usize> {
    let mut seen = vec![false; 1 << 16];
    labels.iter().for_each(|&label| seen[usize::from(label)] = true);
    (1..seen.len()).filter(|&label| seen[label]).collect()
}

fn numbers(boxes: &Boxes) -> String {
    let count = boxes.len();
    if count == 1 { "its one box is label 1".into() } else { format!("its {count} boxes are labels 1 to {count}") }
}

/// Numbers in words, runs of them as one, not more than a line holds.
fn list(labels: &[usize]) -> String {
    const SHOWN: usize = 10;
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &label in labels {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == label => *last = label,
            _ => runs.push((label, label)),
        }
    }
    let mut text: Vec<String> = runs
        .iter()
        .take(SHOWN)
        .map(|&(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first}, {last}"),
            _ => format!("{first} to {last}"),
        })
        .collect();
    if runs.len() > SHOWN {
        text.push(format!("... ({} in all)", labels.len()));
    }
    if text.is_empty() { "none".into() } else { text.join(", ") }
}
