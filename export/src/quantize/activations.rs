//! What rounding activations costs, by where the range of their steps comes from.

use ndarray::Array2;

use super::samples::{Samples, Steps};

/// Where the range comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ranges {
    /// Measured when the network runs: each token's own, or each image's where a product runs over many tokens.
    Dynamic,
    /// One for all images, found by calibration: least and greatest value seen.
    StaticMinMax,
    /// One for all images: all but this share of the values, which are cut off at the ends.
    StaticPercentile(f64),
    /// One for all images: that of the least squared error of the activations.
    StaticMse,
}

impl Samples {
    /// The rows after rounding to 256 steps of such ranges.
    pub(super) fn rounded_by(&self, ranges: Ranges) -> Array2<f32> {
        self.range(ranges).map_or_else(|| self.rounded(), |range| self.rows.mapv(Steps::new(range).round()))
    }

    /// The one range for all images; nothing if there is more than one, or if nothing is rounded.
    pub(super) fn range(&self, ranges: Ranges) -> Option<[f32; 2]> {
        if self.ranges.iter().all(Option::is_none) {
            return None;
        }
        Some(match ranges {
            Ranges::Dynamic => return None,
            Ranges::StaticMinMax => self.cut(0.0),
            Ranges::StaticPercentile(share) => self.cut(share),
            Ranges::StaticMse => {
                let [least, greatest] = self.cut(0.0);
                let tried = (0..20).map(|i| 1.0 - 0.045 * i as f32).map(|s| [s * least, s * greatest]);
                let error = |range: [f32; 2]| -> f64 {
                    let round = Steps::new(range).round();
                    self.rows.iter().map(|&v| f64::from(v - round(v)).powi(2)).sum()
                };
                let errors = tried.map(|range| (error(range), range));
                errors.min_by(|a, b| a.0.total_cmp(&b.0)).map_or([least, greatest], |(_, range)| range)
            }
        })
    }

    /// The range of all values but a share of them, half of it at each end; 0 is always within.
    fn cut(&self, share: f64) -> [f32; 2] {
        let mut sorted: Vec<f32> = self.rows.iter().copied().collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let off = (sorted.len() as f64 * share / 2.0) as usize;
        let at = |i: usize| sorted.get(i).copied().unwrap_or(0.0);
        [at(off).min(0.0), at(sorted.len().saturating_sub(off + 1)).max(0.0)]
    }
}
