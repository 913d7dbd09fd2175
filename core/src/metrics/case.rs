//! Scores of the labels of a case.

use std::collections::BTreeMap;
use std::prelude::v1::*;

use super::dice;
use super::surface::{Overlap, codes_2d, codes_3d, contour_lengths, overlap, surface_areas};

/// Tolerance of the NSD: 2 mm in 3D and 2 pixels in 2D, as in the challenge.
pub const TOLERANCE: f64 = 2.0;

/// How the NSD is computed, and to which axes the spacing is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// As the challenge's evaluation does it, for comparison with published tables.
    ///
    /// A 2D mask is taken for a slab of one voxel whose two faces count as surface, which makes the "NSD" nearly an
    /// area measure. In 3D the spacing, which is stored as x, y, z, is applied to the axes z, y, x in that order. If
    /// the mean DSC of the case is 0.2 or less, the NSD of every label is 0.
    ///
    /// There is one difference: if a label below the largest is in neither map, the challenge's mean makes the DSC of
    /// the case NaN and its NSD 0. Here such a label has no scores.
    Upstream,
    /// As NSD is defined: in 2D the share of both contours that is within 2 pixels of the other, in 3D the share of
    /// both surfaces that is within 2 mm of the other, with the spacing applied to its own axes.
    Boundary,
}

/// Scores of one label; `None` if it is in neither map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelScore {
    /// Dice similarity coefficient, 0 to 1.
    pub dsc: Option<f64>,
    /// Normalised surface Dice at [`TOLERANCE`], 0 to 1.
    pub nsd: Option<f64>,
}

/// Mean of the values that are not `None`; `None` if there is no such value.
pub fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, count) = values.flatten().fold((0.0, 0usize), |(sum, n), v| (sum + v, n + 1));
    (count > 0).then(|| sum / count as f64)
}

/// Scores of the labels 1 to the largest of `gt`, in order.
///
/// Both label maps have this shape, (H,W) or (D,H,W). `spacing` is the size of a voxel along x, y, z in mm; it is used
/// in 3D only, where it is 1 mm if left out.
///
/// # Panics
/// If a label map is not of the shape, or the shape has neither two nor three axes.
pub fn score_case(
    gt: &[u16],
    pred: &[u16],
    shape: &[usize],
    spacing: Option<[f64; 3]>,
    convention: Convention,
) -> Vec<LabelScore> {
    assert!(matches!(shape.len(), 2 | 3), "label maps have two or three axes");
    let (volume, flat) = match *shape {
        [h, w] => ([1, h, w], true),
        [d, h, w] => ([d, h, w], false),
        _ => ([0; 3], false),
    };
    assert!(gt.len() == volume.iter().product::<usize>() && pred.len() == gt.len(), "size of the label maps");
    let [x, y, z] = spacing.unwrap_or([1.0; 3]);
    let measure = match (convention, flat) {
        (Convention::Upstream, true) => Measure::Slab,
        (Convention::Boundary, true) => Measure::Contour,
        (Convention::Upstream, false) => Measure::Surface([x, y, z]),
        (Convention::Boundary, false) => Measure::Surface([z, y, x]),
    };
    let extents = extents(gt, pred, volume);
    let scattered = Scattered::collect(&extents, gt, pred);
    let dice_of = |extent: &Extent| dice(extent.both, extent.gt, extent.pred);
    let skip_surfaces =
        convention == Convention::Upstream && mean(extents.iter().skip(1).map(dice_of)).is_none_or(|mean| mean <= 0.2);
    extents
        .iter()
        .enumerate()
        .skip(1)
        .map(|(label, extent)| {
            let dsc = dice_of(extent);
            let nsd = match scattered.get(label) {
                _ if skip_surfaces => dsc.map(|_| 0.0),
                Some(voxels) => measure.score_parts(voxels, volume),
                None => measure.score(extent, gt, pred, volume, label as u16),
            };
            LabelScore { dsc, nsd }
        })
        .collect()
}

