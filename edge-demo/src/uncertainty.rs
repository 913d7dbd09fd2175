//! `--uncertainty`: how sure the masks of an image are.

use clap::Args;
use umedsam::uncertainty::MAX_SAMPLES;
use umedsam::{Error, ImageSegmentation, ImageView, PixelBox, Session, UncertaintyOptions, memory};

use crate::input::parse_within;

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct UncertaintyArguments {
    /// Segment each object of an image from its box and K - 1 others like it, 1 to 64 in all. The mask is that of the mean.
    /// Each object gets a score, 0 to 1, of how sure it is. Two maps of 8 bits are written: NAME.probability.png, the mean
    /// probability (255 is 1), and NAME.entropy.png, its entropy (255 is 1 bit); of several objects the greatest value
    /// counts. Not for volumes.
    #[arg(long = "uncertainty", value_name = "K", value_parser = clap::value_parser!(u16).range(1..=MAX_SAMPLES as i64))]
    samples: Option<u16>,
    /// Seed of the other boxes.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "samples")]
    seed: u64,
    /// What logits are divided by before they become probabilities, 0.0625 to 16; more is less sure. Masks stay as they are.
    #[arg(long, value_name = "T", default_value_t = 1.0, requires = "samples",
        value_parser = |text: &str| parse_within(text, 0.0625..=16.0), allow_hyphen_values = true)]
    temperature: f64,
}

impl UncertaintyArguments {
    /// How to find out, or nothing.
    pub(crate) fn options(&self) -> Option<UncertaintyOptions> {
        let samples = self.samples?.into();
        let options = UncertaintyOptions::new().with_samples(samples).with_seed(self.seed);
        Some(options.with_temperature(self.temperature as f32))
    }
}

/// How sure the masks of an image are.
#[derive(Debug)]
pub(crate) struct Uncertainty {
    /// The score of each box, 0 to 1.
    pub(crate) scores: Vec<f32>,
    /// The greatest mean probability of each pixel; 255 is 1.
    pub(crate) probabilities: Vec<u8>,
    /// The greatest entropy of each pixel; 255 is 1 bit.
    pub(crate) entropy: Vec<u8>,
}

/// Segments an image from several boxes of each object. Where objects overlap, the later box prevails.
pub(crate) fn segment(
    session: &mut Session,
    image: &ImageView<'_>,
    boxes: &[PixelBox],
    options: &UncertaintyOptions,
) -> Result<(ImageSegmentation, Uncertainty), Error> {
    let max = usize::from(u16::MAX);
    if boxes.len() > max {
        return Err(Error::TooManyBoxes { count: boxes.len(), max });
    }
    let pixels = image.frame().pixels();
    let mut found = ImageSegmentation { labels: memory::filled(pixels, 0)?, predicted_iou: Vec::new() };
    let mut scores = Vec::with_capacity(boxes.len());
    let (mut probabilities, mut entropy) = (memory::filled(pixels, 0)?, memory::filled(pixels, 0)?);
    let mut map = memory::filled(pixels, 0.0)?;
    let embedding = session.encode(image)?;
    session.each_uncertain(&embedding, boxes, options, |i, uncertain| {
        uncertain.logits().paint((i + 1) as u16, &mut found.labels);
        found.predicted_iou.push(uncertain.predicted_iou());
        scores.push(uncertain.score());
        uncertain.probabilities_into(&mut map);
        raise(&mut probabilities, &map);
        uncertain.entropy_into(&mut map);
        raise(&mut entropy, &map);
    })?;
    Ok((found, Uncertainty { scores, probabilities, entropy }))
}

/// Raises bytes to values of 0 to 1 that are greater.
fn raise(bytes: &mut [u8], values: &[f32]) {
    for (byte, value) in bytes.iter_mut().zip(values) {
        *byte = (*byte).max((value * 255.0).round() as u8);
    }
}
