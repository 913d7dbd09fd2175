//! The object of a client: its mask so far, the boxes that it was found from, and the way back.

use std::ops::Range;

use umedsam_demo::shown::{Plane, Region, cut, paste};

use super::super::limits::{Budget, Room};
use super::array::Kind;

/// Steps back that are kept.
const STEPS: usize = 32;

/// A mask, one byte a voxel.
pub(super) struct Target {
    pub(super) shape: [usize; 3],
    pub(super) kind: Kind,
    mask: Vec<u8>,
    /// Slices whose boxes the object was followed from.
    boxes: Vec<Plane>,
    steps: Vec<Step>,
}

/// What was there before.
struct Step {
    region: Region,
    voxels: Vec<u8>,
    boxes: Vec<Plane>,
    _room: Room,
}

impl Target {
    pub(super) fn new(shape: [usize; 3], kind: Kind) -> Result<Self, umedsam::Error> {
        let mask = umedsam::memory::filled(shape.iter().product(), 0)?;
        Ok(Self { shape, kind, mask, boxes: Vec::new(), steps: Vec::new() })
    }

    pub(super) fn reset(&mut self) {
        self.mask.fill(0);
        self.boxes.clear();
        self.steps.clear();
    }

    /// Begins with a mask, to which a step back leads.
    pub(super) fn begin(&mut self, mask: Vec<u8>) {
        self.mask = mask;
        self.boxes.clear();
        self.steps.clear();
    }

    /// The slices that a box in this plane may change, and the list of boxes afterwards. The first box of an object may
    /// change its whole axis, and a further one the slices that are nearer to it than to any other box. Of an object that
    /// came from boxes in other planes, from a box in 3D or from a mask, a box changes its own slice only.
    pub(super) fn range(&self, plane: Plane) -> (Range<usize>, Vec<Plane>) {
        let mut boxes = self.boxes.clone();
        let same: Vec<usize> = boxes.iter().filter(|other| other.axis == plane.axis).map(|other| other.index).collect();
        if same.is_empty() && self.mask.contains(&1) {
            return (plane.index..plane.index + 1, boxes);
        }
        if !same.contains(&plane.index) {
            boxes.push(plane);
        }
        let between = |other: usize| (other + plane.index).div_ceil(2);
        let below = same.iter().copied().filter(|&index| index < plane.index).max();
        let above = same.iter().copied().filter(|&index| index > plane.index).min();
        (below.map_or(0, between)..above.map_or(self.shape[plane.axis], between), boxes)
    }

    /// Puts `found`, a mask of `region`, in the place of what was there; the object is of boxes in these slices then.
    /// Returns the region that changed.
    pub(super) fn replace(
        &mut self,
        region: &Region,
        found: &[u8],
        mut boxes: Vec<Plane>,
        budget: &Budget,
    ) -> Option<Region> {
        std::mem::swap(&mut self.boxes, &mut boxes);
        let changed = changed(&self.cut(region), found, region)?;
        let voxels = self.cut(&changed);
        paste(&mut self.mask, self.shape, region, found);
        // Old steps go where there is no room for a new one.
        let room = loop {
            match budget.take(voxels.len() as u64) {
                Some(room) if self.steps.len() < STEPS => break Some(room),
                None if self.steps.is_empty() => break None,
                _ => drop(self.steps.remove(0)),
            }
        };
        self.steps.extend(room.map(|room| Step { region: changed.clone(), voxels, boxes, _room: room }));
        Some(changed)
    }

    /// Goes one step back, and returns the region that changed.
    pub(super) fn undo(&mut self) -> Option<Region> {
        let Step { region, voxels, boxes, .. } = self.steps.pop()?;
        paste(&mut self.mask, self.shape, &region, &voxels);
        self.boxes = boxes;
        Some(region)
    }

    /// The mask of a region.
    pub(super) fn cut(&self, region: &Region) -> Vec<u8> {
        cut(&self.mask, self.shape, region)
    }
}

