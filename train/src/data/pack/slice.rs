use std::collections::BTreeMap;
use std::sync::Arc;

use umedsam::PixelBox;

use super::error::PackProblem;
use super::labels::{self, Labels};
use super::write::Encoded;
use super::{Item, picture};
use crate::data::case::{Picture, Slice};
use crate::data::dataset::{Dataset, DatasetError, Extent};

/// A label in the slice before or after.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// That slice.
    pub z: usize,
    /// The label.
    pub label: u16,
    /// Its box there, in pixels of the network's grid, both ends within.
    pub bounds: PixelBox,
}

/// A labelled slice, and what training reads of those beside it.
#[derive(Clone, Debug)]
pub struct PackSlice {
    /// Name of the case's file.
    pub case: String,
    /// Position in the volume; 0 for an image.
    pub z: usize,
    /// Labels that can be drawn, in order.
    pub usable: Vec<u16>,
    /// These labels in the slices before and after, where they can be drawn there; by label, then slice.
    pub beside: Vec<Beside>,
    /// The extents of these labels, in a volume.
    pub extents: BTreeMap<u16, Extent>,
    pub(in crate::data) slice: Arc<Slice>,
}

impl PackSlice {
    /// A slice of a data set.
    ///
    /// # Errors
    /// [`DatasetError::Case`] if the data set doesn't have it, or its file can no longer be used.
    pub fn new(dataset: &Dataset, entry: usize, z: usize) -> Result<Self, DatasetError> {
        let case = &dataset.entries()[entry];
        let slice = dataset.slice(entry, z)?;
        let usable: Vec<u16> =
            case.slices.iter().find(|(other, _)| *other == z).map(|(_, labels)| labels.clone()).unwrap_or_default();
        let mut beside = Vec::new();
        for &label in &usable {
            for z in dataset.neighbours(entry, z, label) {
                beside.extend(dataset.label_box(entry, z, label)?.map(|bounds| Beside { z, label, bounds }));
            }
        }
        let extents = usable.iter().filter_map(|label| Some((*label, *case.extents.get(label)?))).collect();
        Ok(Self { case: case.name().into_owned(), z, usable, beside, extents, slice })
    }

    /// The picture that is to be encoded: with one channel if its three are equal.
    pub fn picture(&self) -> Picture {
        picture::slim(&self.slice.picture)
    }

    /// The slice as a pack of this `min_area` holds it, of its picture as lossless JPEG XL.
    ///
    /// # Errors
    /// [`PackProblem`] if what would be read again is anything but this slice to the bit.
    pub fn encoded(&self, jxl: Vec<u8>, min_area: usize) -> Result<Encoded, PackProblem> {
        let Slice { picture, labels } = &*self.slice;
        let parts = Labels {
            map: labels.clone(),
            usable: self.usable.clone(),
            beside: self.beside.clone(),
            extents: self.extents.clone(),
        };
        let deflated = labels::encode(&parts, self.z);
        let item = Item {
            case: self.case.clone(),
            z: self.z,
            width: picture.width,
            height: picture.height,
            channels: picture.channels,
            depth: labels::depth(labels),
            picture: jxl.len(),
            labels: deflated.len(),
        };
        if picture::decode(&jxl, &item)? != *picture {
            return Err(PackProblem::Picture("JPEG XL: another picture than was encoded".into()));
        }
        if labels::decode(&deflated, &item, min_area)? != parts {
            return Err(PackProblem::Labels("other labels than were packed".into()));
        }
        Ok(Encoded::new(item, jxl, deflated))
    }
}
