//! Other exposures of a picture.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::case::Picture;

/// A change of intensities: gamma, then contrast around the middle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tone {
    /// Exponent of the intensity in 0..1.
    pub gamma: f64,
    /// Factor of the distance to 0.5.
    pub contrast: f64,
}

impl Tone {
    /// Gamma and contrast as likely halved as doubled: `exp` of at most `strength` either way, contrast half as much.
    pub fn random(rng: &mut ChaCha8Rng, strength: f64) -> Self {
        let mut factor = |most: f64| rng.random_range(-most..=most).exp();
        Self { gamma: factor(strength), contrast: factor(strength / 2.0) }
    }

    /// Changes a picture.
    pub fn apply(&self, picture: &mut Picture) {
        let table: Vec<u8> = (0..=255u8).map(|v| self.value(v)).collect();
        picture.pixels.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
    }

    fn value(&self, v: u8) -> u8 {
        let v = (f64::from(v) / 255.0).powf(self.gamma);
        // Saturates at 0 and 255.
        (((v - 0.5) * self.contrast + 0.5) * 255.0).round() as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tones_rise_and_keep_to_their_range() {
        let mut rng = crate::data::named_random(1, "tones");
        for _ in 0..50 {
            let tone = Tone::random(&mut rng, 0.4);
            assert!((0.67..1.5).contains(&tone.gamma) && (0.81..1.23).contains(&tone.contrast), "{tone:?}");
            assert!((0..255).all(|v| tone.value(v) <= tone.value(v + 1)));
        }
        let none = Tone { gamma: 1.0, contrast: 1.0 };
        assert!((0..=255).all(|v| none.value(v) == v));
        assert_eq!(Tone { gamma: 2.0, contrast: 1.0 }.value(128), 64);
    }
}
