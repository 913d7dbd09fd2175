//! Whether the probabilities of pixels are true.

/// Logits are counted in bins of this width, far finer than what is asked of them.
const WIDTH: f64 = 0.02;
const BINS: usize = 2000;

/// Bins of the expected calibration error.
const CALIBRATION_BINS: usize = 10;

/// How many pixels of each logit belong to the object, and how many do not.
#[derive(Clone, Debug)]
pub(crate) struct Pixels {
    counts: Vec<[u64; 2]>,
}

impl Default for Pixels {
    fn default() -> Self {
        Self { counts: vec![[0; 2]; BINS] }
    }
}

impl Pixels {
    pub(crate) fn add(&mut self, logit: f32, object: bool) {
        // Beyond -20 and 20 a probability is 0 or 1.
        let bin = (f64::from(logit) / WIDTH + BINS as f64 / 2.0).clamp(0.0, (BINS - 1) as f64);
        self.counts[bin as usize][usize::from(object)] += 1;
    }

    /// Middle of each bin, pixels of the background and of the object.
    fn bins(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let middle = |bin: usize| (bin as f64 + 0.5 - BINS as f64 / 2.0) * WIDTH;
        self.counts.iter().enumerate().map(move |(bin, &[out, object])| (middle(bin), out as f64, object as f64))
    }

    /// Mean negative logarithm of the truth's probability, if logits are divided by the temperature.
    fn loss(&self, temperature: f64) -> f64 {
        let (mut sum, mut all) = (0.0, 0.0);
        for (logit, out, object) in self.bins() {
            let z = logit / temperature;
            let softplus = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
            sum += out * softplus(z) + object * softplus(-z);
            all += out + object;
        }
        sum / all
    }

    /// The temperature under which the truth is likeliest, to a hundredth, 0.1 to 10.
    pub(crate) fn temperature(&self) -> f64 {
        let found = (10..=1000).map(|t| f64::from(t) / 100.0).min_by(|a, b| self.loss(*a).total_cmp(&self.loss(*b)));
        found.unwrap_or(1.0)
    }

    /// Expected calibration error of the probability, 0 to 1, if logits are divided by the temperature.
    pub(crate) fn error(&self, temperature: f64) -> f64 {
        let mut bins = [(0.0, 0.0); CALIBRATION_BINS];
        let mut all = 0.0;
        for (logit, out, object) in self.bins() {
            let p = 1.0 / (1.0 + (-logit / temperature).exp());
            let bin = &mut bins[((p * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1)];
            *bin = (bin.0 + p * (out + object), bin.1 + object);
            all += out + object;
        }
        bins.iter().map(|(said, true_)| (said - true_).abs()).sum::<f64>() / all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temperature_makes_probabilities_true() {
        // Logits of 4 and -4, of which 1 in 8 is wrong: ln 7 would be true.
        let mut pixels = Pixels::default();
        for i in 0..800 {
            pixels.add(4.0, i % 8 != 0);
            pixels.add(-4.0, i % 8 == 0);
        }
        let temperature = pixels.temperature();
        assert!((temperature - 4.0 / 7f64.ln()).abs() < 0.02, "{temperature}");
        let before = 1.0 / (1.0 + (-4f64).exp()) - 0.875;
        assert!((pixels.error(1.0) - before).abs() < 1e-3 && pixels.error(temperature) < 2e-3);
    }
}
