//! A labelled slice on the network's grid.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use umedsam::mask::{Components, Connectivity};
use umedsam::npz::{Labelled, NpzError};
use umedsam::resize::Resizer;
use umedsam::{Frame, ImageView, PixelBox, VolumeSize};

use super::crop::bounds;

/// Why a case cannot be trained on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseProblem {
    /// The file cannot be used.
    #[error("{}{}", .0.array.map(|a| format!("array '{a}': ")).unwrap_or_default(), .0.problem)]
    Npz(#[from] NpzError),
    /// An image of an impossible size.
    #[error(transparent)]
    Image(#[from] umedsam::Error),
    /// Nothing in it is large enough.
    #[error("no object of more than {min_area} pixels on the network's grid")]
    Empty {
        /// `data.min-area`.
        min_area: usize,
    },
    /// A packed data set has less of a case than its file.
    #[error("{0} is not in the packed data set")]
    NotPacked(String),
}

/// An image with a longest side of 256, 8 bits, channels interleaved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Intensities.
    pub pixels: Vec<u8>,
    /// 1 or 3.
    pub channels: usize,
    /// Columns, 1 to 256.
    pub width: usize,
    /// Rows, 1 to 256.
    pub height: usize,
}

impl Picture {
    /// An image on the network's grid, as inference shrinks it.
    pub fn new(image: &ImageView<'_>, resizer: &mut Resizer) -> Self {
        let (width, height) = (image.frame().scaled_width(), image.frame().scaled_height());
        let channels = image.channel_count();
        let mut pixels = vec![0; width * height * channels];
        resizer.resize_into(image, width, height, &mut pixels);
        Self { pixels, channels, width, height }
    }

    /// The picture as core takes it.
    ///
    /// # Errors
    /// [`umedsam::Error::ImageSize`] or its like if the fields don't fit each other.
    pub fn view(&self) -> Result<ImageView<'_>, umedsam::Error> {
        match self.channels {
            1 => ImageView::gray8(&self.pixels, self.width, self.height),
            _ => ImageView::rgb8(&self.pixels, self.width, self.height),
        }
    }
}

/// A slice and its labels on the network's grid: intensities by area, as for inference, labels by majority.
#[derive(Clone, Debug)]
pub(super) struct Slice {
    pub(super) picture: Picture,
    /// Label of each pixel.
    pub(super) labels: Vec<u16>,
}

impl Slice {
    /// Slice `z` of a case.
    pub(super) fn new(case: &Labelled, z: usize, resizer: &mut Resizer) -> Result<Self, umedsam::Error> {
        let image = case.slice(z)?;
        let labels = shrink_labels(case.slice_labels(z), &image.frame());
        Ok(Self { picture: Picture::new(&image, resizer), labels })
    }

    /// The label's box in pixels of the grid; nothing where it isn't there.
    pub(super) fn label_box(&self, label: u16) -> Option<PixelBox> {
        let mask: Vec<bool> = self.labels.iter().map(|&l| l == label).collect();
        bounds(&mask, self.picture.width)
    }

    /// Adds size, intensities and labels to a digest.
    pub(super) fn hash_into(&self, hash: &mut Sha256) {
        let Picture { pixels, channels, width, height } = &self.picture;
        [*channels, *width, *height].iter().for_each(|size| hash.update(size.to_le_bytes()));
        hash.update(pixels);
        let labels: Vec<u8> = self.labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        hash.update(labels);
    }

    /// Memory taken.
    pub(super) fn bytes(&self) -> usize {
        self.picture.pixels.len() + 2 * self.labels.len()
    }
}

/// Labels of slice `z` of which the network's grid shows one 8-connected component of more than `min_area` pixels.
pub(super) fn usable_labels(case: &Labelled, z: usize, min_area: usize) -> Result<Vec<u16>, umedsam::Error> {
    let full = case.slice_labels(z);
    if full.iter().all(|&label| label == 0) {
        return Ok(Vec::new());
    }
    let frame = Frame::new(case.shape.width, case.shape.height)?;
    large_labels(&shrink_labels(full, &frame), frame.scaled_width(), min_area)
}

/// The same of a label map that is on the network's grid.
pub(super) fn large_labels(labels: &[u16], width: usize, min_area: usize) -> Result<Vec<u16>, umedsam::Error> {
    let components = components(labels, width)?;
    let large = components.found().iter().filter(|c| c.voxels > min_area).map(|c| c.label);
    Ok(large.collect::<BTreeSet<u16>>().into_iter().collect())
}

/// Points along each side of a pixel of the grid at which the labels are looked up.
const POINTS: usize = 4;

