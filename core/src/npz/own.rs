//! The labels that a case itself has for its objects.

use std::collections::BTreeMap;
use std::prelude::v1::*;

use super::Boxes;

/// Intersection over union of two boxes from which they count as boxes of one object.
const SAME: f64 = 0.5;

/// First and last place along x, y and z.
type Extent = [[f64; 2]; 3];

/// The label that the truth has for each box, in the order of `boxes`, if there is no doubt about it. `truth` is a
/// label map of this shape, (H,W) or (D,H,W).
///
/// There is no doubt if there are as many labels as boxes, and if each box has an intersection over union of at least
/// 0.5 with the tight box around one label and with no other, whose x and y are those of one slice where the box's are.
/// Otherwise the result is `None`.
pub fn own_labels(truth: &[u16], shape: &[usize], boxes: &Boxes) -> Option<Vec<u16>> {
    let (&width, height) = (shape.last()?, *shape.get(shape.len().checked_sub(2)?)?);
    let whole = extents(truth, width, height);
    let boxes: Vec<(Extent, Option<usize>)> = match boxes {
        Boxes::Plane(boxes) => boxes.iter().map(|b| ([[b.x0, b.x1], [b.y0, b.y1], [0.0; 2]], None)).collect(),
        Boxes::Volume(boxes) => boxes
            .iter()
            .map(|b| ([[b.plane.x0, b.plane.x1], [b.plane.y0, b.plane.y1], [b.z0, b.z1]], b.slice))
            .collect(),
    };
    if boxes.len() != whole.len() || boxes.iter().flat_map(|(b, _)| b).flatten().any(|v| !v.is_finite()) {
        return None;
    }
    let mut sections: BTreeMap<usize, BTreeMap<u16, Extent>> = BTreeMap::new();
    for z in boxes.iter().filter_map(|(_, slice)| *slice) {
        let pixels = width.saturating_mul(height);
        let section = truth.chunks(pixels.max(1)).nth(z).unwrap_or_default();
        sections.entry(z).or_insert_with(|| extents(section, width, height));
    }
    let mut labels = Vec::with_capacity(boxes.len());
    for (b, slice) in &boxes {
        let extent = |(label, whole): (&u16, &Extent)| match slice {
            None => Some(*whole),
            Some(z) => sections[z].get(label).map(|section| [section[0], section[1], whole[2]]),
        };
        let mut same = whole.iter().filter(|entry| extent(*entry).is_some_and(|extent| overlap(b, &extent) >= SAME));
        let (&label, _) = same.next()?;
        if same.next().is_some() || labels.contains(&label) {
            return None;
        }
        labels.push(label);
    }
    Some(labels)
}

/// The tight box around each label.
fn extents(truth: &[u16], width: usize, height: usize) -> BTreeMap<u16, Extent> {
    let mut extents: BTreeMap<u16, Extent> = BTreeMap::new();
    for (row, values) in truth.chunks_exact(width.max(1)).enumerate() {
        let mut x = 0;
        // A run of one label at a time.
        for run in values.chunk_by(|a, b| a == b) {
            if run[0] > 0 {
                let at = [[x, x + run.len() - 1], [row % height.max(1); 2], [row / height.max(1); 2]];
                let extent = extents.entry(run[0]).or_insert([[f64::INFINITY, f64::NEG_INFINITY]; 3]);
                for ([low, high], [from, to]) in extent.iter_mut().zip(at) {
                    *low = low.min(from as f64);
                    *high = high.max(to as f64);
                }
            }
            x += run.len();
        }
    }
    extents
}

/// Intersection over union of two boxes, both of whose ends belong to them.
fn overlap(a: &Extent, b: &Extent) -> f64 {
    let size = |b: &Extent| b.iter().map(|[low, high]| (high - low + 1.0).max(0.0)).product::<f64>();
    let both = core::array::from_fn(|axis| [a[axis][0].max(b[axis][0]), a[axis][1].min(b[axis][1])]);
    let both = size(&both);
    both / (size(a) + size(b) - both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PixelBox, VoxelBox};

    #[test]
    fn a_box_has_the_label_of_the_object_in_it() {
        // 7 in columns 1 and 2, 300 in columns 4 to 6, of two rows.
        let truth = [0, 7, 7, 0, 300, 300, 300, 0, 7, 7, 0, 300, 300, 300];
        let plane = |boxes: &[[f64; 4]]| {
            Boxes::Plane(boxes.iter().map(|&[x0, y0, x1, y1]| PixelBox::new(x0, y0, x1, y1)).collect())
        };
        let own = |boxes: &[[f64; 4]]| own_labels(&truth, &[2, 7], &plane(boxes));
        assert_eq!(own(&[[4.0, 0.0, 6.0, 1.0], [0.0, 0.0, 2.0, 1.0]]), Some(vec![300, 7]));
        // A box too few, two boxes of one object, a box of none, a box that is not finite.
        assert_eq!(own(&[[4.0, 0.0, 6.0, 1.0]]), None);
        assert_eq!(own(&[[4.0, 0.0, 6.0, 1.0], [4.0, 0.0, 6.0, 1.0]]), None);
        assert_eq!(own(&[[4.0, 0.0, 6.0, 1.0], [0.0, 0.0, 6.0, 1.0]]), None);
        assert_eq!(own(&[[4.0, 0.0, 6.0, 1.0], [f64::NAN, 0.0, 2.0, 1.0]]), None);

        let volume = Boxes::Volume(vec![VoxelBox::new(1.0, 0.0, 1.0, 2.0, 0.0, 2.0)]);
        let truth = [0, 0, 0, 0, 9, 9, 0, 9, 9];
        assert_eq!(own_labels(&truth, &[3, 1, 3], &volume), Some(vec![9]));
        assert_eq!(own_labels(&truth, &[1, 3, 3], &volume), None);
        // A box of one slice is compared there: in the first 5 has one column, in the second it has three.
        let truth = [0, 5, 0, 0, 5, 5, 5, 0];
        let inner = |slice| Boxes::Volume(vec![VoxelBox { slice, ..VoxelBox::new(1.0, 0.0, 0.0, 1.0, 0.0, 1.0) }]);
        assert_eq!(own_labels(&truth, &[2, 1, 4], &inner(Some(0))), Some(vec![5]));
        assert_eq!(own_labels(&truth, &[2, 1, 4], &inner(Some(1))), None);
        assert_eq!(own_labels(&truth, &[2, 1, 4], &inner(None)), None);
        assert_eq!(own_labels(&[0, 0, 0, 0, 0, 5, 0, 0], &[2, 1, 4], &inner(Some(0))), None);
        assert_eq!(own_labels(&[], &[0, 0], &volume), None);
    }
}
