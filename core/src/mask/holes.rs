//! Holes of objects.

use core::ops::Range;
use std::prelude::v1::*;

use super::components::{Components, Connectivity, Part};
use super::label::{Label, Run};
use crate::{Error, VolumeSize, memory};

/// What is known of a component of the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing yet.
    Unknown,
    /// It has neighbours of this label alone.
    Within(u16),
    /// It reaches the border, or has neighbours of several labels.
    Open,
}

/// Fills holes; keeps its buffer.
#[derive(Clone, Debug, Default)]
pub(super) struct Holes {
    states: Vec<State>,
}

impl Holes {
    pub(super) const fn new() -> Self {
        Self { states: Vec::new() }
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        self.states.capacity() * size_of::<State>()
    }

    /// Fills the holes of a label map whose background is connected this way, and returns the number of their voxels.
    pub(super) fn fill<T: Label>(
        &mut self,
        labels: &mut [T],
        size: VolumeSize,
        background: Connectivity,
        components: &mut Components,
    ) -> Result<usize, Error> {
        // Beyond the objects all is background that reaches the border.
        let Some(part) = Part::around(labels, size) else { return Ok(0) };
        components.connect(labels, size, &part, background, |label| label == 0)?;
        self.states.clear();
        memory::reserve(&mut self.states, components.found().len())?;
        self.states.resize(components.found().len(), State::Unknown);
        let runs = Runs { part, size, components };
        for (z, y, run, number) in runs.all() {
            if runs.at_border(z, y, &run) {
                self.states[number] = State::Open;
            }
        }
        for (z, y, run, number) in runs.all() {
            if self.states[number] == State::Open {
                continue;
            }
            for label in runs.sides(z, y, &run).into_iter().flat_map(|side| &labels[side]).map(|v| v.to_number()) {
                self.states[number] = match self.states[number] {
                    same if label == 0 || same == State::Within(label) => same,
                    State::Unknown => State::Within(label),
                    State::Within(_) | State::Open => State::Open,
                };
            }
        }
        let mut filled = 0;
        for (z, y, run, number) in runs.all() {
            if let State::Within(label) = self.states[number] {
                labels[runs.place(z, y, &run)].fill(T::from_number(label));
                filled += run.len();
            }
        }
        Ok(filled)
    }
}

/// The runs of background in a part of a label map.
struct Runs<'a> {
    part: Part,
    size: VolumeSize,
    components: &'a Components,
}

impl Runs<'_> {
    /// Slice, row, run and the number of its component.
    fn all(&self) -> impl Iterator<Item = (usize, usize, Run, usize)> {
        let rows = self.part.z.clone().flat_map(|z| self.part.y.clone().map(move |y| (z, y)));
        rows.enumerate()
            .flat_map(|(row, (z, y))| self.components.in_row(row).map(move |(run, number)| (z, y, run, number)))
    }

    /// Where the run lies in the label map.
    fn place(&self, z: usize, y: usize, run: &Run) -> Range<usize> {
        let row = (z * self.size.height + y) * self.size.width + self.part.x.start;
        row + run.first()..row + run.last() + 1
    }

    /// Whether the run touches the sides of the part. An axis of one voxel has none, so that an image can be closed.
    fn at_border(&self, z: usize, y: usize, run: &Run) -> bool {
        let ends = |range: &Range<usize>, first: usize, last: usize, size: usize| {
            size > 1 && (first == range.start || last + 1 == range.end)
        };
        let VolumeSize { depth, height, width } = self.size;
        let x = self.part.x.start;
        ends(&self.part.z, z, z, depth)
            || ends(&self.part.y, y, y, height)
            || ends(&self.part.x, x + run.first(), x + run.last(), width)
    }

    /// Where the voxels lie that share a side with the run, beyond its own row's ends and beside it. Those that would lie
    /// outside of the label map are the run itself, or none.
    fn sides(&self, z: usize, y: usize, run: &Run) -> [Range<usize>; 6] {
        let VolumeSize { depth, height, width } = self.size;
        let here = self.place(z, y, run);
        let before = |step: usize, present: bool| {
            let step = if present { step } else { 0 };
            here.start - step..here.end - step
        };
        let after = |step: usize, present: bool| {
            let step = if present { step } else { 0 };
            here.start + step..here.end + step
        };
        let x = self.part.x.start;
        [
            before(width, y > 0),
            after(width, y + 1 < height),
            before(width * height, z > 0),
            after(width * height, z + 1 < depth),
            here.start - usize::from(x + run.first() > 0)..here.start,
            here.end..here.end + usize::from(x + run.last() + 1 < width),
        ]
    }
}
