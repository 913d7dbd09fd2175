//! One sample: a picture, one object in it, and the box that a person might draw around it.

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use umedsam::{MODEL_SIDE, PixelBox, volume};

use super::case::{CaseProblem, Picture, components};
use super::crop::bounds;
use super::dataset::{Dataset, DatasetError, Entry, Extent};
use super::tone::Tone;
use super::view::View;
use crate::config::DataConfig;
use crate::embeddings::Stored;

/// Pixels of the network's grid.
pub(super) const GRID: usize = MODEL_SIDE * MODEL_SIDE;

/// What of a case is drawn, and how it is changed.
#[derive(Clone, Debug, PartialEq)]
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
    /// Margin of the crop around the object, in lengths of its longer side; the whole picture if left out.
    pub zoom: Option<f64>,
    /// Turned, nearer or elsewhere; the picture as it is where that would leave too little of the object.
    pub view: Option<View>,
    /// Another exposure.
    pub tone: Option<Tone>,
    /// What the box is around.
    pub around: Around,
    /// How far the left, upper, right and lower side of the box are moved outwards: whole pixels of the 256x256 grid, and
    /// shares of the box's longer side; the larger of the two counts.
    pub jitter: [(f64, f64); 4],
}

/// What a box is around.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Around {
    /// The object in the picture.
    Object,
    /// The label in this slice, as a mask is carried on from there, cut to the label's box in the whole volume.
    Beside(usize),
    /// The label in all slices of the volume, as inference begins.
    Volume,
    /// Whatever is there: x0, y0, x1, y1 as shares of the picture's width and height. What is to be found there only a
    /// teacher can say.
    Anywhere([f64; 4]),
}

impl Around {
    /// A box of any place, a width of 3 to 70 % of the picture's and a height of a third to three times as much.
    fn anywhere(rng: &mut ChaCha8Rng) -> Self {
        let width = rng.random_range(0.03_f64.ln()..0.7_f64.ln()).exp();
        let height = (width * rng.random_range(-1.1..1.1_f64).exp()).clamp(0.03, 0.9);
        let (x, y) = (rng.random_range(0.0..1.0 - width), rng.random_range(0.0..1.0 - height));
        Self::Anywhere([x, y, x + width, y + height])
    }
}

impl Drawing {
    /// The whole label with its exact box.
    pub const fn exact(entry: usize, z: usize, label: u16) -> Self {
        Self {
            entry,
            z,
            label,
            component: None,
            zoom: None,
            flips: [false; 2],
            view: None,
            tone: None,
            around: Around::Object,
            jitter: [(0.0, 0.0); 4],
        }
    }

    /// What sample `position` of an epoch draws of the case at `entry`.
    pub fn random(dataset: &Dataset, entry: usize, config: &DataConfig, seed: u64, epoch: u64, position: u64) -> Self {
        // The words of `plan` end in small numbers or the greatest.
        let rng: &mut ChaCha8Rng = &mut super::random(seed, [epoch, position, 1 << 32]);
        // Few looks of a case make few embeddings.
        let look: &mut ChaCha8Rng = &mut match config.looks {
            0 => super::random(seed, [epoch, position, (1 << 32) + 1]),
            looks => super::random(seed, [entry as u64, rng.random_range(..looks), (1 << 32) + 2]),
        };
        let case = &dataset.entries()[entry];
        let (z, labels) = &case.slices[rng.random_range(..case.slices.len())];
        let (mut z, mut label) = (*z, labels.choose(rng).copied().unwrap_or_default());
        let carried_from =
            dataset.neighbours(entry, z, label).choose(rng).copied().filter(|_| rng.random_bool(config.carried));
        let mut around = carried_from.map_or(Around::Object, Around::Beside);
        // Apart from the others, so that these are drawn alike without it.
        let other: &mut ChaCha8Rng = &mut super::random(seed, [epoch, position, (1 << 32) + 3]);
        if other.random_bool(config.unlabelled) {
            around = Around::anywhere(other);
        } else if other.random_bool(config.opening)
            && let Some((slice, of)) = opening(case, other)
        {
            (z, label, around) = (slice, of, Around::Volume);
        }
        let component = rng.random_bool(config.component).then(|| rng.next_u64());
        let jitter = [(); 4].map(|()| (rng.random_range(0..=config.jitter), rng.random_range(0.0..=1.0)));
        let loose = if other.random_bool(config.exact) { 0.0 } else { 1.0 };
        Self {
            entry,
            z,
            label,
            // A label goes through a volume as a whole.
            component: component.filter(|_| around == Around::Object),
            around,
            flips: [(); 2].map(|()| look.random_bool(config.flip)),
            tone: (config.tone > 0.0).then(|| Tone::random(look, config.tone)),
            // A box of more than the slice shows can't be drawn anew, and a box around a turned box is a wider one.
            view: View::random(look, config).map(|view| match around {
                Around::Beside(_) | Around::Volume => View { angle: 0.0, ..view },
                Around::Object | Around::Anywhere(_) => view,
            }),
            jitter: jitter.map(|(pixels, most)| (loose * f64::from(pixels), loose * most * config.jitter_share)),
            zoom: config.zoom_margins.choose(rng).copied().filter(|_| rng.random_bool(config.zoom)),
        }
    }
}

