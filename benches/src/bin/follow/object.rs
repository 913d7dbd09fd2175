//! The true objects of a volume.

use umedsam::{PixelBox, VoxelBox};

use crate::walk::Volume;

/// One slice of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    pub(crate) z: usize,
    pub(crate) area: usize,
    /// First and last column and row.
    pub(crate) bounds: [usize; 4],
}

/// The slices of a label.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) label: u16,
    pub(crate) sections: Vec<Section>,
}

impl Object {
    pub(crate) fn all(volume: &Volume<'_>) -> Vec<Self> {
        let most = volume.labels.iter().copied().max().unwrap_or(0);
        let mut objects: Vec<Self> = (1..=most).map(|label| Self { label, sections: Vec::new() }).collect();
        for z in 0..volume.size.depth {
            let mut found: Vec<Option<Section>> = vec![None; usize::from(most)];
            for (i, &label) in volume.slice_labels(z).iter().enumerate().filter(|(_, label)| **label > 0) {
                let (x, y) = (i % volume.size.width, i / volume.size.width);
                let section = found[usize::from(label) - 1].get_or_insert(Section { z, area: 0, bounds: [x, y, x, y] });
                let [x0, y0, x1, y1] = section.bounds;
                section.bounds = [x0.min(x), y0.min(y), x1.max(x), y1.max(y)];
                section.area += 1;
            }
            for (object, section) in objects.iter_mut().zip(found) {
                object.sections.extend(section);
            }
        }
        objects.retain(|object| !object.sections.is_empty());
        objects
    }

    pub(crate) fn first(&self) -> usize {
        self.sections[0].z
    }

    pub(crate) fn last(&self) -> usize {
        self.sections[self.sections.len() - 1].z
    }

    /// The section in the middle of its slices.
    pub(crate) fn middle(&self) -> Section {
        self.sections[self.sections.len() / 2]
    }

    /// The largest section, of equals the first.
    pub(crate) fn largest(&self) -> Section {
        let larger = |a: Section, b: &Section| if b.area > a.area { *b } else { a };
        self.sections.iter().fold(self.sections[0], larger)
    }

    /// The area in a slice.
    pub(crate) fn area(&self, z: usize) -> usize {
        self.sections.iter().find(|s| s.z == z).map_or(0, |s| s.area)
    }

    /// The box in space, moved out by a share of its width and height.
    pub(crate) fn hull(&self, loose: f64) -> VoxelBox {
        let join = |a: [usize; 4], s: &Section| {
            let b = s.bounds;
            [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]
        };
        let bounds = self.sections.iter().fold(self.sections[0].bounds, join);
        VoxelBox { plane: around(bounds, loose), z0: self.first() as f64, z1: self.last() as f64, slice: None }
    }
}

/// Bounds as a box, moved out by a share of its width and height.
pub(crate) fn around([x0, y0, x1, y1]: [usize; 4], loose: f64) -> PixelBox {
    let (dx, dy) = ((x1 - x0) as f64 * loose, (y1 - y0) as f64 * loose);
    PixelBox::new(x0 as f64 - dx, y0 as f64 - dy, x1 as f64 + dx, y1 as f64 + dy)
}
