//! One sample: a picture, one object in it, and the box that a person might draw around it.

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use umedsam::MODEL_SIDE;

use super::case::{Picture, Slice, components};
use super::dataset::{Dataset, DatasetError};
use crate::config::DataConfig;
use crate::embeddings::Stored;

/// Pixels of the network's grid.
pub(super) const GRID: usize = MODEL_SIDE * MODEL_SIDE;

/// What of a case is drawn, and how it is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawing {
    /// Position of the case.
    pub entry: usize,
    /// The slice.
    pub z: usize,
    /// The label.
    pub label: u16,
    /// One of the label's components, by any number; all of them if left out.
    pub component: Option<u64>,
    /// Left to right; upside down.
    pub flips: [bool; 2],
    /// Pixels that the left, upper, right and lower side of the box are moved outwards.
    pub jitter: [u32; 4],
}

impl Drawing {
    /// The whole label with its exact box.
    pub const fn exact(entry: usize, z: usize, label: u16) -> Self {
        Self { entry, z, label, component: None, flips: [false; 2], jitter: [0; 4] }
    }

    /// What sample `position` of an epoch draws of the case at `entry`.
    pub fn random(dataset: &Dataset, entry: usize, config: &DataConfig, seed: u64, epoch: u64, position: u64) -> Self {
        // The words of `plan` end in small numbers or the greatest.
        let rng: &mut ChaCha8Rng = &mut super::random(seed, [epoch, position, 1 << 32]);
        let slices = &dataset.entries()[entry].slices;
        let (z, labels) = &slices[rng.random_range(..slices.len())];
        Self {
            entry,
            z: *z,
            label: labels.choose(rng).copied().unwrap_or_default(),
            component: rng.random_bool(config.component).then(|| rng.next_u64()),
            flips: [(); 2].map(|()| rng.random_bool(config.flip)),
            jitter: [(); 4].map(|()| rng.random_range(..=config.jitter)),
        }
    }
}

/// One object of a picture.
#[derive(Debug)]
pub struct Sample {
    /// File, slice and label.
    pub name: String,
    /// The picture, before padding.
    pub picture: Picture,
    /// Its embedding, where the cache holds it.
    pub embedding: Option<Stored>,
    /// 1 for the object: 256x256, padded right and below.
    pub mask: Vec<bool>,
    /// x0, y0, x1, y1 in pixels of the 256x256 grid, both ends within the box.
    pub model_box: [f32; 4],
    /// Target of the shape-distance loss, 256x256; empty if it isn't wanted.
    pub shape: Vec<f32>,
}

impl Sample {
    /// The sample of a drawing, without embedding and shape.
    ///
    /// # Errors
    /// [`DatasetError::Case`] if the file can no longer be used.
    pub fn new(dataset: &Dataset, drawing: &Drawing, min_area: usize) -> Result<Self, DatasetError> {
        let Drawing { entry, z, label, component, flips, jitter } = *drawing;
        let slice = dataset.slice(entry, z)?;
        let mut object = object(&slice, label, component, min_area);
        let mut picture = slice.picture.clone();
        let (width, channels) = (picture.width, picture.channels);
        if flips[0] {
            flip_columns(&mut object, width, 1);
            flip_columns(&mut picture.pixels, width, channels);
        }
        if flips[1] {
            flip_rows(&mut object, width);
            flip_rows(&mut picture.pixels, width * channels);
        }
        let mut mask = vec![false; GRID];
        for (padded, row) in mask.chunks_exact_mut(MODEL_SIDE).zip(object.chunks_exact(width)) {
            padded[..width].copy_from_slice(row);
        }
        let file = dataset.entries()[entry].name();
        Ok(Self {
            name: format!("{file} slice {z} label {label}"),
            picture,
            embedding: None,
            model_box: surround(&object, width, jitter),
            mask,
            shape: Vec::new(),
        })
    }
}

/// The pixels of a label, or of one of its components of more than `min_area` pixels.
fn object(slice: &Slice, label: u16, component: Option<u64>, min_area: usize) -> Vec<bool> {
    let Some(number) = component else { return slice.labels.iter().map(|&l| l == label).collect() };
    let mut found = components(&slice.labels, slice.picture.width, |l| l == label);
    found.retain(|c| c.pixels.len() > min_area);
    let mut mask = vec![false; slice.labels.len()];
    if let Some(chosen) = found.get((number % found.len().max(1) as u64) as usize) {
        chosen.pixels.iter().for_each(|&pixel| mask[pixel] = true);
    }
    mask
}

fn flip_columns<T>(pixels: &mut [T], width: usize, channels: usize) {
    for row in pixels.chunks_exact_mut(width * channels) {
        row.reverse();
        // Reversing turned the order of the channels, too.
        row.chunks_exact_mut(channels).for_each(<[T]>::reverse);
    }
}

fn flip_rows<T>(pixels: &mut [T], width: usize) {
    let height = pixels.len() / width;
    let (upper, lower) = pixels.split_at_mut(height / 2 * width);
    // An odd row in the middle is `lower`'s first, and stays.
    for (first, last) in upper.chunks_exact_mut(width).zip(lower.chunks_exact_mut(width).rev()) {
        first.swap_with_slice(last);
    }
}

/// The box around the object, each side moved outwards within the picture.
fn surround(object: &[bool], width: usize, jitter: [u32; 4]) -> [f32; 4] {
    let height = object.len() / width;
    let inside = || object.iter().enumerate().filter(|(_, inside)| **inside).map(|(i, _)| (i % width, i / width));
    let x0 = inside().map(|(x, _)| x).min().unwrap_or(0);
    let x1 = inside().map(|(x, _)| x).max().unwrap_or(0);
    let y0 = inside().map(|(_, y)| y).min().unwrap_or(0);
    let y1 = inside().map(|(_, y)| y).max().unwrap_or(0);
    let [left, top, right, bottom] = jitter.map(|j| j as usize);
    let corners = [x0.saturating_sub(left), y0.saturating_sub(top), (x1 + right).min(width), (y1 + bottom).min(height)];
    corners.map(|c| c as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flips_turn_rows_and_columns_but_not_colours() {
        let mut rgb: Vec<u8> = (0..18).collect();
        flip_columns(&mut rgb, 3, 3);
        assert_eq!(rgb[..9], [6, 7, 8, 3, 4, 5, 0, 1, 2]);
        flip_rows(&mut rgb, 9);
        assert_eq!(rgb[..9], [15, 16, 17, 12, 13, 14, 9, 10, 11]);
        let mut odd = [1, 2, 3];
        flip_rows(&mut odd, 1);
        assert_eq!(odd, [3, 2, 1]);
    }

    #[test]
    fn a_box_holds_its_object_and_grows_within_the_picture() {
        #[rustfmt::skip]
        let object = [
            0, 0, 0, 0, 0,
            0, 0, 1, 0, 0,
            0, 1, 0, 0, 0,
            0, 0, 0, 0, 0,
        ].map(|v| v == 1);
        assert_eq!(surround(&object, 5, [0; 4]), [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(surround(&object, 5, [1, 0, 2, 1]), [0.0, 1.0, 4.0, 3.0]);
        assert_eq!(surround(&object, 5, [5; 4]), [0.0, 0.0, 5.0, 4.0]);
    }
}