/// A label of a volume, each as likely, and a slice of it near its middle: within an eighth of its length, or the nearest.
fn opening(case: &Entry, rng: &mut ChaCha8Rng) -> Option<(usize, u16)> {
    let labels: Vec<(u16, Extent)> = case.extents.iter().map(|(&label, &extent)| (label, extent)).collect();
    let &(label, Extent { first, last, .. }) = labels.choose(rng)?;
    let away = |z: usize| (2 * z).abs_diff(first + last);
    let slices = || case.slices.iter().filter(|(_, labels)| labels.contains(&label)).map(|&(z, _)| z);
    let near: Vec<usize> = slices().filter(|&z| 4 * away(z) <= last - first).collect();
    let z = near.choose(rng).copied().or_else(|| slices().min_by_key(|&z| away(z)))?;
    Some((z, label))
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
    /// Whether the mask is what is to be found; if not, nobody knows, and it has no pixel.
    pub known: bool,
    /// x0, y0, x1, y1 in pixels of the 256x256 grid, both ends within the box.
    pub model_box: [f32; 4],
    /// Target of the shape-distance loss, 256x256; empty if it isn't wanted.
    pub shape: Vec<f32>,
}

impl Sample {
    /// The sample of a drawing, without embedding and shape.
    ///
    /// # Errors
    /// [`DatasetError::Case`] if the file can no longer be used, or has more than a packed data set.
    pub fn new(dataset: &Dataset, drawing: &Drawing, min_area: usize) -> Result<Self, DatasetError> {
        let Drawing { entry, z, label, component, zoom, flips, view, tone, around, jitter } = *drawing;
        let close = match zoom {
            Some(margin) => dataset.crop(entry, label, component, margin, min_area)?,
            None => None,
        };
        let (mut picture, mut object) = match close {
            Some(close) => close,
            None => {
                let slice = dataset.slice(entry, z)?;
                let width = slice.picture.width;
                let failure = |e: umedsam::Error| {
                    let path = dataset.entries()[entry].path.clone();
                    DatasetError::Case { path, problem: CaseProblem::from(e).into() }
                };
                let object = object(&slice.labels, width, label, component, min_area).map_err(failure)?;
                (slice.picture.clone(), object)
            }
        };
        let (width, channels) = (picture.width, picture.channels);
        let height = object.len() / width;
        let whole = || dataset.entries()[entry].extents.get(&label).map(|extent| extent.bounds);
        // The box, and what it is cut to.
        let mut boxes = match around {
            Around::Object => [bounds(&object, width), None],
            Around::Beside(z) => [dataset.label_box(entry, z, label)?, whole()],
            Around::Volume => [whole(), None],
            Around::Anywhere(shares) => [Some(share_of(shares, [width, height])), None],
        };
        if let Some(view) = view {
            // Of what the box is around, the object in this slice first.
            let middle = bounds(&object, width).filter(|_| !matches!(around, Around::Anywhere(_))).or(boxes[0]);
            let middle = middle.map_or([0.0; 2], |b| [(b.x0 + b.x1) / 2.0, (b.y0 + b.y1) / 2.0]);
            let (seen, moved) = view.apply(&picture, &object, middle);
            let map = |b: PixelBox| view.map(b, middle, [width, height]);
            match around {
                Around::Object if moved.iter().filter(|&&inside| inside).count() > min_area => {
                    boxes = [bounds(&moved, width), None];
                    (picture, object) = (seen, moved);
                }
                // The box shows nothing of it.
                Around::Object => {}
                Around::Beside(_) | Around::Volume | Around::Anywhere(_) => {
                    boxes = boxes.map(|b| b.map(map));
                    (picture, object) = (seen, moved);
                }
            }
        }
        if matches!(around, Around::Anywhere(_)) {
            object.fill(false);
        }
        if flips[0] {
            flip_columns(&mut object, width, 1);
            flip_columns(&mut picture.pixels, width, channels);
            let flip = |b: PixelBox| PixelBox { x0: mirrored(b.x1, width), x1: mirrored(b.x0, width), ..b };
            boxes = boxes.map(|b| b.map(flip));
        }
        if flips[1] {
            flip_rows(&mut object, width);
            flip_rows(&mut picture.pixels, width * channels);
            let flip = |b: PixelBox| PixelBox { y0: mirrored(b.y1, height), y1: mirrored(b.y0, height), ..b };
            boxes = boxes.map(|b| b.map(flip));
        }
        let [around_box, limit] = boxes;
        let loosely = |side: f64| jitter.map(|(pixels, share)| pixels.max(share * side));
        let model_box = match around {
            Around::Object | Around::Volume => surround(around_box, [width, height], loosely),
            Around::Anywhere(_) => surround(around_box, [width, height], |_| [0.0; 4]),
            Around::Beside(_) => {
                let carried = surround(around_box, [width, height], |_| [volume::MARGIN as f64; 4]);
                let own = |side: f64| loosely(side).map(|far| far + volume::BOX_MARGIN as f64);
                let [x0, y0, x1, y1] = surround(limit.or(around_box), [width, height], own);
                [carried[0].max(x0), carried[1].max(y0), carried[2].min(x1), carried[3].min(y1)]
            }
        };
        if let Some(tone) = tone {
            tone.apply(&mut picture);
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
            model_box,
            mask,
            known: !matches!(around, Around::Anywhere(_)),
            shape: Vec::new(),
        })
    }
}