/// Dice similarity coefficients, 0 to 1, of two label maps of one image, for each of the labels 1 to `labels`; `None`
/// for a label that is in neither map.
///
/// # Panics
/// If the label maps are not of one size.
pub fn label_dice(a: &[u16], b: &[u16], labels: u16) -> Vec<Option<f64>> {
    assert_eq!(a.len(), b.len(), "size of the label maps");
    // Sizes of a label in both, in `a` and in `b`.
    let mut sizes = vec![[0usize; 3]; usize::from(labels) + 1];
    for (&a, &b) in a.iter().zip(b) {
        for (label, counts) in [(a, [usize::from(a == b), 1, 0]), (b, [0, 0, 1])] {
            let Some(size) = sizes.get_mut(usize::from(label)) else { continue };
            size.iter_mut().zip(counts).for_each(|(size, count)| *size += count);
        }
    }
    sizes.iter().skip(1).map(|&[both, a, b]| dice(both, a, b)).collect()
}

/// Sizes of a label's two objects and the box around both.
#[derive(Clone, Copy)]
struct Extent {
    gt: usize,
    pred: usize,
    both: usize,
    low: [usize; 3],
    high: [usize; 3],
}

impl Extent {
    /// Voxels of the box around both objects, of which there is one.
    fn volume(&self) -> usize {
        (0..3).map(|axis| self.high[axis] - self.low[axis]).product()
    }
}

/// The extents of all labels of `gt` in one pass; entry 0 is unused.
fn extents(gt: &[u16], pred: &[u16], shape: [usize; 3]) -> Vec<Extent> {
    let labels = usize::from(gt.iter().copied().max().unwrap_or(0));
    let mut extents = vec![Extent { gt: 0, pred: 0, both: 0, low: [usize::MAX; 3], high: [0; 3] }; labels + 1];
    for (i, (&g, &p)) in gt.iter().zip(pred).enumerate().filter(|(_, (g, p))| **g != 0 || **p != 0) {
        let position = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
        for (label, truth) in [(g, true), (p, false)] {
            let Some(extent) = extents.get_mut(usize::from(label)).filter(|_| label != 0) else { continue };
            if truth {
                extent.gt += 1;
            } else {
                extent.pred += 1;
            }
            extent.both += usize::from(truth && g == p);
            for (axis, &p) in position.iter().enumerate() {
                extent.low[axis] = extent.low[axis].min(p);
                extent.high[axis] = extent.high[axis].max(p + 1);
            }
        }
    }
    extents
}

enum Measure {
    Slab,
    Contour,
    Surface([f64; 3]),
}

impl Measure {
    fn score(&self, extent: &Extent, gt: &[u16], pred: &[u16], shape: [usize; 3], label: u16) -> Option<f64> {
        if extent.gt + extent.pred == 0 {
            return None;
        }
        let (low, high) = (extent.low, extent.high);
        let cut = |labels: &[u16]| -> Vec<bool> {
            let rows = (low[0]..high[0]).flat_map(|z| (low[1]..high[1]).map(move |y| (z * shape[1] + y) * shape[2]));
            rows.flat_map(|row| labels[row + low[2]..row + high[2]].iter().map(|&l| l == label)).collect()
        };
        self.overlap(&cut(gt), &cut(pred), core::array::from_fn(|axis| high[axis] - low[axis])).share()
    }

    /// The same, from the voxels of a label: in parts that lie too far apart to see each other.
    fn score_parts(&self, voxels: &[Voxel], shape: [usize; 3]) -> Option<f64> {
        let mut all = Overlap::default();
        for part in parts(voxels, shape, self.cell()) {
            let [mut low, mut high] = [part[0].0; 2];
            for (position, _) in &part {
                low = core::array::from_fn(|axis| low[axis].min(position[axis]));
                high = core::array::from_fn(|axis| high[axis].max(position[axis]));
            }
            let size: [usize; 3] = core::array::from_fn(|axis| high[axis] - low[axis] + 1);
            let mut masks = [(); 2].map(|()| vec![false; size.iter().product()]);
            for (position, truth) in part {
                let [z, y, x]: [usize; 3] = core::array::from_fn(|axis| position[axis] - low[axis]);
                masks[usize::from(truth)][(z * size[1] + y) * size[2] + x] = true;
            }
            let Overlap { within, all: size } = self.overlap(&masks[1], &masks[0], size);
            all = Overlap { within: all.within + within, all: all.all + size };
        }
        all.share()
    }

