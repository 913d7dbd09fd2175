//! Drawing masks and boxes into an image.

use std::path::Path;

use anyhow::Context;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use umedsam::PixelBox;
use umedsam::files::write_atomically;

/// Colours that stay apart for most kinds of colour vision (Okabe and Ito), one an object, over and over.
const COLOURS: [[u8; 3]; 7] =
    [[86, 180, 233], [230, 159, 0], [0, 158, 115], [240, 228, 66], [213, 94, 0], [204, 121, 167], [0, 114, 178]];

fn colour(label: u16) -> [u8; 3] {
    COLOURS[(usize::from(label) + COLOURS.len() - 1) % COLOURS.len()]
}

/// An RGB picture under the pen.
#[derive(Debug)]
pub(crate) struct Overlay {
    rgb: Vec<u8>,
    width: usize,
    height: usize,
}

impl Overlay {
    /// Starts from gray or RGB pixels.
    pub(crate) fn new(pixels: &[u8], width: usize, height: usize) -> Self {
        let rgb = if pixels.len() == width * height {
            pixels.iter().flat_map(|&v| [v, v, v]).collect()
        } else {
            pixels.to_vec()
        };
        Self { rgb, width, height }
    }

    /// Pixels that a line of one 400th of the picture, at least one pixel, takes on each side.
    fn pen(&self) -> usize {
        self.width.max(self.height) / 800
    }

    /// Tints each object and draws its outline.
    pub(crate) fn masks(&mut self, labels: &[u16]) {
        let pen = self.pen().max(1);
        for y in 0..self.height {
            for x in 0..self.width {
                let label = labels[y * self.width + x];
                if label == 0 {
                    continue;
                }
                let at = |x: usize, y: usize| labels[y * self.width + x];
                let (left, right) = (x.saturating_sub(pen), (x + pen).min(self.width - 1));
                let (top, bottom) = (y.saturating_sub(pen), (y + pen).min(self.height - 1));
                let rim = [at(left, y), at(right, y), at(x, top), at(x, bottom)].iter().any(|&other| other != label);
                let weight = if rim { 230 } else { 90 };
                self.blend(x, y, colour(label), weight);
            }
        }
    }

    /// Draws the outline of a box in its object's colour.
    pub(crate) fn frame(&mut self, b: &PixelBox, label: u16) {
        let pen = self.pen();
        let clamp = |v: f64, size: usize| (v.max(0.0) as usize).min(size - 1);
        let (x0, x1) = (clamp(b.x0, self.width), clamp(b.x1, self.width));
        let (y0, y1) = (clamp(b.y0, self.height), clamp(b.y1, self.height));
        for y in y0.saturating_sub(pen)..=(y1 + pen).min(self.height - 1) {
            for x in x0.saturating_sub(pen)..=(x1 + pen).min(self.width - 1) {
                let inside = x > x0 + pen && x + pen < x1 && y > y0 + pen && y + pen < y1;
                if !inside {
                    self.blend(x, y, colour(label), 255);
                }
            }
        }
    }

    fn blend(&mut self, x: usize, y: usize, colour: [u8; 3], weight: u16) {
        let pixel = &mut self.rgb[(y * self.width + x) * 3..][..3];
        for (value, target) in pixel.iter_mut().zip(colour) {
            *value = ((u16::from(*value) * (255 - weight) + u16::from(target) * weight) / 255) as u8;
        }
    }

    /// Writes the picture as PNG.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        write_png(path, &self.rgb, self.width, self.height, ExtendedColorType::Rgb8)
    }
}

/// Writes a label map as a gray PNG whose values are the labels: 8 bits, or 16 for more than 255 objects.
pub(crate) fn write_labels(path: &Path, labels: &[u16], width: usize, height: usize) -> anyhow::Result<()> {
    if labels.iter().all(|&l| l <= 255) {
        let bytes: Vec<u8> = labels.iter().map(|&l| l as u8).collect();
        write_png(path, &bytes, width, height, ExtendedColorType::L8)
    } else {
        let bytes: Vec<u8> = labels.iter().flat_map(|l| l.to_ne_bytes()).collect();
        write_png(path, &bytes, width, height, ExtendedColorType::L16)
    }
}

fn write_png(path: &Path, bytes: &[u8], width: usize, height: usize, kind: ExtendedColorType) -> anyhow::Result<()> {
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
        .write_image(bytes, width as u32, height as u32, kind)
        .with_context(|| path.display().to_string())?;
    write_atomically(path, |file| file.write_all(&png)).with_context(|| path.display().to_string())
}
