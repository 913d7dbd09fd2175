//! Drawing masks and boxes into an image.

use std::path::Path;

use umedsam::{PixelBox, VolumeSize, memory};

use crate::objects::colour;
use crate::png_file::{rgb_png, write_rgb};

/// An RGB picture under the pen.
#[derive(Debug)]
pub struct Overlay {
    rgb: Vec<u8>,
    width: usize,
    height: usize,
}

impl Overlay {
    /// Starts from gray or RGB pixels.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn new(pixels: &[u8], width: usize, height: usize) -> Result<Self, umedsam::Error> {
        let mut rgb = memory::with_room(3 * width * height)?;
        if pixels.len() == width * height {
            rgb.extend(pixels.iter().flat_map(|&v| [v, v, v]));
        } else {
            rgb.extend_from_slice(pixels);
        }
        Ok(Self { rgb, width, height })
    }

    /// Pixels that a line of one 400th of the picture, at least one pixel, takes on each side.
    fn pen(&self) -> usize {
        self.width.max(self.height) / 800
    }

    /// Tints each object and draws its outline.
    pub fn masks(&mut self, labels: &[u16]) {
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
    pub fn frame(&mut self, b: &PixelBox, label: u16) {
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

    /// A black picture.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn blank(width: usize, height: usize) -> Result<Self, umedsam::Error> {
        Ok(Self { rgb: memory::filled(3 * width * height, 0)?, width, height })
    }

    /// Width and height.
    pub const fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Lays another picture on this one, in which there is room for it.
    pub fn put(&mut self, other: &Self, x: usize, y: usize) {
        for (row, pixels) in other.rgb.chunks_exact(3 * other.width).enumerate() {
            self.rgb[((y + row) * self.width + x) * 3..][..3 * other.width].copy_from_slice(pixels);
        }
    }

    /// Writes a number into the lower left corner.
    pub fn number(&mut self, number: usize) {
        /// Five rows of three cells each, from the upper left on.
        const DIGITS: [u16; 10] = [0x7b6f, 0x2c97, 0x73e7, 0x73cf, 0x5bc9, 0x79cf, 0x79ef, 0x7249, 0x7bef, 0x7bcf];
        const CELL: usize = 3;
        let text = number.to_string();
        let (width, height) = ((4 * text.len() + 1) * CELL, 7 * CELL);
        if width > self.width || height > self.height {
            return;
        }
        let top = self.height - height;
        for y in top..self.height {
            (0..width).for_each(|x| self.blend(x, y, [0; 3], 200));
        }
        for (place, digit) in text.bytes().enumerate() {
            let cells = DIGITS[usize::from(digit - b'0')];
            for cell in (0..15).filter(|cell| cells >> (14 - cell) & 1 == 1) {
                let (x, y) = ((4 * place + 1 + cell % 3) * CELL, top + (1 + cell / 3) * CELL);
                (0..CELL * CELL).for_each(|i| self.blend(x + i % CELL, y + i / CELL, [255; 3], 255));
            }
        }
    }

    /// The picture as PNG.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn png(&self) -> anyhow::Result<Vec<u8>> {
        rgb_png(&self.rgb, self.width, self.height)
    }

    /// Writes the picture as PNG.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        write_rgb(path, &self.rgb, self.width, self.height)
    }
}

/// Draws an image, or a slice of a volume: the one that is named, or the one with the most labelled voxels.
///
/// # Errors
/// If it cannot be written.
pub fn draw_slice(
    pixels: &[u8],
    labels: &[u16],
    size: VolumeSize,
    z: Option<usize>,
    boxes: &[PixelBox],
    path: &Path,
) -> anyhow::Result<()> {
    let VolumeSize { height, width, .. } = size;
    let channels = pixels.len() / labels.len();
    let area = |slice: &[u16]| slice.iter().filter(|&&l| l > 0).count();
    let fullest = || {
        let slices = labels.chunks_exact(width * height);
        slices.enumerate().max_by_key(|(_, slice)| area(slice)).map_or(0, |(z, _)| z)
    };
    let z = z.unwrap_or_else(fullest);
    let pixels = &pixels[z * width * height * channels..][..width * height * channels];
    let labels = &labels[z * width * height..][..width * height];
    draw(pixels, labels, width, height, boxes, path)
}

/// Draws an image with masks and boxes.
///
/// # Errors
/// If it cannot be written.
pub fn draw(
    pixels: &[u8],
    labels: &[u16],
    width: usize,
    height: usize,
    boxes: &[PixelBox],
    path: &Path,
) -> anyhow::Result<()> {
    let mut overlay = Overlay::new(pixels, width, height)?;
    overlay.masks(labels);
    for (b, label) in boxes.iter().zip(1..) {
        overlay.frame(b, label);
    }
    overlay.save(path)
}
