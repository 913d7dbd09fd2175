//! What a loss looks like.

use super::record::Labels;
use super::{Loss, ValidateError};

/// Longest side of a picture, in pixels.
const SIDE: usize = 384;
/// Part of the object's box that is shown around it, on each side.
const MARGIN: f64 = 0.5;

/// Outlines: truth, reference, model. Apart for most kinds of colour vision (Okabe and Ito).
pub(super) const COLOURS: [[u8; 3]; 3] = [[240, 228, 66], [86, 180, 233], [213, 94, 0]];

/// An object with its outlines.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Picture {
    /// What it shows.
    pub loss: Loss,
    /// The slice, if it is of a volume.
    pub slice: Option<usize>,
    /// The picture, PNG.
    pub png: Vec<u8>,
}

/// Draws the object of a loss: of a volume the slice where model and truth differ most.
pub(super) fn draw(loss: &Loss, labels: &Labels) -> Result<Option<Picture>, ValidateError> {
    let [Some(reference), Some(model)] = &labels.found else { return Ok(None) };
    let shape = &labels.case.shape;
    let (width, height, channels) = (shape.width, shape.height, shape.channels);
    let is = |&l: &u16| usize::from(l) == loss.label;
    let maps: [&[u16]; 3] = [&labels.truth.labels, reference, model];
    let slices = maps[0].chunks_exact(width * height).zip(maps[2].chunks_exact(width * height));
    let differing = slices.map(|(a, b)| a.iter().zip(b).filter(|(a, b)| is(a) != is(b)).count());
    // The first of the worst.
    let z = differing.enumerate().fold((0, 0), |worst, (z, n)| if n > worst.1 { (z, n) } else { worst }).0;
    let masks = maps.map(|map| map[z * width * height..][..width * height].iter().map(is).collect::<Vec<bool>>());
    let view = View::new(&masks, width, height);
    let mut rgb = Vec::with_capacity(3 * view.width * view.height);
    for y in 0..view.height {
        for x in 0..view.width {
            let (column, row) = view.source(x, y);
            let first = ((z * height + row) * width + column) * channels;
            rgb.extend((0..3).map(|c| labels.case.pixels[first + c % channels]));
        }
    }
    for (mask, colour) in masks.iter().zip(COLOURS) {
        let inside = |x: usize, y: usize| {
            let (column, row) = view.source(x, y);
            mask[row * width + column]
        };
        for y in 0..view.height {
            for x in 0..view.width {
                let (right, below) = ((x + 1).min(view.width - 1), (y + 1).min(view.height - 1));
                if inside(x, y) != inside(right, y) || inside(x, y) != inside(x, below) {
                    rgb[3 * (y * view.width + x)..][..3].copy_from_slice(&colour);
                }
            }
        }
    }
    let png = encode(&rgb, view.width, view.height)
        .map_err(|source| ValidateError::Picture { case: loss.case.clone(), source })?;
    Ok(Some(Picture { loss: loss.clone(), slice: shape.depth.map(|_| z), png }))
}

/// The part of an image that is shown, and how large.
#[derive(Debug)]
struct View {
    x: f64,
    y: f64,
    /// Pixels of the image for each of the picture's.
    step: f64,
    width: usize,
    height: usize,
    last: (usize, usize),
}

impl View {
    /// Around all masks, with a margin.
    fn new(masks: &[Vec<bool>; 3], width: usize, height: usize) -> Self {
        let (mut x0, mut y0, mut x1, mut y1) = (width, height, 0, 0);
        for i in masks.iter().flat_map(|mask| (0..mask.len()).filter(|&i| mask[i])) {
            (x0, x1) = (x0.min(i % width), x1.max(i % width + 1));
            (y0, y1) = (y0.min(i / width), y1.max(i / width + 1));
        }
        if x0 >= x1 {
            (x0, y0, x1, y1) = (0, 0, width, height);
        }
        let margin = (x1 - x0).max(y1 - y0) as f64 * MARGIN;
        let (x, y) = ((x0 as f64 - margin).max(0.0), (y0 as f64 - margin).max(0.0));
        let (w, h) = ((x1 as f64 + margin).min(width as f64) - x, (y1 as f64 + margin).min(height as f64) - y);
        let step = w.max(h) / SIDE as f64;
        let size = |length: f64| ((length / step) as usize).clamp(1, SIDE);
        Self { x, y, step, width: size(w), height: size(h), last: (width - 1, height - 1) }
    }

    /// The image's pixel under one of the picture's.
    fn source(&self, x: usize, y: usize) -> (usize, usize) {
        let at = |start: f64, i: usize, last: usize| ((start + (i as f64 + 0.5) * self.step) as usize).min(last);
        (at(self.x, x, self.last.0), at(self.y, y, self.last.1))
    }
}

fn encode(rgb: &[u8], width: usize, height: usize) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(bytes)
}