/// The pixels of a label, or of one of its components of more than `min_area` pixels.
pub(super) fn object(
    labels: &[u16],
    width: usize,
    label: u16,
    component: Option<u64>,
    min_area: usize,
) -> Result<Vec<bool>, umedsam::Error> {
    let Some(number) = component else { return Ok(labels.iter().map(|&l| l == label).collect()) };
    let components = components(labels, width)?;
    let found = (1u32..).zip(components.found());
    let found: Vec<u32> = found.filter(|(_, c)| c.label == label && c.voxels > min_area).map(|(i, _)| i).collect();
    let chosen = found.get((number % found.len().max(1) as u64) as usize);
    let mut numbers = vec![0; labels.len()];
    components.number_into(&mut numbers)?;
    Ok(numbers.into_iter().map(|number| chosen == Some(&number)).collect())
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

/// The box of these shares of a picture, in whole pixels.
fn share_of([x0, y0, x1, y1]: [f64; 4], [width, height]: [usize; 2]) -> PixelBox {
    let at = |share: f64, length: usize| (share * (length - 1) as f64).round();
    PixelBox::new(at(x0, width), at(y0, height), at(x1, width), at(y1, height))
}

/// Where one of `length` rows or columns lies after a flip.
fn mirrored(position: f64, length: usize) -> f64 {
    (length - 1) as f64 - position
}

/// A box, or the first pixel where there is none, each side moved outwards within the picture by whole pixels:
/// `outwards` says how far for the box's longer side.
fn surround(around: Option<PixelBox>, [width, height]: [usize; 2], outwards: impl Fn(f64) -> [f64; 4]) -> [f32; 4] {
    let b = around.unwrap_or(PixelBox::new(0.0, 0.0, 0.0, 0.0));
    let [left, top, right, bottom] = outwards((b.x1 - b.x0).max(b.y1 - b.y0) + 1.0).map(f64::round);
    let (x0, y0) = ((b.x0 - left).max(0.0), (b.y0 - top).max(0.0));
    let (x1, y1) = ((b.x1 + right).min(width as f64), (b.y1 + bottom).min(height as f64));
    [x0, y0, x1, y1].map(|c| c as f32)
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
        let by = |outwards: [f64; 4]| surround(bounds(&object, 5), [5, 4], |_| outwards);
        assert_eq!(by([0.0; 4]), [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(by([1.0, 0.4, 1.6, 1.0]), [0.0, 1.0, 4.0, 3.0]);
        assert_eq!(by([5.0; 4]), [0.0, 0.0, 5.0, 4.0]);
        assert_eq!(surround(bounds(&object, 5), [5, 4], |side| [side; 4]), [0.0, 0.0, 4.0, 4.0]);
    }
}
