//! Connected components of label maps.

use core::ops::Range;
use std::prelude::v1::*;

use super::check;
use super::label::{Label, Run, runs};
use crate::{Error, VolumeSize, memory};

/// Which neighbours belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connectivity {
    /// Those that share a side: 4 in an image, 6 in a volume.
    Faces,
    /// Those that share a corner, too: 8 in an image, 26 in a volume.
    #[default]
    All,
}

impl Connectivity {
    /// How the background is connected between objects that are connected this way, so that a closed line of pixels
    /// divides an image in two.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Faces => Self::All,
            Self::All => Self::Faces,
        }
    }
}

/// Voxels of one label that hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Component {
    /// Their label.
    pub label: u16,
    /// Their number.
    pub voxels: usize,
}

/// The components of a label map: neighbours of one label are in one component.
///
/// Its memory is 10 bytes for each run of equal labels in a row, 16 for each component and 4 for each row, and up to twice
/// that while it grows: for masks of organs a small part of the label map, and the most, 26 bytes a voxel, where no two
/// neighbours have the same label.
#[derive(Clone, Debug, Default)]
pub struct Components {
    runs: Vec<Run>,
    /// While components are sought, a run of the same component or the run itself; then the component's number.
    owners: Vec<u32>,
    /// Where each row's runs start, and where the last row's end.
    rows: Vec<u32>,
    found: Vec<Component>,
    size: Option<VolumeSize>,
}

impl Components {
    /// Empty buffers.
    pub const fn new() -> Self {
        Self { runs: Vec::new(), owners: Vec::new(), rows: Vec::new(), found: Vec::new(), size: None }
    }

