//! Small components removed, holes filled.

use core::cmp::Reverse;
use std::prelude::v1::*;

use super::check;
use super::components::{Components, Connectivity, Part};
use super::label::Label;
use crate::{Error, VolumeSize, memory};

/// What is to be cleaned. By default nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanOptions {
    /// How the voxels of an object are connected; holes are connected the [opposite](Connectivity::opposite) way.
    pub connectivity: Connectivity,
    /// Of each label only the component of the most voxels is kept; of equals the one whose first voxel comes first.
    pub largest: bool,
    /// Components of fewer voxels are removed.
    pub min_size: usize,
    /// Holes are filled.
    pub fill_holes: bool,
}

impl CleanOptions {
    /// Nothing is changed; [`Connectivity::All`].
    pub const fn new() -> Self {
        Self { connectivity: Connectivity::All, largest: false, min_size: 0, fill_holes: false }
    }

    /// With objects connected this way.
    #[must_use]
    pub const fn with_connectivity(self, connectivity: Connectivity) -> Self {
        Self { connectivity, ..self }
    }

    /// Of each label only the largest component is kept.
    #[must_use]
    pub const fn with_largest(self) -> Self {
        Self { largest: true, ..self }
    }

    /// Components of fewer than this many voxels are removed.
    #[must_use]
    pub const fn with_min_size(self, min_size: usize) -> Self {
        Self { min_size, ..self }
    }

    /// Holes are filled.
    #[must_use]
    pub const fn with_holes_filled(self) -> Self {
        Self { fill_holes: true, ..self }
    }
}

impl Default for CleanOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cleaned {
    /// Voxels that became background.
    pub removed: usize,
    /// Voxels of holes that became an object's.
    pub filled: usize,
}

/// Cleans label maps; keeps its buffers.
///
/// Components are removed first, and by their size as the network painted them; then holes are filled.
///
/// A hole is a component of background that does not reach the border of the image or the volume, and whose neighbours
/// by sides are all of one label, which it takes. Background between two objects is no hole, nor is an object within
/// another. In an image (one slice) holes are closed within the image; in a volume they are closed on all sides, so that a
/// tube that leaves it is none. To fill slice by slice, clean each slice as an image.
#[derive(Clone, Debug, Default)]
pub struct Cleaner {
    components: Components,
    order: Vec<u32>,
    kept: Vec<bool>,
    holes: Vec<Hole>,
}

/// What is known of a component of the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    /// Nothing yet.
    Unknown,
    /// It has neighbours of this label alone.
    Within(u16),
    /// It reaches the border, or has neighbours of several labels.
    Open,
}

impl Cleaner {
    /// Empty buffers.
    pub const fn new() -> Self {
        Self { components: Components::new(), order: Vec::new(), kept: Vec::new(), holes: Vec::new() }
    }

    /// Bytes held by the buffers.
    pub fn capacity_bytes(&self) -> usize {
        self.components.capacity_bytes()
            + self.order.capacity() * 4
            + self.kept.capacity()
            + self.holes.capacity() * size_of::<Hole>()
    }

    /// Cleans `labels`, a label map of `size`.
    ///
    /// # Errors
    /// Those of [`Components::find`]. Only [`Error::Memory`] can leave the label map half cleaned.
    pub fn clean<T: Label>(
        &mut self,
        labels: &mut [T],
        size: VolumeSize,
        options: &CleanOptions,
    ) -> Result<Cleaned, Error> {
        check(labels, size)?;
        let mut cleaned = Cleaned::default();
        if options.largest || options.min_size > 1 {
            cleaned.removed = self.remove(labels, size, options)?;
        }
        if options.fill_holes {
            cleaned.filled = self.fill(labels, size, options.connectivity.opposite())?;
        }
        Ok(cleaned)
    }

