//! Preprocessing: from an image to the network's input.

use std::prelude::v1::*;

use crate::{Frame, ImageView, MODEL_SIDE, image::Channels, resize::Resizer};

/// Version of the preprocessing. It is part of a bundle's manifest and of every key that embeddings are stored under.
pub const PREPROCESSING_VERSION: u32 = 1;

/// Number of values of the network's input, which is (3,256,256).
pub const INPUT_LEN: usize = 3 * MODEL_SIDE * MODEL_SIDE;

/// Turns images into network inputs. It keeps its buffers: a second image of the same size allocates nothing.
#[derive(Debug, Default)]
pub struct Preprocessor {
    resizer: Resizer,
    resized: Vec<u8>,
}

impl Preprocessor {
    /// A preprocessor with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Memory of the buffers, in bytes.
    pub fn capacity_bytes(&self) -> usize {
        self.resizer.capacity_bytes() + self.resized.capacity()
    }

    /// Writes the network's input for `image` into `input`: (3,256,256), values 0 to 1. Returns the image's frame.
    ///
    /// The longest side is resized to 256 (OpenCV's INTER_AREA). The values of all channels together are scaled to 0..1
    /// by `(x - min) / max(max - min, 1e-8)`, and the rest on the right and below is padded with 0. A gray image fills
    /// all three channels.
    ///
    /// # Panics
    /// If `input` does not hold [`INPUT_LEN`] values.
    pub fn preprocess_into(&mut self, image: &ImageView<'_>, input: &mut [f32]) -> Frame {
        assert_eq!(input.len(), INPUT_LEN, "length of the network's input");
        let frame = image.frame();
        let (width, height) = (frame.scaled_width(), frame.scaled_height());
        let channels = image.channels().count();
        self.resized.resize(width * height * channels, 0);
        self.resizer.resize_into(image, width, height, &mut self.resized);

        let min = self.resized.iter().copied().min().unwrap_or(0);
        let max = self.resized.iter().copied().max().unwrap_or(0);
        let range = f64::from(max - min).max(1e-8);
        let mut levels = [0.0f32; 256];
        for (level, value) in levels.iter_mut().zip(0u16..) {
            *level = ((f64::from(value) - f64::from(min)) / range) as f32;
        }

        input.fill(0.0);
        for (plane, channel) in input.chunks_exact_mut(MODEL_SIDE * MODEL_SIDE).zip(0..) {
            let source = if image.channels() == Channels::Gray { 0 } else { channel };
            for (row, pixels) in plane.chunks_exact_mut(MODEL_SIDE).zip(self.resized.chunks_exact(width * channels)) {
                for (value, pixel) in row.iter_mut().zip(pixels.iter().skip(source).step_by(channels)) {
                    *value = levels[usize::from(*pixel)];
                }
            }
        }
        frame
    }
}
