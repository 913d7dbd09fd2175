//! Confidence intervals of a mean over cases, some of which are of the same patient.
//!
//! Patients are drawn with replacement, each with all of its cases (a cluster bootstrap). The draws of few patients
//! vary less than means of other patients do. They are therefore widened by `sqrt(k / (k - 1))`, which makes their
//! variance unbiased, and by the quotient of Student's t with `k - 1` degrees of freedom and the normal distribution's
//! percentile. Without this a nominal 95 % interval of five patients contains the true mean in 83 % of trials. (T.
//! Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69(4), 2015, section 4.)

use std::collections::BTreeMap;
use std::prelude::v1::*;

use super::{Difference, Interval};

/// Values of the cases of one row, by patient.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Sum and number of each patient's values.
    patients: Vec<(f64, usize)>,
}

/// A mean and how far from it the means of other patients may lie.
pub(super) struct Draws {
    pub(super) mean: f64,
    /// Deviations of the draws' means, with the spread of a mean over other patients; empty for one patient alone.
    deviations: Vec<f64>,
    freedom: f64,
}

impl Sample {
    /// The sample of these pairs of a patient's name and a value; `None` if there is no pair.
    pub(super) fn new<'a>(values: impl Iterator<Item = (&'a str, f64)>) -> Option<Self> {
        let mut patients: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        for (patient, value) in values {
            let (sum, count) = patients.entry(patient).or_default();
            *sum += value;
            *count += 1;
        }
        (!patients.is_empty()).then(|| Self { patients: patients.into_values().collect() })
    }

    pub(super) fn mean(&self) -> f64 {
        let (sum, count) = self.patients.iter().fold((0.0, 0), |(s, n), (sum, count)| (s + sum, n + count));
        sum / count as f64
    }

    /// Factor that widens the spread of `k` patients' draws to that of means of other patients.
    fn widening(&self) -> f64 {
        let k = self.patients.len() as f64;
        libm::sqrt(k / (k - 1.0))
    }

    /// Mean of as many patients as there are, drawn with replacement.
    fn drawn_mean(&self, random: &mut SplitMix) -> f64 {
        let (mut sum, mut count) = (0.0, 0);
        for _ in 0..self.patients.len() {
            let (s, n) = self.patients[random.below(self.patients.len())];
            sum += s;
            count += n;
        }
        sum / count as f64
    }

    pub(super) fn draws(&self, resamples: usize, random: &mut SplitMix) -> Draws {
        let mean = self.mean();
        let freedom = self.patients.len() as f64 - 1.0;
        let mut deviations = Vec::new();
        if self.patients.len() > 1 {
            let widening = self.widening();
            deviations.extend((0..resamples).map(|_| widening * (self.drawn_mean(random) - mean)));
        }
        Draws { mean, deviations, freedom }
    }

    /// As many other patients of the same spread, whose values have an expected mean of 0. There must be two patients.
    pub(super) fn others(&self, random: &mut SplitMix) -> Self {
        let (mean, widening) = (self.mean(), self.widening());
        let other = |_| {
            let (sum, count) = self.patients[random.below(self.patients.len())];
            (widening * (sum - mean * count as f64), count)
        };
        Self { patients: (0..self.patients.len()).map(other).collect() }
    }
}

impl Draws {
    /// The draws of the mean of rows of equal weight; `None` if there is no row. They have no spread if one of the rows
    /// has none, because the mean is then as unknown as that row.
    pub(super) fn mean_of(rows: &[Self]) -> Option<Self> {
        let count = rows.len() as f64;
        let resamples = rows.iter().map(|row| row.deviations.len()).min()?;
        let mean = rows.iter().map(|row| row.mean).sum::<f64>() / count;
        let sum = |i: usize| rows.iter().map(|row| row.deviations[i]).sum::<f64>() / count;
        let deviations = (0..resamples).map(sum).collect();
        // Welch and Satterthwaite: the degrees of freedom of a sum of variances.
        let (sum, squares) = rows
            .iter()
            .map(|row| (row.variance(), row.freedom))
            .fold((0.0, 0.0), |(s, q), (v, f)| (s + v, q + v * v / f));
        let freedom = if squares > 0.0 { sum * sum / squares } else { 1.0 };
        Some(Self { mean, deviations, freedom })
    }

    fn variance(&self) -> f64 {
        self.deviations.iter().map(|d| d * d).sum::<f64>() / self.deviations.len().max(1) as f64
    }

