//! What a confidence is worth: how good the masks are that are kept if the least sure ones are left to a person.

use std::prelude::v1::*;

/// Quality of the objects that are kept, from the surest alone to all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct RiskCoverage {
    /// Mean quality of the surest 1, 2, 3 and so on.
    means: Vec<f64>,
}

impl RiskCoverage {
    /// The curve of these pairs of confidence and quality (such as a DSC), 0 to 1; `None` if there is no pair or one is
    /// NaN. Objects of the same confidence count as each of them having their mean quality.
    pub fn new(pairs: &[(f64, f64)]) -> Option<Self> {
        if pairs.is_empty() || pairs.iter().any(|(confidence, quality)| confidence.is_nan() || quality.is_nan()) {
            return None;
        }
        let mut pairs = pairs.to_vec();
        pairs.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let (mut means, mut before) = (Vec::with_capacity(pairs.len()), 0.0);
        for equals in pairs.chunk_by(|(a, _), (b, _)| a == b) {
            let sum: f64 = equals.iter().map(|(_, quality)| quality).sum();
            for i in 1..=equals.len() {
                means.push((before + sum * i as f64 / equals.len() as f64) / (means.len() + 1) as f64);
            }
            before += sum;
        }
        Some(Self { means })
    }

    /// Area under the risk-coverage curve, where risk is 1 minus quality: the mean risk over all numbers of objects kept.
    /// Less is better.
    pub fn area(&self) -> f64 {
        1.0 - self.means.iter().sum::<f64>() / self.means.len() as f64
    }

    /// Mean quality of the surest objects that make up this share of all, 0 to 1, rounded to whole objects, at least one.
    pub fn quality(&self, coverage: f64) -> f64 {
        let count = libm::rint(coverage * self.means.len() as f64) as usize;
        self.means[count.clamp(1, self.means.len()) - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_are_kept() {
        let curve = RiskCoverage::new(&[(0.2, 0.1), (0.9, 1.0), (0.5, 0.7)]).unwrap();
        assert!((curve.quality(0.0) - 1.0).abs() < 1e-12 && (curve.quality(0.6) - 0.85).abs() < 1e-12);
        assert!((curve.quality(1.0) - 0.6).abs() < 1e-12);
        // Risks 0, 0.15 and 0.4.
        assert!((curve.area() - 0.55 / 3.0).abs() < 1e-12);
        // In either order the same.
        for qualities in [[1.0, 0.0], [0.0, 1.0]] {
            let curve = RiskCoverage::new(&qualities.map(|q| (0.5, q))).unwrap();
            assert_eq!((curve.quality(0.5), curve.area()), (0.5, 0.5));
        }
        assert_eq!(RiskCoverage::new(&[]), None);
        assert_eq!(RiskCoverage::new(&[(f64::NAN, 0.5)]), None);
    }
}
