//! How sure a mask is.
//!
//! A person draws a box a little wider or narrower than another person. Where that changes the mask, or where the network
//! hesitates, the mask is unsure. An object is decoded from its own box and from others like it ([`jitter`]); an
//! [`Ensemble`] averages what the network says and becomes an [`Uncertain`]: a map of mean probabilities, their entropy,
//! the mask of the mean, and a score. The image is encoded once.
//!
//! `Session::segment_uncertain` does all of it. Nothing else here runs the network, so that a device whose own
//! accelerator does can average its logits:
//!
//! ```
//! use umedsam::uncertainty::{Ensemble, UncertaintyOptions, jitter};
//! use umedsam::{Frame, MaskLogits, PixelBox};
//!
//! # fn main() -> Result<(), umedsam::Error> {
//! # let decode = |b: &umedsam::ModelBox| -> (Vec<f32>, f32) {
//! #     ((0..256 * 256).map(|i| if ((i % 256) as f32) < b.x1 { 3.0 } else { -3.0 }).collect(), 0.9)
//! # };
//! let options = UncertaintyOptions::new().with_samples(4);
//! let frame = Frame::new(512, 512)?;
//! let exact = frame.to_model(&PixelBox::new(20.0, 30.0, 200.0, 180.0), 0)?;
//! let mut ensemble = Ensemble::new(frame, &options)?;
//! for model_box in jitter(&exact, frame, &options)? {
//!     let (logits, predicted_iou) = decode(&model_box);
//!     ensemble.add(&MaskLogits::new(&logits, frame), predicted_iou);
//! }
//! let found = ensemble.mean();
//! println!("{} px, score {:.2}", found.area(), found.score());
//! # Ok(()) }
//! ```

mod boxes;
mod ensemble;
#[cfg(feature = "runtime")]
mod session;

pub use boxes::jitter;
pub use ensemble::{Ensemble, Uncertain};

use crate::{Error, MODEL_SIDE};

/// Greatest number of boxes that an object is decoded from.
pub const MAX_SAMPLES: usize = 64;

/// How many boxes an object is decoded from, and how they differ.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct UncertaintyOptions {
    /// Number of boxes, the given one among them: 1 to [`MAX_SAMPLES`]. One box alone has the network's own probabilities.
    pub samples: usize,
    /// Seed of the other boxes. The same seed moves the sides of all objects by the same shares.
    pub seed: u64,
    /// Most that a side is moved outwards, in pixels of the 256x256 grid: 0 to 256. The greater of this and `share` counts,
    /// and half of it inwards.
    pub pixels: f32,
    /// Most that a side is moved outwards, as a share of the box's longer side: 0 to 1.
    pub share: f32,
    /// What the logits of the mean probabilities are divided by, 0.0625 to 16: above 1 the probabilities are less sure. The
    /// mask stays as it is.
    pub temperature: f32,
}

impl UncertaintyOptions {
    /// 4 boxes of seed 0, whose sides are moved outwards by up to 4 pixels of the grid or a tenth of the longer side, and
    /// a temperature of 1.
    pub const fn new() -> Self {
        Self { samples: 4, seed: 0, pixels: 4.0, share: 0.1, temperature: 1.0 }
    }

    /// Sets the number of boxes.
    #[must_use]
    pub const fn with_samples(self, samples: usize) -> Self {
        Self { samples, ..self }
    }

    /// Sets the seed.
    #[must_use]
    pub const fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets how far a side is moved outwards at most: pixels of the 256x256 grid, or a share of the box's longer side if that is
    /// more.
    #[must_use]
    pub const fn with_jitter(self, pixels: f32, share: f32) -> Self {
        Self { pixels, share, ..self }
    }

    /// Sets the temperature.
    #[must_use]
    pub const fn with_temperature(self, temperature: f32) -> Self {
        Self { temperature, ..self }
    }

    /// Checks that every option is within its range.
    ///
    /// # Errors
    /// [`Error::Uncertainty`] with the option's name, its value and its range.
    pub fn check(&self) -> Result<(), Error> {
        for (option, value, low, high) in [
            ("samples", self.samples as f64, 1.0, MAX_SAMPLES as f64),
            ("pixels", self.pixels.into(), 0.0, MODEL_SIDE as f64),
            ("share", self.share.into(), 0.0, 1.0),
            ("temperature", self.temperature.into(), 0.0625, 16.0),
        ] {
            // NaN is in no range.
            if !(low..=high).contains(&value) {
                return Err(Error::Uncertainty { option, value, low, high });
            }
        }
        Ok(())
    }
}

impl Default for UncertaintyOptions {
    fn default() -> Self {
        Self::new()
    }
}