    /// The mean and its 95 % interval, or the mean alone if there is no spread.
    pub(super) fn difference(&self) -> Difference {
        Difference { mean: self.mean, interval: self.interval() }
    }

    fn interval(&self) -> Option<Interval> {
        let last = self.deviations.len().checked_sub(1)?;
        let mut sorted = self.deviations.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let factor = student(self.freedom) / NORMAL;
        let at = |share: f64| self.mean + factor * sorted[(last as f64 * share) as usize];
        Some(Interval { low: at(0.025), high: at(0.975) })
    }
}

/// Percentile 97.5 of the normal distribution.
const NORMAL: f64 = 1.959_963_984_540_054;

/// Percentile 97.5 of Student's t: the expansion by 1 / freedom (Abramowitz and Stegun 26.7.5), its last term chosen to
/// be right for one degree; within 0.3 % everywhere.
fn student(freedom: f64) -> f64 {
    let x = 1.0 / freedom;
    [1.4055, 1.5895, 2.5559, 2.8225, 2.3723, NORMAL].iter().fold(0.0, |sum, term| sum * x + term)
}

/// SplitMix64 (Steele et al. 2014): enough for a bootstrap, and the same everywhere.
pub(super) struct SplitMix(u64);

impl SplitMix {
    /// The stream of this name. Each row has its own, so that its draws do not depend on other rows.
    pub(super) fn named(seed: u64, name: &[&str]) -> Self {
        // FNV-1a, 64 bits.
        let bytes = name.iter().flat_map(|part| part.bytes().chain([0xff]));
        let digest = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |d, b| (d ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        Self(seed ^ digest)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to below `count`, which is above 0.
    fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_percentiles_are_those_of_tables() {
        for (freedom, expected) in
            [(1.0, 12.706), (2.0, 4.303), (3.0, 3.182), (4.0, 2.776), (8.0, 2.306), (30.0, 2.042)]
        {
            assert!((student(freedom) / expected - 1.0).abs() < 0.003, "{freedom}: {}", student(freedom));
        }
    }

    /// Normally distributed, by the central limit theorem.
    fn normal(random: &mut SplitMix) -> f64 {
        (0..12).map(|_| random.next() as f64 / u64::MAX as f64).sum::<f64>() - 6.0
    }

    /// Patients differ by 1, their cases by 0.5 more. Who takes each case for a patient is right in half of the trials.
    #[test]
    fn an_interval_holds_the_truth_as_often_as_it_says() {
        let random = &mut SplitMix(3);
        for (patients, cases) in [(5, 1), (6, 6), (20, 2)] {
            let names: Vec<String> = (0..patients).map(|p| p.to_string()).collect();
            let mut held = 0;
            for _ in 0..1000 {
                let mut values = Vec::new();
                for name in &names {
                    let own = normal(random);
                    values.extend((0..cases).map(|_| (name.as_str(), own + 0.5 * normal(random))));
                }
                let sample = Sample::new(values.into_iter()).unwrap();
                let Interval { low, high } = sample.draws(400, random).interval().unwrap();
                held += usize::from(low < 0.0 && 0.0 < high);
            }
            assert!((930..=975).contains(&held), "{patients} patients of {cases}: {held} of 1000");
        }
    }

    #[test]
    fn the_mean_of_rows_has_the_spread_of_both() {
        let random = &mut SplitMix(4);
        let row = |n: usize, spread: f64| {
            let names: Vec<String> = (0..n).map(|i| i.to_string()).collect();
            let value = |i: usize| if i.is_multiple_of(2) { spread } else { -spread };
            Sample::new(names.iter().enumerate().map(|(i, name)| (name.as_str(), value(i)))).unwrap()
        };
        let draws = [row(100, 3.0).draws(10_000, random), row(64, 3.2).draws(10_000, random)];
        let Interval { low, high } = Draws::mean_of(&draws).unwrap().interval().unwrap();
        // Standard errors 0.3 and 0.4, together 0.5, of the mean of two 0.25.
        assert!((high - 0.49).abs() < 0.02 && (low + 0.49).abs() < 0.02, "{low} {high}");
        let alone = [row(100, 3.0).draws(100, random), row(1, 3.0).draws(100, random)];
        assert_eq!(Draws::mean_of(&alone).unwrap().interval(), None);
        assert!(Draws::mean_of(&[]).is_none());
    }
}