/// The label that most of a pixel's area has, by 4x4 points in it; of as many, the one nearest to the middle.
///
/// Upstream takes the label at the pixel's upper left corner (OpenCV's INTER_NEAREST), which moves every mask by half of
/// what a pixel of the grid is longer than one of the image: by a pixel and more in large images.
pub(super) fn shrink_labels(labels: &[u16], frame: &Frame) -> Vec<u16> {
    let points = |target: usize, size: usize| -> Vec<usize> {
        let scale = size as f64 / (target * POINTS) as f64;
        (0..target * POINTS).map(|p| (((p as f64 + 0.5) * scale) as usize).min(size - 1)).collect()
    };
    let columns = points(frame.scaled_width(), frame.width());
    let rows = points(frame.scaled_height(), frame.height());
    let mut shrunk = Vec::with_capacity(columns.len() * rows.len() / (POINTS * POINTS));
    for rows in rows.chunks_exact(POINTS) {
        let rows: [&[u16]; POINTS] = std::array::from_fn(|i| &labels[rows[i] * frame.width()..][..frame.width()]);
        for columns in columns.chunks_exact(POINTS) {
            shrunk.push(majority(std::array::from_fn(|i| rows[i / POINTS][columns[i % POINTS]])));
        }
    }
    shrunk
}

/// The most frequent of 4x4 labels; of as many, the one at the middle's lower right, if it is among them, or the first.
fn majority(labels: [u16; POINTS * POINTS]) -> u16 {
    let middle = labels[POINTS * POINTS / 2 + POINTS / 2];
    if labels.iter().all(|&l| l == middle) {
        return middle;
    }
    let count = |label: u16| labels.iter().filter(|&&l| l == label).count();
    let (mut best, mut most) = (middle, count(middle));
    for label in labels {
        let times = count(label);
        if times > most {
            (best, most) = (label, times);
        }
    }
    best
}

/// The components of a label map, corners included.
pub(super) fn components(labels: &[u16], width: usize) -> Result<Components, umedsam::Error> {
    let mut components = Components::new();
    let size = VolumeSize { depth: 1, height: labels.len() / width, width };
    components.find(labels, size, Connectivity::All)?;
    Ok(components)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_large_by_their_largest_component() {
        #[rustfmt::skip]
        let labels = [
            1, 0, 0, 2,
            0, 1, 2, 0,
            1, 0, 0, 1,
        ];
        let large = |min_area| large_labels(&labels, 4, min_area).unwrap();
        assert_eq!((large(1), large(2), large(3)), (vec![1, 2], vec![1], vec![]));
    }

    #[test]
    fn a_pixel_has_the_label_of_most_of_its_area() {
        // Three columns to one: the one in the middle has a third and two of the four points.
        let frame = Frame::new(768, 1).unwrap();
        let row: Vec<u16> = (0..768).map(|x| if x % 3 == 1 { 7 } else { x / 384 }).collect();
        let shrunk = shrink_labels(&row, &frame);
        assert_eq!((shrunk.len(), shrunk[0], shrunk[200]), (256, 7, 7));
        // Halves: what begins in the middle of a pixel keeps its pixels on both sides.
        let frame = Frame::new(512, 512).unwrap();
        let square: Vec<u16> =
            (0..512 * 512).map(|i| u16::from((100..300).contains(&(i % 512)) && (i / 512) >= 256)).collect();
        let shrunk = shrink_labels(&square, &frame);
        assert_eq!((shrunk[200 * 256 + 49], shrunk[200 * 256 + 50], shrunk[200 * 256 + 149]), (0, 1, 1));
        assert_eq!((shrunk[200 * 256 + 150], shrunk[127 * 256 + 60], shrunk[128 * 256 + 60]), (0, 0, 1));
        // Enlarged: each pixel of 64 four times.
        let frame = Frame::new(64, 64).unwrap();
        let grown = shrink_labels(&(0..4096).collect::<Vec<u16>>(), &frame);
        assert_eq!((grown[0], grown[3], grown[4], grown[256 * 4], grown[65535]), (0, 0, 1, 64, 4095));
    }

    proptest::proptest! {
        /// A mask and its mirror image shrink to mirror images, but for ties.
        #[test]
        fn masks_do_not_move(width in 300_usize..900, left in 0_usize..150, length in 20_usize..150) {
            let frame = Frame::new(width, 1).unwrap();
            let row: Vec<u16> = (0..width).map(|x| u16::from((left..left + length).contains(&x))).collect();
            let mirrored: Vec<u16> = row.iter().rev().copied().collect();
            let centre = |row: &[u16]| {
                let inside = || row.iter().enumerate().filter(|(_, l)| **l > 0).map(|(x, _)| x as f64 + 0.5);
                inside().sum::<f64>() / inside().count() as f64
            };
            let (here, there) = (shrink_labels(&row, &frame), shrink_labels(&mirrored, &frame));
            proptest::prop_assert!((centre(&here) + centre(&there) - 256.0).abs() <= 1.0);
        }
    }
}
