//! Surface Dice: the share of two objects' surfaces that lies within a tolerance of the other one.

use std::prelude::v1::*;

use super::distance::squared_distances;
use super::surfels::NORMALS;

/// Surface Dice of two 3D masks: the share of both surfaces, by area, that lies within `tolerance` of the other one.
///
/// The masks are (D,H,W), `spacing` is in mm along these axes, and `tolerance` is in mm. The result is `None` if both
/// masks are empty, and 0 if one is.
///
/// # Panics
/// If a mask is not of the shape.
pub fn surface_dice(gt: &[bool], pred: &[bool], shape: [usize; 3], spacing: [f64; 3], tolerance: f64) -> Option<f64> {
    let (gt, pred, shape) = cropped(gt, pred, shape);
    let areas = surface_areas(spacing);
    overlap(&gt, &pred, shape, spacing, tolerance, &areas, codes_3d).share()
}

/// Boundary Dice of two 2D masks: the share of both contours, by length, that lies within `tolerance` of the other.
///
/// The masks are (H,W); `spacing`, along these axes, and `tolerance` are in the same unit, pixels or mm. The result is
/// `None` if both masks are empty, and 0 if one is.
///
/// # Panics
/// If a mask is not of the shape.
pub fn contour_dice(
    gt: &[bool],
    pred: &[bool],
    [height, width]: [usize; 2],
    spacing: [f64; 2],
    tolerance: f64,
) -> Option<f64> {
    let (gt, pred, shape) = cropped(gt, pred, [1, height, width]);
    let lengths = contour_lengths(spacing);
    overlap(&gt, &pred, shape, [1.0, spacing[0], spacing[1]], tolerance, &lengths, codes_2d).share()
}

/// Both masks cut to the bounding box of their union.
fn cropped(gt: &[bool], pred: &[bool], shape: [usize; 3]) -> (Vec<bool>, Vec<bool>, [usize; 3]) {
    assert!(gt.len() == shape.iter().product::<usize>() && pred.len() == gt.len(), "size of the masks");
    let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
    for i in (0..gt.len()).filter(|&i| gt[i] || pred[i]) {
        let position = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
        for (axis, &p) in position.iter().enumerate() {
            low[axis] = low[axis].min(p);
            high[axis] = high[axis].max(p + 1);
        }
    }
    if low[0] == usize::MAX {
        return (Vec::new(), Vec::new(), [0; 3]);
    }
    let cut = |mask: &[bool]| {
        let rows = (low[0]..high[0]).flat_map(|z| (low[1]..high[1]).map(move |y| (z * shape[1] + y) * shape[2]));
        rows.flat_map(|row| mask[row + low[2]..row + high[2]].iter().copied()).collect()
    };
    (cut(gt), cut(pred), [high[0] - low[0], high[1] - low[1], high[2] - low[2]])
}

/// Codes of all 2x2 or 2x2x2 neighbourhoods of a mask, and their shape: one larger along the mask's axes.
type Codes = fn(&[bool], [usize; 3]) -> (Vec<u8>, [usize; 3]);

/// Size of both surfaces, and of what lies within the tolerance of the other one.
#[derive(Clone, Copy, Default)]
pub(super) struct Overlap {
    pub(super) within: f64,
    pub(super) all: f64,
}

impl Overlap {
    /// The share, or `None` if there is no surface.
    pub(super) fn share(self) -> Option<f64> {
        (self.all > 0.0).then(|| self.within / self.all)
    }
}

/// The measure on masks cut to their objects; `sizes` gives each code's area or length, 0 where there is no surface.
pub(super) fn overlap(
    gt: &[bool],
    pred: &[bool],
    shape: [usize; 3],
    spacing: [f64; 3],
    tolerance: f64,
    sizes: &[f64],
    codes: Codes,
) -> Overlap {
    let full = (sizes.len() - 1) as u8;
    let (gt_codes, padded) = codes(gt, shape);
    let (pred_codes, _) = codes(pred, shape);
    let border = |codes: &[u8]| -> Vec<bool> { codes.iter().map(|&c| c != 0 && c != full).collect() };
    let (gt_border, pred_border) = (border(&gt_codes), border(&pred_codes));
    let near = |codes: &[u8], border: &[bool], other: &[bool]| {
        let distances = squared_distances(other, padded, spacing, 2.0 * tolerance * tolerance);
        let (mut within, mut all) = (0.0, 0.0);
        for i in (0..codes.len()).filter(|&i| border[i]) {
            let size = sizes[usize::from(codes[i])];
            all += size;
            if libm::sqrt(distances[i]) <= tolerance {
                within += size;
            }
        }
        (within, all)
    };
    let (gt_within, gt_all) = near(&gt_codes, &gt_border, &pred_border);
    let (pred_within, pred_all) = near(&pred_codes, &pred_border, &gt_border);
    Overlap { within: gt_within + pred_within, all: gt_all + pred_all }
}

/// Code of the eight voxels that meet at each corner: bit 0 for the voxel itself, bit 7 for its predecessor along all
/// axes, as the table of surface elements has it.
pub(super) fn codes_3d(mask: &[bool], [d, h, w]: [usize; 3]) -> (Vec<u8>, [usize; 3]) {
    let padded = [d + 1, h + 1, w + 1];
    let mut codes = vec![0u8; padded.iter().product()];
    for (i, _) in mask.iter().enumerate().filter(|(_, m)| **m) {
        let (z, y, x) = (i / (h * w), i / w % h, i % w);
        for bit in 0..8 {
            let (dz, dy, dx) = (bit >> 2 & 1, bit >> 1 & 1, bit & 1);
            codes[((z + dz) * padded[1] + y + dy) * padded[2] + x + dx] |= 1 << bit;
        }
    }
    (codes, padded)
}

/// Code of the four pixels that meet at each corner of a mask (1,H,W).
pub(super) fn codes_2d(mask: &[bool], [_, h, w]: [usize; 3]) -> (Vec<u8>, [usize; 3]) {
    let padded = [1, h + 1, w + 1];
    let mut codes = vec![0u8; padded.iter().product()];
    for (i, _) in mask.iter().enumerate().filter(|(_, m)| **m) {
        for bit in 0..4 {
            codes[(i / w + (bit >> 1)) * padded[2] + i % w + (bit & 1)] |= 1 << bit;
        }
    }
    (codes, padded)
}

/// Area of each code's surface elements, for voxels of this size.
pub(super) fn surface_areas([s0, s1, s2]: [f64; 3]) -> [f64; 256] {
    NORMALS.map(|normals| {
        normals
            .iter()
            .map(|n| {
                let [a, b, c] = n.map(|v| f64::from(v) / 8.0);
                let (a, b, c) = (a * s1 * s2, b * s0 * s2, c * s0 * s1);
                libm::sqrt(a * a + b * b + c * c)
            })
            .sum()
    })
}

/// Length of the contour between four pixels, for pixels of this size.
pub(super) fn contour_lengths([vertical, horizontal]: [f64; 2]) -> [f64; 16] {
    let diagonal = 0.5 * libm::sqrt(vertical * vertical + horizontal * horizontal);
    core::array::from_fn(|code| match code {
        0b0000 | 0b1111 => 0.0,
        0b0011 | 0b1100 => horizontal,
        0b0101 | 0b1010 => vertical,
        0b0110 | 0b1001 => 2.0 * diagonal,
        _ => diagonal,
    })
}