    fn remove<T: Label>(&mut self, labels: &mut [T], size: VolumeSize, options: &CleanOptions) -> Result<usize, Error> {
        self.components.find(labels, size, options.connectivity)?;
        let found = self.components.found();
        self.kept.clear();
        memory::reserve(&mut self.kept, found.len())?;
        self.kept.extend(found.iter().map(|c| c.voxels >= options.min_size));
        if options.largest {
            self.order.clear();
            memory::reserve(&mut self.order, found.len())?;
            self.order.extend(0..found.len() as u32);
            let key = |i: &u32| (found[*i as usize].label, Reverse(found[*i as usize].voxels), *i);
            self.order.sort_unstable_by_key(key);
            for pair in self.order.windows(2) {
                let [a, b] = [pair[0] as usize, pair[1] as usize];
                if found[a].label == found[b].label {
                    self.kept[b] = false;
                }
            }
        }
        let dropped = found.iter().zip(&self.kept).filter(|(_, kept)| !**kept);
        let removed = dropped.map(|(component, _)| component.voxels).sum();
        if removed > 0 {
            for (row, line) in labels.chunks_exact_mut(size.width).enumerate() {
                for (run, number) in self.components.in_row(row).filter(|(_, number)| !self.kept[*number]) {
                    debug_assert!(number < self.kept.len());
                    line[run.first()..=run.last()].fill(T::from_number(0));
                }
            }
        }
        Ok(removed)
    }

    fn fill<T: Label>(&mut self, labels: &mut [T], size: VolumeSize, background: Connectivity) -> Result<usize, Error> {
        // Beyond the objects all is background that reaches the border.
        let Some(part) = Part::around(labels, size) else { return Ok(0) };
        self.components.connect(labels, size, &part, background, |label| label == 0)?;
        let (components, holes) = (&self.components, &mut self.holes);
        holes.clear();
        memory::reserve(holes, components.found().len())?;
        holes.resize(components.found().len(), Hole::Unknown);
        let rows = || part.z.clone().flat_map(|z| part.y.clone().map(move |y| (z, y))).enumerate();
        // An axis of one voxel has no border: what is closed in an image is closed.
        let ends = |range: &core::ops::Range<usize>, i: usize, size: usize| {
            size > 1 && (i == range.start || i + 1 == range.end)
        };
        for (row, (z, y)) in rows() {
            let edge = ends(&part.z, z, size.depth) || ends(&part.y, y, size.height);
            for (run, number) in components.in_row(row) {
                let (first, last) = (part.x.start + run.first(), part.x.start + run.last());
                if edge || ends(&part.x, first, size.width) || ends(&part.x, last, size.width) {
                    holes[number] = Hole::Open;
                }
            }
        }
        let plane = size.height * size.width;
        for (row, (z, y)) in rows() {
            for (run, number) in components.in_row(row) {
                if holes[number] == Hole::Open {
                    continue;
                }
                let x = part.x.start + run.first();
                let start = (z * size.height + y) * size.width + x;
                let here = start..start + run.len();
                let beside = |step: usize, present: bool| if present { step } else { 0 };
                let (row_up, row_down) = (beside(size.width, y > 0), beside(size.width, y + 1 < size.height));
                let (slice_up, slice_down) = (beside(plane, z > 0), beside(plane, z + 1 < size.depth));
                let sides = [
                    here.start - row_up..here.end - row_up,
                    here.start + row_down..here.end + row_down,
                    here.start - slice_up..here.end - slice_up,
                    here.start + slice_down..here.end + slice_down,
                    here.start - usize::from(x > 0)..here.start,
                    here.end..here.end + usize::from(x + run.len() < size.width),
                ];
                for label in sides.into_iter().flat_map(|side| &labels[side]).map(|v| v.to_number()) {
                    holes[number] = match holes[number] {
                        same if label == 0 || same == Hole::Within(label) => same,
                        Hole::Unknown => Hole::Within(label),
                        Hole::Within(_) | Hole::Open => Hole::Open,
                    };
                }
            }
        }
        let mut filled = 0;
        for (row, (z, y)) in rows() {
            let line = &mut labels[(z * size.height + y) * size.width..][part.x.clone()];
            for (run, number) in components.in_row(row) {
                if let Hole::Within(label) = holes[number] {
                    line[run.first()..=run.last()].fill(T::from_number(label));
                    filled += run.len();
                }
            }
        }
        Ok(filled)
    }
}
