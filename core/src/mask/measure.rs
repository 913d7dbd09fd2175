//! Sizes of objects in pixels and in mm.

use std::prelude::v1::*;

use super::check;
use super::components::Connectivity;
use super::contours::Contours;
use super::diameters::{Calipers, Diameters};
use super::label::{Label, runs};
use super::spacing::Spacing;
use crate::intensity::Number;
use crate::{Error, VolumeSize, memory};

/// What is to be measured.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MeasureOptions {
    /// The size of a voxel. Without it lengths are in pixels.
    pub spacing: Spacing,
    /// Diameters are measured, which takes most of the time.
    pub diameters: bool,
}

impl MeasureOptions {
    /// In pixels, without diameters.
    pub const fn new() -> Self {
        Self { spacing: Spacing::PIXELS, diameters: false }
    }

    /// With voxels of this size.
    #[must_use]
    pub const fn with_spacing(self, spacing: Spacing) -> Self {
        Self { spacing, ..self }
    }

    /// With diameters.
    #[must_use]
    pub const fn with_diameters(self) -> Self {
        Self { diameters: true, ..self }
    }
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Measures of all voxels with one label, connected or not.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ObjectMeasures {
    /// The label.
    pub label: u16,
    /// Number of voxels (pixels of an image).
    pub voxels: usize,
    /// First voxel along x, y and z.
    pub first: [usize; 3],
    /// Last voxel along x, y and z, which belongs to the object.
    pub last: [usize; 3],
    /// Mean of the voxels' centres along x, y and z, in voxels; the centre of the first voxel is 0.5.
    pub centroid: [f64; 3],
    /// Mean of the intensities under the object, in their own unit, if they were given.
    pub mean_intensity: Option<f64>,
    /// The diameters, if they were asked for.
    pub diameters: Option<SliceDiameters>,
    /// The size of a voxel, in whose unit lengths are.
    pub spacing: Spacing,
}

/// The longest diameter of an object in any slice, and the longest one at a right angle to it in the same slice.
///
/// What is measured is what hangs together within the slice, corners included, as a reader measures one lesion:
/// distances between separate parts of an object are none of its diameters.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SliceDiameters {
    /// The slice; of slices with equal diameters the first.
    pub z: usize,
    /// The diameters.
    pub diameters: Diameters,
}

impl ObjectMeasures {
    /// Pixels times the size of a pixel: the area of an image's object, in mm².
    pub fn area(&self) -> f64 {
        self.voxels as f64 * (self.spacing.x() * self.spacing.y())
    }

    /// Voxels times the size of a voxel, in mm³.
    pub fn volume(&self) -> f64 {
        self.voxels as f64 * (self.spacing.x() * self.spacing.y() * self.spacing.z())
    }

    /// Lengths along x, y and z from the first voxel's near side to the last one's far side, in mm.
    pub fn extents(&self) -> [f64; 3] {
        let spacing = [self.spacing.x(), self.spacing.y(), self.spacing.z()];
        core::array::from_fn(|axis| (self.last[axis] - self.first[axis] + 1) as f64 * spacing[axis])
    }
}

/// Measures the objects of label maps; keeps its buffers.
///
/// Diameters take the memory of [`Contours`] and [`Calipers`] for one slice, all else some 350 bytes for each object.
#[derive(Clone, Debug, Default)]
pub struct Measurer {
    sums: Vec<Sums>,
    objects: Vec<ObjectMeasures>,
    contours: Contours,
    calipers: Calipers,
}

/// What is summed of an object.
#[derive(Clone, Copy, Debug)]
struct Sums {
    label: u16,
    voxels: u64,
    positions: [u64; 3],
    first: [usize; 3],
    last: [usize; 3],
    intensity: f64,
}

impl Measurer {
    /// Empty buffers.
    pub const fn new() -> Self {
        Self { sums: Vec::new(), objects: Vec::new(), contours: Contours::new(), calipers: Calipers::new() }
    }

    /// Bytes held by the buffers.
    pub fn capacity_bytes(&self) -> usize {
        self.sums.capacity() * size_of::<Sums>()
            + self.objects.capacity() * size_of::<ObjectMeasures>()
            + self.contours.capacity_bytes()
            + self.calipers.capacity_bytes()
    }

    /// Measures the object of each label that occurs, in ascending order of the labels.
    ///
    /// # Errors
    /// Those of [`Components::find`](super::Components::find).
    pub fn measure<T: Label>(
        &mut self,
        labels: &[T],
        size: VolumeSize,
        options: &MeasureOptions,
    ) -> Result<&[ObjectMeasures], Error> {
        self.collect(labels, None::<&[u8]>, size, options)
    }

