//! Calibration of the predicted IoU.

use std::fmt;
use std::prelude::v1::*;

/// Number of bins of the expected calibration error, which are of equal width.
const BINS: usize = 10;

/// How well predictions in 0..1 agree with the true values.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Calibration {
    /// Number of pairs of prediction and truth.
    pub count: usize,
    /// Pearson's correlation; `None` if predictions or true values do not vary.
    pub correlation: Option<f64>,
    /// Expected calibration error: the mean over ten bins of the prediction, weighted by their pairs, of the distance
    /// between mean prediction and mean truth.
    pub ece: f64,
    /// Mean of prediction minus truth; above 0 the predictions are overconfident.
    pub bias: f64,
    /// Slope and intercept of the straight line that fits the truth best by least squares: `slope * prediction +
    /// intercept`.
    pub line: (f64, f64),
}

impl Calibration {
    /// The calibration of these pairs of prediction and truth; `None` if there is no pair.
    pub fn new(pairs: &[(f64, f64)]) -> Option<Self> {
        let n = pairs.len() as f64;
        if pairs.is_empty() {
            return None;
        }
        let sum = |of: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|&(p, t)| of(p, t)).sum::<f64>() / n;
        let (p, t) = (sum(&|p, _| p), sum(&|_, t| t));
        let (pp, tt) = (sum(&|x, _| (x - p) * (x - p)), sum(&|_, y| (y - t) * (y - t)));
        let pt = sum(&|x, y| (x - p) * (y - t));
        let slope = if pp > 0.0 { pt / pp } else { 0.0 };
        let mut bins = [(0.0, 0.0); BINS];
        for &(prediction, truth) in pairs {
            // Beyond 0..1 the first and the last bin go on.
            let bin = &mut bins[((prediction * BINS as f64) as usize).min(BINS - 1)];
            *bin = (bin.0 + prediction, bin.1 + truth);
        }
        Some(Self {
            count: pairs.len(),
            correlation: (pp > 0.0 && tt > 0.0).then(|| pt / libm::sqrt(pp * tt)),
            ece: bins.iter().map(|(p, t)| (p - t).abs()).sum::<f64>() / n,
            bias: p - t,
            line: (slope, t - slope * p),
        })
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.correlation.map_or("-".into(), |r| format!("{r:.3}"));
        let (slope, intercept) = self.line;
        write!(
            f,
            "predicted IoU of {} objects: correlation with the true IoU {r}, expected calibration error {:.3}, bias \
             {:+.3}; nearest line {slope:.3} x {intercept:+.3}",
            self.count, self.ece, self.bias
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_predicts_itself_is_calibrated() {
        let pairs: Vec<(f64, f64)> = (0..=20).map(|i| (f64::from(i) / 20.0, f64::from(i) / 20.0)).collect();
        let found = Calibration::new(&pairs).unwrap();
        assert!((found.correlation.unwrap() - 1.0).abs() < 1e-12 && found.ece < 1e-12 && found.bias.abs() < 1e-12);
        assert!((found.line.0 - 1.0).abs() < 1e-12 && found.line.1.abs() < 1e-12);
        assert_eq!(Calibration::new(&[]), None);
    }

    #[test]
    fn errors_of_a_bin_cancel_and_bins_do_not() {
        // Two in one bin, off by 0.1 either way; one alone, off by 0.3.
        let found = Calibration::new(&[(0.52, 0.62), (0.58, 0.48), (0.95, 0.65)]).unwrap();
        assert!((found.ece - 0.1).abs() < 1e-12 && (found.bias - 0.1).abs() < 1e-12, "{found:?}");
        let line = Calibration::new(&[(0.0, 0.2), (1.0, 0.7)]).unwrap().line;
        assert!((line.0 - 0.5).abs() < 1e-12 && (line.1 - 0.2).abs() < 1e-12);
        assert_eq!(Calibration::new(&[(0.5, 0.5), (0.5, 0.7)]).unwrap().correlation, None);
    }
}
