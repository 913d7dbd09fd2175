//! The mean of what the network says of an object's boxes.

use std::prelude::v1::*;

use super::{MAX_SAMPLES, UncertaintyOptions};
use crate::postprocess::LOGITS_LEN;
use crate::{Error, Frame, MODEL_SIDE, MaskLogits};

/// Greatest logit that still changes a probability in f32, so that `exp` neither overflows nor vanishes.
const SATURATED: f32 = 80.0;

/// What the network says of an object, box by box.
#[derive(Clone, Debug)]
pub struct Ensemble {
    frame: Frame,
    temperature: f32,
    /// Sums of the probabilities of object and background. Near 1 a probability says nothing of its difference from 1, so
    /// both are kept.
    object: Vec<f32>,
    background: Vec<f32>,
    /// Masks that hold each pixel.
    votes: Vec<u8>,
    predicted_iou: f32,
    samples: usize,
}

impl Ensemble {
    /// An ensemble without boxes, for an image with this frame.
    ///
    /// # Errors
    /// [`Error::Uncertainty`] if an option is out of its range.
    pub fn new(frame: Frame, options: &UncertaintyOptions) -> Result<Self, Error> {
        options.check()?;
        Ok(Self {
            frame,
            temperature: options.temperature,
            object: vec![0.0; LOGITS_LEN],
            background: vec![0.0; LOGITS_LEN],
            votes: vec![0; LOGITS_LEN],
            predicted_iou: 0.0,
            samples: 0,
        })
    }

    /// Takes every box out, for another object of the image.
    pub fn clear(&mut self) {
        self.object.fill(0.0);
        self.background.fill(0.0);
        self.votes.fill(0);
        (self.predicted_iou, self.samples) = (0.0, 0);
    }

    /// Number of boxes so far.
    pub const fn samples(&self) -> usize {
        self.samples
    }

    /// Adds what the network says of a box: finite logits, and the predicted IoU.
    ///
    /// # Panics
    /// If the logits are of an image with another frame, or there are [`MAX_SAMPLES`] boxes already.
    pub fn add(&mut self, logits: &MaskLogits<'_>, predicted_iou: f32) {
        assert_eq!(logits.frame(), self.frame, "frame of the image");
        assert!(self.samples < MAX_SAMPLES, "number of boxes");
        for (((&logit, object), background), votes) in
            logits.values().iter().zip(&mut self.object).zip(&mut self.background).zip(&mut self.votes)
        {
            let [p, q] = probabilities(logit);
            *object += p;
            *background += q;
            *votes += u8::from(logit > 0.0);
        }
        self.predicted_iou += predicted_iou;
        self.samples += 1;
    }

    /// The mean of all boxes so far.
    ///
    /// # Panics
    /// If there is no box.
    pub fn mean(&self) -> Uncertain {
        assert!(self.samples > 0, "number of boxes");
        let logits: Vec<f32> =
            self.object.iter().zip(&self.background).map(|(p, q)| libm::logf(p / q) / self.temperature).collect();
        let (agreement, predicted_iou) = (self.agreement(), self.predicted_iou / self.samples as f32);
        let expected_dice = expected_dice(MaskLogits::new(&logits, self.frame));
        Uncertain { logits, frame: self.frame, agreement, expected_dice, predicted_iou }
    }

    /// Mean agreement of two masks: twice what all pairs share, as a part of their sizes.
    fn agreement(&self) -> f32 {
        // Of n masks that hold a pixel there are n (n - 1) / 2 pairs that share it. Sums of whole numbers are exact.
        let (mut shared, mut sizes) = (0u64, 0u64);
        for &n in within(self.frame, &self.votes) {
            let n = u64::from(n);
            shared += n * n.saturating_sub(1);
            sizes += n;
        }
        match (sizes, self.samples as u64 - 1) {
            (0, _) | (_, 0) => 1.0,
            (sizes, others) => shared as f32 / (sizes * others) as f32,
        }
    }
}

/// An object's mask, and how sure it is.
#[derive(Clone, Debug)]
pub struct Uncertain {
    logits: Vec<f32>,
    frame: Frame,
    agreement: f32,
    expected_dice: f32,
    predicted_iou: f32,
}

