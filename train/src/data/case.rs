//! A labelled slice on the network's grid.

use std::collections::BTreeMap;

use umedsam::npz::{Labelled, NpzError};
use umedsam::resize::Resizer;
use umedsam::{Frame, ImageView};

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

/// A slice and its labels on the network's grid: intensities by area, as for inference, labels by nearest neighbour.
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
    let labels = shrink_labels(full, &frame);
    let mut largest: BTreeMap<u16, usize> = BTreeMap::new();
    for component in components(&labels, frame.scaled_width(), |_| true) {
        let area = largest.entry(component.label).or_default();
        *area = component.pixels.len().max(*area);
    }
    Ok(largest.into_iter().filter_map(|(label, area)| (area > min_area).then_some(label)).collect())
}

/// Nearest neighbour as OpenCV's INTER_NEAREST: each pixel takes the one at `floor(index * source / target)`.
pub(super) fn shrink_labels(labels: &[u16], frame: &Frame) -> Vec<u16> {
    let source = |index: usize, target: usize, size: usize| {
        ((index as f64 * (size as f64 / target as f64)) as usize).min(size - 1)
    };
    let (width, height) = (frame.scaled_width(), frame.scaled_height());
    let columns: Vec<usize> = (0..width).map(|x| source(x, width, frame.width())).collect();
    let rows = (0..height).map(|y| &labels[source(y, height, frame.height()) * frame.width()..]);
    rows.flat_map(|row| columns.iter().map(|&x| row[x])).collect()
}

/// Pixels that touch each other, by sides or corners, and carry one label.
pub(super) struct Component {
    pub(super) label: u16,
    pub(super) pixels: Vec<usize>,
}

/// The components of the labels that are `wanted`, in the order of their first pixels.
pub(super) fn components(labels: &[u16], width: usize, wanted: impl Fn(u16) -> bool) -> Vec<Component> {
    let height = labels.len() / width;
    let mut seen = vec![false; labels.len()];
    let mut found = Vec::new();
    for start in 0..labels.len() {
        let label = labels[start];
        if label == 0 || seen[start] || !wanted(label) {
            continue;
        }
        seen[start] = true;
        let mut pixels = vec![start];
        let mut next = 0;
        while let Some(&pixel) = pixels.get(next) {
            next += 1;
            let (x, y) = (pixel % width, pixel / width);
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                for nx in x.saturating_sub(1)..(x + 2).min(width) {
                    let neighbour = ny * width + nx;
                    if !seen[neighbour] && labels[neighbour] == label {
                        seen[neighbour] = true;
                        pixels.push(neighbour);
                    }
                }
            }
        }
        found.push(Component { label, pixels });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_connect_and_labels_divide() {
        #[rustfmt::skip]
        let labels = [
            1, 0, 0, 2,
            0, 1, 2, 0,
            1, 0, 0, 1,
        ];
        let found = components(&labels, 4, |_| true);
        let found: Vec<(u16, Vec<usize>)> = found.into_iter().map(|c| (c.label, c.pixels)).collect();
        assert_eq!(found, [(1, vec![0, 5, 8]), (2, vec![3, 6]), (1, vec![11])]);
        assert_eq!(components(&labels, 4, |label| label == 2).len(), 1);
    }

    #[test]
    fn labels_shrink_as_opencv_shrinks_them() {
        // cv2.resize(np.arange(600), (256, 1), interpolation=cv2.INTER_NEAREST)
        let frame = Frame::new(600, 1).unwrap();
        let shrunk = shrink_labels(&(0..600).collect::<Vec<u16>>(), &frame);
        assert_eq!((shrunk.len(), shrunk[1], shrunk[2], shrunk[128], shrunk[255]), (256, 2, 4, 300, 597));
        // Enlarged: each pixel of 100 more than twice.
        let frame = Frame::new(100, 100).unwrap();
        let grown = shrink_labels(&(0..10_000).collect::<Vec<u16>>(), &frame);
        assert_eq!((grown[0], grown[2], grown[3], grown[255], grown[256 * 255 + 255]), (0, 0, 1, 99, 9999));
    }
}