    fn overlap(&self, gt: &[bool], pred: &[bool], size: [usize; 3]) -> Overlap {
        match *self {
            Self::Contour => overlap(gt, pred, size, [1.0; 3], TOLERANCE, &contour_lengths([1.0; 2]), codes_2d),
            // The slab's thin axis is the last.
            Self::Slab => {
                let size = [size[1], size[2], 1];
                overlap(gt, pred, size, [1.0; 3], TOLERANCE, &surface_areas([1.0; 3]), codes_3d)
            }
            Self::Surface(spacing) => overlap(gt, pred, size, spacing, TOLERANCE, &surface_areas(spacing), codes_3d),
        }
    }

    /// Voxels along each axis across which surfaces do not see each other. The distances look as far as the square root
    /// of 2 beyond the tolerance, and a surface lies up to a voxel beside its voxels.
    fn cell(&self) -> [usize; 3] {
        let spacing = if let Self::Surface(spacing) = *self { spacing } else { [1.0; 3] };
        // Beyond all sizes where the spacing is next to nothing.
        spacing.map(|s| ((core::f64::consts::SQRT_2 * TOLERANCE / s) as usize).saturating_add(2))
    }
}

/// A label is scattered if the box around it holds more than this many voxels for each of its own: its cost would be
/// that of the box, which noise gives every label anew.
const SCATTERED: usize = 32;

/// Position of a voxel in its map, and whether the map is the truth.
type Voxel = (usize, bool);

/// The voxels of labels that are scattered.
struct Scattered {
    /// For each label its place in `voxels`, if it is scattered.
    places: Vec<Option<usize>>,
    voxels: Vec<Vec<Voxel>>,
}

impl Scattered {
    /// In one more pass over both maps, if there is such a label.
    fn collect(extents: &[Extent], gt: &[u16], pred: &[u16]) -> Self {
        let (mut places, mut voxels) = (vec![None; extents.len()], Vec::new());
        for (place, extent) in places.iter_mut().zip(extents).skip(1) {
            let count = extent.gt + extent.pred;
            if count > 0 && extent.volume() / count > SCATTERED {
                *place = Some(voxels.len());
                voxels.push(Vec::with_capacity(count));
            }
        }
        if !voxels.is_empty() {
            for (i, pair) in gt.iter().zip(pred).enumerate() {
                for (label, truth) in [(pair.0, true), (pair.1, false)] {
                    if let Some(place) = places.get(usize::from(*label)).copied().flatten() {
                        voxels[place].push((i, truth));
                    }
                }
            }
        }
        Self { places, voxels }
    }

    fn get(&self, label: usize) -> Option<&[Voxel]> {
        Some(&self.voxels[self.places[label]?])
    }
}

/// Splits voxels into parts between which an empty cell lies at least, by the grid of these cells.
fn parts(voxels: &[Voxel], shape: [usize; 3], cell: [usize; 3]) -> Vec<Vec<([usize; 3], bool)>> {
    let mut cells: BTreeMap<[usize; 3], Vec<([usize; 3], bool)>> = BTreeMap::new();
    for &(i, truth) in voxels {
        let position = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
        cells.entry(core::array::from_fn(|axis| position[axis] / cell[axis])).or_default().push((position, truth));
    }
    let mut parts = Vec::new();
    while let Some((first, mut part)) = cells.pop_first() {
        let mut open = vec![first];
        while let Some(from) = open.pop() {
            for turn in 0..27 {
                let step = [turn / 9, turn / 3 % 3, turn % 3];
                // Before the first cell there is none, nor at the greatest number.
                let next: [usize; 3] = core::array::from_fn(|axis| (from[axis] + step[axis]).wrapping_sub(1));
                if let Some(more) = cells.remove(&next) {
                    part.extend(more);
                    open.push(next);
                }
            }
        }
        parts.push(part);
    }
    parts
}
