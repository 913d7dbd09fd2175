//! Cases for training: an image or a volume with its label map.

use std::path::Path;
use std::prelude::v1::*;

use super::array::Archive;
use super::{Limits, NpzError, Problem, Shape, intensities, shape, view};
use crate::{Error, ImageView};

/// An image or a volume and the label of each of its pixels.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// 8-bit intensities, slice by slice, row by row, channels interleaved.
    pub pixels: Vec<u8>,
    /// Size of the image or the volume.
    pub shape: Shape,
    /// Label map of the same size, one value a pixel; 0 is background.
    pub labels: Vec<u16>,
}

impl Labelled {
    /// Reads `imgs` and `gts`. The shape of `gts`, (H,W) or (D,H,W), decides whether they are an image or a volume.
    ///
    /// # Errors
    /// [`NpzError`] if the file is damaged or exceeds the limits, if an array is missing, or if the two are not of one
    /// size.
    pub fn read(path: &Path, limits: &Limits) -> Result<Self, NpzError> {
        let fail = |array, problem| NpzError { path: path.into(), array: Some(array), problem };
        let mut archive = Archive::open(path, limits)?;
        let (labels, labelled) = archive.labels("gts")?;
        let imgs = archive.require("imgs")?;
        let shape = shape(&imgs.shape, labelled.len() == 3).map_err(|p| fail("imgs", p))?;
        if shape.labels() != labelled {
            let expected = format!("{:?}, the size of imgs,", shape.labels());
            return Err(fail("gts", Problem::Shape { found: labelled, expected }));
        }
        crate::Frame::new(shape.width, shape.height).map_err(|e| fail("imgs", Problem::Image(e)))?;
        let (pixels, _) = intensities(imgs.values).map_err(|p| fail("imgs", p))?;
        Ok(Self { pixels, shape, labels })
    }

    /// Number of slices, which is 1 for an image.
    pub fn depth(&self) -> usize {
        self.shape.depth.unwrap_or(1)
    }

    /// The image, or slice `z` of the volume.
    pub fn slice(&self, z: usize) -> Result<ImageView<'_>, Error> {
        view(&self.pixels, &self.shape, z)
    }

    /// Labels of the image, or of slice `z` of the volume; empty beyond the last.
    pub fn slice_labels(&self, z: usize) -> &[u16] {
        let size = self.shape.height * self.shape.width;
        self.labels.get(z * size..(z + 1) * size).unwrap_or_default()
    }
}