/// The part of a region in which two masks of it differ.
fn changed(before: &[u8], after: &[u8], region: &Region) -> Option<Region> {
    let (height, width) = (region[1].len(), region[2].len());
    let mut bounds: Option<Region> = None;
    for (i, (before, after)) in before.chunks_exact(width.max(1)).zip(after.chunks_exact(width.max(1))).enumerate() {
        let Some(first) = before.iter().zip(after).position(|(a, b)| a != b) else { continue };
        let last = before.iter().zip(after).rposition(|(a, b)| a != b).unwrap_or(first);
        let at = [i / height, i % height];
        let here = [at[0]..at[0] + 1, at[1]..at[1] + 1, first..last + 1];
        bounds = Some(match bounds {
            None => here,
            Some(bounds) => std::array::from_fn(|i| bounds[i].start.min(here[i].start)..bounds[i].end.max(here[i].end)),
        });
    }
    let bounds = bounds?;
    Some(std::array::from_fn(|i| bounds[i].start + region[i].start..bounds[i].end + region[i].start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(shape: [usize; 3]) -> Target {
        Target::new(shape, Kind::named("uint8").unwrap()).unwrap()
    }

    #[test]
    fn steps_lead_back() {
        let budget = Budget::new(100);
        let mut target = target([2, 3, 4]);
        let region = [1..2, 0..3, 0..4];
        let found = [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0];
        assert_eq!(target.replace(&region, &found, Vec::new(), &budget), Some([1..2, 1..3, 1..3]));
        assert_eq!(target.replace(&region, &found, Vec::new(), &budget), None);
        assert_eq!(target.replace(&[0..2, 1..2, 1..2], &[1, 0], Vec::new(), &budget), Some([0..2, 1..2, 1..2]));
        assert_eq!(target.cut(&[1..2, 1..3, 1..3]), [0, 1, 0, 1]);
        assert_eq!(target.undo(), Some([0..2, 1..2, 1..2]));
        assert_eq!(target.cut(&region), found);
        assert_eq!(target.undo(), Some([1..2, 1..3, 1..3]));
        assert!(!target.mask.contains(&1) && target.undo().is_none() && budget.used() == 0);
    }

    #[test]
    fn steps_that_find_no_room_push_the_oldest_out() {
        let budget = Budget::new(5);
        let mut target = target([1, 1, 8]);
        for x in 0..3 {
            let region = [0..1, 0..1, 2 * x..2 * x + 2];
            assert!(target.replace(&region, &[1, 1], Vec::new(), &budget).is_some());
        }
        assert!(target.undo().is_some() && target.undo().is_some() && target.undo().is_none());
        assert_eq!(target.mask, [1, 1, 0, 0, 0, 0, 0, 0]);
        assert!(target.replace(&[0..1, 0..1, 2..8], &[1; 6], Vec::new(), &budget).is_some() && target.undo().is_none());
    }

    #[test]
    fn each_slice_is_of_the_nearest_box() {
        let budget = Budget::new(100);
        let mut target = target([10, 2, 2]);
        let at = |axis, index| Plane { axis, index };
        let range = |target: &Target, plane| target.range(plane).0;
        let put = |target: &mut Target, plane: Plane| {
            let (_, boxes) = target.range(plane);
            target.replace(&[plane.index..plane.index + 1, 0..1, 0..1], &[1], boxes, &budget).unwrap();
        };
        assert_eq!(range(&target, at(0, 2)), 0..10);
        put(&mut target, at(0, 2));
        assert_eq!((range(&target, at(0, 2)), range(&target, at(0, 7))), (0..10, 5..10));
        // Of a box in another plane only its slice is taken, and the object is still of the first.
        assert_eq!(target.range(at(1, 1)), (1..2, vec![at(0, 2)]));
        put(&mut target, at(0, 7));
        let ranges = [3, 2, 9].map(|index| range(&target, at(0, index)));
        assert_eq!(ranges, [3..5, 0..5, 8..10]);
        target.undo();
        assert_eq!(range(&target, at(0, 9)), 6..10);
        // An object of a box in 3D, or that began as a mask, is corrected slice by slice.
        target.replace(&[9..10, 0..1, 0..1], &[1], Vec::new(), &budget).unwrap();
        assert_eq!(target.range(at(0, 4)), (4..5, Vec::new()));
        target.begin(vec![1; 40]);
        assert_eq!(range(&target, at(0, 4)), 4..5);
        target.reset();
        assert_eq!(range(&target, at(0, 4)), 0..10);
    }
}
