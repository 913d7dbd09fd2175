//! Pictures of the worst cases: the truth's, the reference's and the model's outlines.

use std::path::{Path, PathBuf};

use umedsam::npz::{Case, Limits, Truth};
use umedsam::resize::Resizer;

use super::ValidateError;
use super::record::{Masks, Work};
use super::report::{Report, WorstCase};

/// Pictures of a report.
const PICTURES: usize = 6;

/// Longer side of a picture, in pixels.
const SIDE: usize = 400;

/// What the picture shows beside the object: at least this many pixels of the case, and a share of the object's size.
const MARGIN: usize = 6;
const MARGIN_SHARE: f64 = 0.35;

/// Colours of the truth, the reference and the model; they stay apart for most kinds of colour vision (Okabe and Ito).
pub(super) const COLOURS: [[u8; 3]; 3] = [[0, 158, 115], [86, 180, 233], [240, 140, 0]];

/// The object of a case that lost most, and what surrounds it.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The case's file name.
    pub case: String,
    /// The object.
    pub label: u16,
    /// The slice in which the masks differ most; none for an image.
    pub slice: Option<usize>,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// The picture, a PNG.
    pub png: Vec<u8>,
}

/// Draws the first of the worst cases, from the label maps that were kept.
pub(super) fn of_worst(
    report: &Report,
    cases: &[(PathBuf, String)],
    work: &Work<'_>,
) -> Result<Vec<Picture>, ValidateError> {
    let drawn = report.worst.iter().take(PICTURES).filter_map(|worst| {
        let (record, (path, _)) = report.cases.iter().zip(cases).find(|(record, _)| record.case == worst.case)?;
        Some((worst, path, &record.key))
    });
    drawn.map(|(worst, path, key)| draw(worst, path, &work.masks(key)?)).collect()
}

fn draw(worst: &WorstCase, path: &Path, masks: &Masks) -> Result<Picture, ValidateError> {
    let wrong = |message: String| ValidateError::Picture { case: worst.case.clone(), message };
    let limits = Limits::new();
    let (case, truth) = (Case::read(path, &limits)?, Truth::read(path, &limits)?);
    let maps = [&truth.labels, &masks.reference, &masks.model];
    if maps.iter().any(|map| map.len() != case.shape.labels().iter().product::<usize>()) {
        return Err(wrong("the label maps are not of the case's size".into()));
    }
    let (width, height) = (case.shape.width, case.shape.height);
    let z = slice(maps, worst.label, width * height);
    let object =
        maps.map(|map| Mask { labels: &map[z * width * height..][..width * height], width, label: worst.label });
    let [x, y] = [(true, width), (false, height)].map(|(columns, size)| shown(&object, columns, size));
    let image = case.slice(z).and_then(|image| image.crop(x.0, y.0, x.1, y.1)).map_err(|e| wrong(e.to_string()))?;
    let scale = SIDE as f64 / x.1.max(y.1) as f64;
    let size = |length: usize| ((length as f64 * scale).round() as usize).clamp(1, SIDE);
    let mut canvas = Canvas::new(size(x.1), size(y.1));
    let mut pixels = vec![0; canvas.width * canvas.height * image.channel_count()];
    Resizer::new().resize_into(&image, canvas.width, canvas.height, &mut pixels);
    canvas.rgb = if image.channel_count() == 3 { pixels } else { pixels.iter().flat_map(|&v| [v, v, v]).collect() };
    let (columns, rows) = (canvas.width, canvas.height);
    for ((mask, colour), (pen, dashed)) in object.iter().zip(COLOURS).zip([(3, false), (2, false), (2, true)]) {
        let at = |column: usize, row: usize| mask.has(x.0 + column * x.1 / columns, y.0 + row * y.1 / rows);
        canvas.outline(at, colour, pen, dashed);
    }
    let slice = case.shape.depth.map(|_| z);
    let png = canvas.png().map_err(|e| wrong(e.to_string()))?;
    Ok(Picture { case: worst.case.clone(), label: worst.label, slice, width: columns, height: rows, png })
}

/// The slice in which the object's masks differ most; of those in which they don't, the one with most of its truth.
fn slice(maps: [&Vec<u16>; 3], label: u16, size: usize) -> usize {
    let [truth, reference, model] = maps.map(|map| map.chunks_exact(size));
    let weigh = |((truth, reference), model): ((&[u16], &[u16]), &[u16])| {
        let differ = reference.iter().zip(model).filter(|(r, m)| (**r == label) != (**m == label)).count();
        (differ, truth.iter().filter(|&&t| t == label).count())
    };
    // The first of equals.
    let slices = truth.zip(reference).zip(model).map(weigh).enumerate();
    slices.max_by_key(|&(z, weight)| (weight, std::cmp::Reverse(z))).map_or(0, |(z, _)| z)
}

/// An object's mask in an image.
struct Mask<'a> {
    labels: &'a [u16],
    width: usize,
    label: u16,
}

impl Mask<'_> {
    fn has(&self, x: usize, y: usize) -> bool {
        self.labels.get(y * self.width + x) == Some(&self.label)
    }
}

/// First column (or row) of the picture and their number: the object by any of its masks, and a margin.
fn shown(masks: &[Mask<'_>; 3], columns: bool, size: usize) -> (usize, usize) {
    let positions = masks.iter().flat_map(|mask| {
        let found = mask.labels.iter().enumerate().filter(|(_, label)| **label == mask.label);
        found.map(|(i, _)| if columns { i % mask.width } else { i / mask.width })
    });
    let Some((low, high)) = positions.fold(None, |range: Option<(usize, usize)>, p| {
        Some(range.map_or((p, p), |(low, high)| (low.min(p), high.max(p))))
    }) else {
        return (0, size);
    };
    let margin = MARGIN.max(((high - low) as f64 * MARGIN_SHARE) as usize);
    let first = low.saturating_sub(margin);
    (first, (high + margin + 1).min(size) - first)
}

/// An RGB picture under the pen.
struct Canvas {
    rgb: Vec<u8>,
    width: usize,
    height: usize,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self { rgb: Vec::new(), width, height }
    }

    /// Colours the rim of a mask, `pen` pixels wide inwards; dashes let what lies beneath be seen.
    fn outline(&mut self, mask: impl Fn(usize, usize) -> bool, colour: [u8; 3], pen: usize, dashed: bool) {
        for y in 0..self.height {
            for x in 0..self.width {
                if !mask(x, y) || (dashed && (x + y) / 6 % 2 == 1) {
                    continue;
                }
                let beside = [(x.wrapping_sub(pen), y), (x + pen, y), (x, y.wrapping_sub(pen)), (x, y + pen)];
                let inside = |&(x, y): &(usize, usize)| x < self.width && y < self.height && mask(x, y);
                if !beside.iter().all(inside) {
                    self.rgb[(y * self.width + x) * 3..][..3].copy_from_slice(&colour);
                }
            }
        }
    }

    fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(bytes)
    }
}