    /// As [`measure`](Self::measure), with the mean of the intensities under each object. They lie as the labels do.
    ///
    /// # Errors
    /// Those of [`measure`](Self::measure); [`Error::BufferSize`] if there are not as many intensities as labels.
    pub fn measure_with_intensities<T: Label, N: Number>(
        &mut self,
        labels: &[T],
        intensities: &[N],
        size: VolumeSize,
        options: &MeasureOptions,
    ) -> Result<&[ObjectMeasures], Error> {
        if intensities.len() != labels.len() {
            return Err(Error::BufferSize { expected: labels.len(), actual: intensities.len() });
        }
        self.collect(labels, Some(intensities), size, options)
    }

    fn collect<T: Label, N: Number>(
        &mut self,
        labels: &[T],
        intensities: Option<&[N]>,
        size: VolumeSize,
        options: &MeasureOptions,
    ) -> Result<&[ObjectMeasures], Error> {
        check(labels, size)?;
        self.sum(labels, intensities, size)?;
        self.objects.clear();
        memory::reserve(&mut self.objects, self.sums.len())?;
        self.objects.extend(self.sums.iter().map(|s| ObjectMeasures {
            label: s.label,
            voxels: s.voxels as usize,
            first: s.first,
            last: s.last,
            centroid: s.positions.map(|p| p as f64 / s.voxels as f64 + 0.5),
            mean_intensity: intensities.map(|_| s.intensity / s.voxels as f64),
            diameters: None,
            spacing: options.spacing,
        }));
        if options.diameters {
            self.measure_diameters(labels, size, &options.spacing)?;
        }
        Ok(&self.objects)
    }

    fn sum<T: Label, N: Number>(
        &mut self,
        labels: &[T],
        intensities: Option<&[N]>,
        size: VolumeSize,
    ) -> Result<(), Error> {
        self.sums.clear();
        let mut place = 0;
        for (row, line) in labels.chunks_exact(size.width).enumerate() {
            let (z, y) = (row / size.height, row % size.height);
            for run in runs(line).filter(|run| run.label != 0) {
                // Mostly the object of the run before.
                if self.sums.get(place).is_none_or(|s| s.label != run.label) {
                    place = self.place(run.label)?;
                }
                let (sums, count) = (&mut self.sums[place], run.len() as u64);
                let positions = [(run.first() + run.last()) as u64 * count / 2, y as u64 * count, z as u64 * count];
                let (start, end) = ([run.first(), y, z], [run.last(), y, z]);
                sums.voxels += count;
                for axis in 0..3 {
                    sums.positions[axis] += positions[axis];
                    sums.first[axis] = sums.first[axis].min(start[axis]);
                    sums.last[axis] = sums.last[axis].max(end[axis]);
                }
                if let Some(intensities) = intensities {
                    let under = &intensities[row * size.width..][run.first()..=run.last()];
                    sums.intensity += under.iter().map(|v| v.to_f64()).sum::<f64>();
                }
            }
        }
        Ok(())
    }

    /// Where a label's sums are; empty ones if it is new.
    fn place(&mut self, label: u16) -> Result<usize, Error> {
        match self.sums.binary_search_by_key(&label, |s| s.label) {
            Ok(place) => Ok(place),
            Err(place) => {
                memory::reserve(&mut self.sums, 1)?;
                let (first, last) = ([usize::MAX; 3], [0; 3]);
                self.sums.insert(place, Sums { label, voxels: 0, positions: [0; 3], first, last, intensity: 0.0 });
                Ok(place)
            }
        }
    }

    fn measure_diameters<T: Label>(&mut self, labels: &[T], size: VolumeSize, spacing: &Spacing) -> Result<(), Error> {
        for (z, slice) in labels.chunks_exact(size.width * size.height).enumerate() {
            if !self.objects.iter().any(|o| (o.first[2]..=o.last[2]).contains(&z)) {
                continue;
            }
            self.contours.find(slice, size.width, size.height, Connectivity::All)?;
            for polygon in self.contours.polygons() {
                let Ok(place) = self.objects.binary_search_by_key(&polygon.label(), |o| o.label) else { continue };
                let best = &mut self.objects[place].diameters;
                let least = best.map_or(0.0, |best| best.diameters.longest.length);
                let Some(diameters) = self.calipers.measure_from(least, polygon.outer(), spacing)? else { continue };
                if best.is_none_or(|best| diameters.exceeds(&best.diameters)) {
                    *best = Some(SliceDiameters { z, diameters });
                }
            }
        }
        Ok(())
    }
}
