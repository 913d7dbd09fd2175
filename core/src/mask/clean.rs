//! Small components removed, holes filled.

use core::cmp::Reverse;
use std::prelude::v1::*;

use super::check;
use super::components::{Components, Connectivity};
use super::holes::Holes;
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
    holes: Holes,
}

impl Cleaner {
    /// Empty buffers.
    pub const fn new() -> Self {
        Self { components: Components::new(), order: Vec::new(), kept: Vec::new(), holes: Holes::new() }
    }

    /// Bytes held by the buffers.
    pub fn capacity_bytes(&self) -> usize {
        self.components.capacity_bytes()
            + self.order.capacity() * 4
            + self.kept.capacity()
            + self.holes.capacity_bytes()
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
            let background = options.connectivity.opposite();
            cleaned.filled = self.holes.fill(labels, size, background, &mut self.components)?;
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
                for (run, _) in self.components.in_row(row).filter(|(_, number)| !self.kept[*number]) {
                    line[run.first()..=run.last()].fill(T::from_number(0));
                }
            }
        }
        Ok(removed)
    }
}
