//! The object of a client: its mask so far, and the way back.

use std::ops::Range;

use super::array::Kind;

/// Steps back that are kept.
const STEPS: usize = 32;

/// Bytes of all steps together, at most.
const BYTES: usize = 256 << 20;

/// Voxels along the three axes.
pub(super) type Region = [Range<usize>; 3];

/// A mask, one byte a voxel.
pub(super) struct Target {
    pub(super) shape: [usize; 3],
    pub(super) kind: Kind,
    mask: Vec<u8>,
    steps: Vec<(Region, Vec<u8>)>,
}

impl Target {
    pub(super) fn new(shape: [usize; 3], kind: Kind) -> Result<Self, umedsam::Error> {
        let mask = umedsam::memory::filled(shape.iter().product(), 0)?;
        Ok(Self { shape, kind, mask, steps: Vec::new() })
    }

    pub(super) fn reset(&mut self) {
        self.mask.fill(0);
        self.steps.clear();
    }

    /// Begins with a mask, to which a step back leads.
    pub(super) fn begin(&mut self, mask: Vec<u8>) {
        self.mask = mask;
        self.steps.clear();
    }

    fn all(&self) -> Region {
        self.shape.map(|side| 0..side)
    }

    /// Puts `found`, a mask of `region`, in the place of what was there. Returns the region that changed.
    pub(super) fn replace(&mut self, region: &Region, found: &[u8]) -> Option<Region> {
        let before = self.cut(region);
        let changed = changed(&before, found, region)?;
        // Only what changed is kept to go back.
        let step = (changed.clone(), self.cut(&changed));
        self.paste(region, found);
        self.steps.push(step);
        while self.steps.len() > STEPS || self.steps.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > BYTES {
            self.steps.remove(0);
        }
        Some(changed)
    }

    /// Goes one step back, and returns the region that changed.
    pub(super) fn undo(&mut self) -> Option<Region> {
        let (region, before) = self.steps.pop()?;
        self.paste(&region, &before);
        Some(region)
    }

    /// The mask of a region.
    pub(super) fn cut(&self, region: &Region) -> Vec<u8> {
        let mut cut = Vec::with_capacity(region.iter().map(Range::len).product());
        rows(self.shape, region, |row| cut.extend_from_slice(&self.mask[row]));
        cut
    }

    fn paste(&mut self, region: &Region, bytes: &[u8]) {
        debug_assert!(region.iter().zip(self.all()).all(|(part, all)| part.end <= all.end), "within the target");
        let mut bytes = bytes.chunks_exact(region[2].len().max(1));
        rows(self.shape, region, |row| {
            if let Some(bytes) = bytes.next() {
                self.mask[row].copy_from_slice(bytes);
            }
        });
    }
}

/// Calls `take` with the places of each row of a region.
fn rows(shape: [usize; 3], region: &Region, mut take: impl FnMut(Range<usize>)) {
    for z in region[0].clone() {
        for y in region[1].clone() {
            let row = (z * shape[1] + y) * shape[2];
            take(row + region[2].start..row + region[2].end);
        }
    }
}

/// The part of a region in which two masks of it differ.
fn changed(before: &[u8], after: &[u8], region: &Region) -> Option<Region> {
    let (height, width) = (region[1].len(), region[2].len());
    let mut bounds: Option<[Range<usize>; 3]> = None;
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

    #[test]
    fn steps_lead_back() {
        let mut target = Target::new([2, 3, 4], Kind::named("uint8").unwrap()).unwrap();
        let region = [1..2, 0..3, 0..4];
        let found = [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0];
        assert_eq!(target.replace(&region, &found), Some([1..2, 1..3, 1..3]));
        assert_eq!(target.replace(&region, &found), None);
        assert_eq!(target.replace(&[0..2, 1..2, 1..2], &[1, 0]), Some([0..2, 1..2, 1..2]));
        assert_eq!(target.cut(&[1..2, 1..3, 1..3]), [0, 1, 0, 1]);
        assert_eq!(target.undo(), Some([0..2, 1..2, 1..2]));
        assert_eq!(target.cut(&region), found);
        assert_eq!(target.undo(), Some([1..2, 1..3, 1..3]));
        assert!(target.cut(&target.all()).iter().all(|v| *v == 0) && target.undo().is_none());
    }
}