    /// Bytes held by the buffers.
    pub fn capacity_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
            + (self.owners.capacity() + self.rows.capacity()) * 4
            + self.found.capacity() * size_of::<Component>()
    }

    /// Finds the components of all labels but 0 and returns them in the order of their first voxels.
    ///
    /// # Errors
    /// [`Error::ImageSize`] or [`Error::VolumeDepth`] for an impossible size, [`Error::BufferSize`] if `labels` is not of
    /// it, [`Error::Memory`].
    pub fn find<T: Label>(
        &mut self,
        labels: &[T],
        size: VolumeSize,
        connectivity: Connectivity,
    ) -> Result<&[Component], Error> {
        check(labels, size)?;
        self.size = None;
        self.connect(labels, size, &Part::whole(size), connectivity, |label| label != 0)?;
        self.size = Some(size);
        Ok(&self.found)
    }

    /// The components that were found last.
    pub fn found(&self) -> &[Component] {
        &self.found
    }

    /// Writes each voxel's component, as its position in [`found`](Self::found) plus 1, and 0 for background.
    ///
    /// # Errors
    /// [`Error::BufferSize`] if `numbers` is not of the size of the label map.
    pub fn number_into(&self, numbers: &mut [u32]) -> Result<(), Error> {
        let size = self.size.unwrap_or(VolumeSize { depth: 0, height: 0, width: 0 });
        let expected = size.depth * size.height * size.width;
        if numbers.len() != expected {
            return Err(Error::BufferSize { expected, actual: numbers.len() });
        }
        numbers.fill(0);
        for (row, runs) in numbers.chunks_exact_mut(size.width.max(1)).enumerate() {
            self.in_row(row).for_each(|(run, number)| runs[run.first()..=run.last()].fill(number as u32 + 1));
        }
        Ok(())
    }

    /// Finds the components of the `wanted` labels in a part of a label map.
    pub(super) fn connect<T: Label>(
        &mut self,
        labels: &[T],
        size: VolumeSize,
        part: &Part,
        connectivity: Connectivity,
        wanted: impl Fn(u16) -> bool,
    ) -> Result<(), Error> {
        self.runs.clear();
        self.owners.clear();
        self.rows.clear();
        self.found.clear();
        let height = part.y.len();
        memory::reserve(&mut self.rows, part.z.len() * height + 1)?;
        self.rows.push(0);
        let all = connectivity == Connectivity::All;
        for (z, place) in part.z.clone().zip(0..) {
            for (y, line) in part.y.clone().zip(0..) {
                let row = &labels[(z * size.height + y) * size.width..][..size.width];
                let start = self.runs.len();
                for run in runs(&row[part.x.clone()]).filter(|run| wanted(run.label)) {
                    memory::reserve(&mut self.runs, 1)?;
                    self.runs.push(run);
                }
                let end = self.runs.len();
                // A run's number must fit.
                if end > u32::MAX as usize {
                    return Err(Error::Memory { bytes: (end * size_of::<Run>()) as u64 });
                }
                memory::reserve(&mut self.owners, end - start)?;
                self.owners.extend(start as u32..end as u32);
                self.rows.push(end as u32);
                let here = place * height + line;
                if line > 0 {
                    self.join(here, here - 1, all);
                }
                if place > 0 {
                    let below = here - height;
                    self.join(here, below, all);
                    if all && line > 0 {
                        self.join(here, below - 1, all);
                    }
                    if all && line + 1 < height {
                        self.join(here, below + 1, all);
                    }
                }
            }
        }
        self.count()
    }

    /// Runs of a row of the part, and the numbers of their components.
    pub(super) fn in_row(&self, row: usize) -> impl Iterator<Item = (Run, usize)> {
        let range = self.range(row);
        self.runs[range.clone()].iter().zip(&self.owners[range]).map(|(run, &owner)| (*run, owner as usize))
    }

    fn range(&self, row: usize) -> Range<usize> {
        self.rows[row] as usize..self.rows[row + 1] as usize
    }

    /// Puts runs of row `here` into one component with those of row `there` that they touch.
    fn join(&mut self, here: usize, there: usize, corners: bool) {
        let reach = usize::from(corners);
        let mut others = self.range(there);
        for i in self.range(here) {
            let run = self.runs[i];
            while !others.is_empty() && self.runs[others.start].last() + reach < run.first() {
                others.start += 1;
            }
            for j in others.clone() {
                let other = self.runs[j];
                if other.first() > run.last() + reach {
                    break;
                }
                if other.label == run.label {
                    let (a, b) = (self.root(i), self.root(j));
                    // The first run of a component stands for it.
                    self.owners[a.max(b)] = a.min(b) as u32;
                }
            }
        }
    }

    fn root(&mut self, mut run: usize) -> usize {
        while self.owners[run] as usize != run {
            let next = self.owners[self.owners[run] as usize];
            self.owners[run] = next;
            run = next as usize;
        }
        run
    }

    /// Numbers the components by their first runs and counts their voxels.
    fn count(&mut self) -> Result<(), Error> {
        for i in 0..self.runs.len() {
            let owner = self.owners[i] as usize;
            let run = self.runs[i];
            // What stands for a run comes before it and has its number already.
            let number = if owner == i { self.found.len() as u32 } else { self.owners[owner] };
            if owner == i {
                memory::reserve(&mut self.found, 1)?;
                self.found.push(Component { label: run.label, voxels: 0 });
            }
            self.owners[i] = number;
            self.found[number as usize].voxels += run.len();
        }
        Ok(())
    }
}

/// A box of whole voxels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) z: Range<usize>,
    pub(super) y: Range<usize>,
    pub(super) x: Range<usize>,
}

impl Part {
    pub(super) const fn whole(size: VolumeSize) -> Self {
        Self { z: 0..size.depth, y: 0..size.height, x: 0..size.width }
    }

    /// The smallest part that holds all labels but 0, or nothing where there are none.
    pub(super) fn around<T: Label>(labels: &[T], size: VolumeSize) -> Option<Self> {
        let mut part: Option<Self> = None;
        for (row, line) in labels.chunks_exact(size.width).enumerate() {
            let (z, y) = (row / size.height, row % size.height);
            // The row's first run and its last, unless they are background.
            let Some(first) = runs(line).find(|run| run.label != 0).map(|run| run.first()) else { continue };
            let background = line.iter().rev().take_while(|v| v.to_number() == 0).count();
            let part = part.get_or_insert(Self { z: z..z, y: y..y, x: first..first });
            part.z.end = z + 1;
            part.y = part.y.start.min(y)..part.y.end.max(y + 1);
            part.x = part.x.start.min(first)..part.x.end.max(size.width - background);
        }
        part
    }
}