impl Uncertain {
    /// The mean probabilities on the model's grid, as logits: `ln(p / (1 - p))`. Masks of the image's size are made from
    /// them, of the pixels whose mean probability is above one half.
    pub fn logits(&self) -> MaskLogits<'_> {
        MaskLogits::new(&self.logits, self.frame)
    }

    /// How sure the mask is, 0 to 1: two thirds of [`expected_dice`](Self::expected_dice) and a third of
    /// [`predicted_iou`](Self::predicted_iou), which on images of the network's training followed the true Dice similarity
    /// coefficient better than either, or with [`agreement`](Self::agreement). An empty mask has 0.
    pub fn score(&self) -> f32 {
        if self.expected_dice > 0.0 {
            ((2.0 * self.expected_dice + self.predicted_iou) / 3.0).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    /// How well the masks of the boxes agree, 0 to 1: the Dice similarity coefficient of two of them, in the mean of all
    /// pairs. It is 1 if they are equal, or there is one box.
    pub const fn agreement(&self) -> f32 {
        self.agreement
    }

    /// The Dice similarity coefficient that the mask would have if its probabilities were true, 0 to 1: with `p` summed
    /// within the mask and over the image, `2 p_mask / (area + p_image)`. An empty mask has 0.
    pub const fn expected_dice(&self) -> f32 {
        self.expected_dice
    }

    /// The mean of the boxes' predicted IoU.
    pub const fn predicted_iou(&self) -> f32 {
        self.predicted_iou
    }

    /// The mask of the mean, (height,width) of the image, one byte a pixel: 1 for the object, 0 elsewhere.
    pub fn mask(&self) -> Vec<u8> {
        let mut mask = vec![0; self.frame.pixels()];
        self.logits().paint(1, &mut mask);
        mask
    }

    /// Number of the image's pixels that belong to the object.
    pub fn area(&self) -> usize {
        self.logits().area()
    }

    /// Fills `map` with the mean probability of each pixel of the image, 0 to 1.
    ///
    /// # Panics
    /// If `map` is not of the image's size.
    pub fn probabilities_into(&self, map: &mut [f32]) {
        self.logits().resize_into(map);
        map.iter_mut().for_each(|value| *value = probabilities(*value)[0]);
    }

    /// Fills `map` with the entropy of each pixel's mean probability, in bits: 0 where it is sure, 1 where object and
    /// background are as likely.
    ///
    /// # Panics
    /// If `map` is not of the image's size.
    pub fn entropy_into(&self, map: &mut [f32]) {
        self.logits().resize_into(map);
        map.iter_mut().for_each(|value| *value = entropy(*value));
    }
}

fn expected_dice(logits: MaskLogits<'_>) -> f32 {
    let (mut inside, mut all, mut area) = (0.0f64, 0.0f64, 0.0f64);
    for &logit in within(logits.frame(), logits.values()) {
        let p = f64::from(probabilities(logit)[0]);
        all += p;
        if logit > 0.0 {
            inside += p;
            area += 1.0;
        }
    }
    if area > 0.0 { (2.0 * inside / (area + all)) as f32 } else { 0.0 }
}

/// The values of the grid that the image covers.
fn within<T>(frame: Frame, grid: &[T]) -> impl Iterator<Item = &T> {
    grid.chunks_exact(MODEL_SIDE).take(frame.scaled_height()).flat_map(move |row| &row[..frame.scaled_width()])
}

/// Probabilities of object and background of a logit.
fn probabilities(logit: f32) -> [f32; 2] {
    let less = libm::expf(-logit.abs().min(SATURATED));
    let (likely, unlikely) = (1.0 / (1.0 + less), less / (1.0 + less));
    if logit > 0.0 { [likely, unlikely] } else { [unlikely, likely] }
}

/// Entropy of a probability in bits, from its logit.
fn entropy(logit: f32) -> f32 {
    // -p ln p - q ln q with ln(p / q) = z > 0 is ln(1 + e^-z) + q z.
    let z = logit.abs().min(SATURATED);
    let less = libm::expf(-z);
    (libm::log1pf(less) + z * less / (1.0 + less)) * core::f32::consts::LOG2_E
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ensemble(samples: &[&[f32]], frame: Frame, temperature: f32) -> Uncertain {
        let options = UncertaintyOptions::new().with_temperature(temperature);
        let mut ensemble = Ensemble::new(frame, &options).unwrap();
        for (logits, iou) in samples.iter().zip([0.5, 0.75, 0.25, 0.5].into_iter().cycle()) {
            ensemble.add(&MaskLogits::new(logits, frame), iou);
        }
        ensemble.mean()
    }

    /// A logit in the first `columns`, and another in the rest.
    fn halves(columns: usize, [inside, outside]: [f32; 2]) -> Vec<f32> {
        (0..LOGITS_LEN).map(|i| if i % MODEL_SIDE < columns { inside } else { outside }).collect()
    }

    #[test]
    fn equal_boxes_say_what_one_says() {
        // Slopes that interpolation has to follow, and logits beyond what f32 can tell from 1.
        let logits: Vec<f32> = (0..LOGITS_LEN).map(|i| 40.0 - (i % MODEL_SIDE) as f32 * 0.37).collect();
        let frame = Frame::new(700, 500).unwrap();
        let single = MaskLogits::new(&logits, frame);
        let mut mask = vec![0u8; frame.pixels()];
        single.mask_into(&mut mask);
        for samples in [1, 4, 64] {
            let found = ensemble(&vec![&logits[..]; samples], frame, 1.0);
            assert!(found.mask() == mask && found.area() == single.area());
            assert_eq!(found.agreement(), 1.0);
            let mut map = vec![0.0; frame.pixels()];
            let mut given = map.clone();
            single.resize_into(&mut given);
            found.entropy_into(&mut map);
            for (found, z) in map.iter().zip(&given) {
                let p = 1.0 / (1.0 + f64::from(-z).exp());
                let expected = if p == 1.0 { 0.0 } else { -p * p.log2() - (1.0 - p) * (1.0 - p).log2() };
                assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} at {z}");
            }
        }
    }

    #[test]
    fn two_masks_that_differ_are_averaged() {
        // Probabilities of 3/4 in 64 columns and 1/4 beyond; and of 3/4 in 128.
        let z = 3f32.ln();
        let (narrow, wide) = (halves(64, [z, -z]), halves(128, [z, -z]));
        let found = ensemble(&[&narrow, &wide], Frame::MODEL, 1.0);
        let mut map = vec![0.0; LOGITS_LEN];
        found.probabilities_into(&mut map);
        for (x, expected) in [(0, 0.75), (63, 0.75), (64, 0.5), (127, 0.5), (128, 0.25), (255, 0.25)] {
            assert!((map[x] - expected).abs() < 1e-6, "{x}: {}", map[x]);
        }
        found.entropy_into(&mut map);
        assert!((map[0] - 0.811_278).abs() < 1e-6 && (map[100] - 1.0).abs() < 1e-6);
        assert_eq!((found.area(), found.predicted_iou()), (64 * 256, 0.625));
        // A Dice of 2 * 64 / (64 + 128).
        assert!((found.agreement() - 2.0 / 3.0).abs() < 1e-6);
        // Of 256 columns 64 are in the mask with 3/4, and all hold 64 * 3/4 + 64 / 2 + 128 / 4.
        let dice = 2.0 * 48.0 / (64.0 + 112.0);
        assert!((found.expected_dice() - dice).abs() < 1e-6);
        assert!((found.score() - (2.0 * dice + 0.625) / 3.0).abs() < 1e-6);
        // Two of three pairs share half of their sizes, as it were.
        let three = ensemble(&[&narrow, &wide, &wide], Frame::MODEL, 1.0);
        assert!((three.agreement() - (64.0 * 6.0 + 64.0 * 2.0) / (2.0 * 320.0)).abs() < 1e-6);
    }

    #[test]
    #[cfg_attr(miri, ignore = "exponentials of whole maps, of safe code alone")]
    fn a_temperature_changes_probabilities_and_no_mask() {
        let logits = halves(10, [2.0, -3.0]);
        let (plain, warm) = (ensemble(&[&logits], Frame::MODEL, 1.0), ensemble(&[&logits], Frame::MODEL, 2.0));
        assert!(plain.mask() == warm.mask() && warm.score() < plain.score());
        let mut map = vec![0.0; LOGITS_LEN];
        warm.probabilities_into(&mut map);
        assert!((map[0] - 1.0 / (1.0 + (-1f32).exp())).abs() < 1e-6, "{}", map[0]);
    }

    #[test]
    fn nothing_beside_the_image_counts_and_nothing_found_has_a_score_of_0() {
        // The image covers the upper half; below it the boxes differ.
        let frame = Frame::new(512, 256).unwrap();
        let part =
            |rest: f32| -> Vec<f32> { (0..LOGITS_LEN).map(|i| if i < LOGITS_LEN / 2 { 90.0 } else { rest }).collect() };
        let found = ensemble(&[&part(90.0), &part(-90.0)], frame, 1.0);
        assert_eq!((found.agreement(), found.expected_dice(), found.area()), (1.0, 1.0, 512 * 256));
        let empty = ensemble(&[&halves(0, [0.0, -1.0]), &halves(0, [0.0, -200.0])], frame, 1.0);
        assert_eq!((empty.agreement(), empty.score(), empty.area()), (1.0, 0.0, 0));
        assert!(empty.logits().is_finite());
    }
}
