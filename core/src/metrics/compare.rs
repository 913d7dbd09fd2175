//! Whether one model is better than another on the same cases: paired differences with bootstrap intervals.

use std::collections::BTreeMap;
use std::fmt;
use std::prelude::v1::*;

use super::{CaseScore, group, mean};

/// Bootstrap samples of a comparison.
pub const RESAMPLES: usize = 10_000;

/// A mean difference and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Difference {
    /// The mean.
    pub mean: f64,
    /// Percentile 2.5 of the bootstrap's means.
    pub low: f64,
    /// Percentile 97.5.
    pub high: f64,
}

/// Differences in a modality.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RowDifference {
    /// The modality, as in [`Row`](super::Row); "mean" in the last row.
    pub modality: String,
    /// `2D` or `3D`; empty in the last row.
    pub dimensions: String,
    /// Cases that both have scored.
    pub cases: usize,
    /// Dice similarity coefficient; nothing where no case has one.
    pub dsc: Option<Difference>,
    /// NSD of the true boundary.
    pub nsd: Option<Difference>,
}

/// Differences `other - base` by modality; the last row is their mean, in which every row counts the same.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Comparison {
    /// The rows.
    pub rows: Vec<RowDifference>,
    /// The case whose DSC fell most, and by how much it changed.
    pub worst: Option<(String, f64)>,
}

impl Comparison {
    /// Compares scores of the same cases, by name; cases that only one of the two has are left out. Several scores of
    /// one case (of runs with other seeds) count as their mean.
    ///
    /// Cases are drawn with replacement within their modality, [`RESAMPLES`] times, always the same for one `seed`: the
    /// interval is of other cases of these modalities, not of other modalities.
    pub fn new(base: &[CaseScore], other: &[CaseScore], seed: u64) -> Self {
        let (base, other) = (by_case(base), by_case(other));
        let mut groups: BTreeMap<(&str, &str), Vec<[Option<f64>; 2]>> = BTreeMap::new();
        let mut worst: Option<(String, f64)> = None;
        for (case, before) in &base {
            let Some(after) = other.get(case) else { continue };
            let change: [Option<f64>; 2] = core::array::from_fn(|i| Some(after[i]? - before[i]?));
            if let Some(dsc) = change[0].filter(|&d| worst.as_ref().is_none_or(|(_, w)| d < *w)) {
                worst = Some(((*case).into(), dsc));
            }
            groups.entry(group(case)).or_default().push(change);
        }
        let mut random = SplitMix(seed);
        let mut rows = Vec::with_capacity(groups.len() + 1);
        let mut sums = [vec![0.0; RESAMPLES], vec![0.0; RESAMPLES]];
        let mut counts = [0usize; 2];
        for ((modality, dimensions), changes) in &groups {
            let mut differences = [None; 2];
            for (measure, difference) in differences.iter_mut().enumerate() {
                let values: Vec<f64> = changes.iter().filter_map(|c| c[measure]).collect();
                if values.is_empty() {
                    continue;
                }
                counts[measure] += 1;
                let mut means = resample(&values, &mut random);
                sums[measure].iter_mut().zip(&means).for_each(|(sum, m)| *sum += m);
                *difference = interval(mean(values.iter().copied().map(Some)), &mut means);
            }
            let [dsc, nsd] = differences;
            let (modality, dimensions) = ((*modality).into(), (*dimensions).into());
            rows.push(RowDifference { modality, dimensions, cases: changes.len(), dsc, nsd });
        }
        let cases = rows.iter().map(|r| r.cases).sum();
        for (sums, count) in sums.iter_mut().zip(counts) {
            sums.iter_mut().for_each(|s| *s /= count.max(1) as f64);
        }
        let [dsc, nsd] = sums;
        let total = |of: fn(&RowDifference) -> Option<Difference>, mut means: Vec<f64>| {
            interval(mean(rows.iter().map(|r| Some(of(r)?.mean))), &mut means)
        };
        let (dsc, nsd) = (total(|r| r.dsc, dsc), total(|r| r.nsd, nsd));
        rows.push(RowDifference { modality: "mean".into(), dimensions: String::new(), cases, dsc, nsd });
        Self { rows, worst }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = |d: Option<Difference>| {
            d.map_or("-".into(), |d| format!("{:+.2} [{:+.2}, {:+.2}]", 100.0 * d.mean, 100.0 * d.low, 100.0 * d.high))
        };
        writeln!(f, "{:<13} {:<2} {:>5} {:>24} {:>24}", "modality", "", "cases", "DSC", "NSD")?;
        for r in &self.rows {
            let (dsc, nsd) = (points(r.dsc), points(r.nsd));
            writeln!(f, "{:<13} {:<2} {:>5} {dsc:>24} {nsd:>24}", r.modality, r.dimensions, r.cases)?;
        }
        if let Some((case, change)) = &self.worst {
            writeln!(f, "lowest change of a case's DSC: {:+.2} ({case})", 100.0 * change)?;
        }
        write!(f, "points of 100, with 95 % intervals over other cases of these modalities (paired bootstrap)")
    }
}

/// DSC and NSD of each case, means over its scores.
fn by_case(scores: &[CaseScore]) -> BTreeMap<&str, [Option<f64>; 2]> {
    let mut all: BTreeMap<&str, Vec<&CaseScore>> = BTreeMap::new();
    for score in scores {
        all.entry(&score.case).or_default().push(score);
    }
    let means = |scores: Vec<&CaseScore>| [mean(scores.iter().map(|s| s.dsc)), mean(scores.iter().map(|s| s.nsd))];
    all.into_iter().map(|(case, scores)| (case, means(scores))).collect()
}

/// Means of [`RESAMPLES`] draws with replacement from values, of which there is one at least.
fn resample(values: &[f64], random: &mut SplitMix) -> Vec<f64> {
    let count = values.len();
    let draw = |random: &mut SplitMix| values[random.below(count)];
    (0..RESAMPLES).map(|_| (0..count).map(|_| draw(random)).sum::<f64>() / count as f64).collect()
}

fn interval(mean: Option<f64>, means: &mut [f64]) -> Option<Difference> {
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((means.len() - 1) as f64 * share) as usize];
    mean.map(|mean| Difference { mean, low: at(0.025), high: at(0.975) })
}

/// SplitMix64 (Steele et al. 2014): enough for a bootstrap, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
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

    fn score(case: &str, dsc: f64) -> CaseScore {
        CaseScore { case: case.into(), labels: 1, dsc: Some(dsc), nsd_upstream: None, nsd: None }
    }

    #[test]
    fn a_constant_gain_has_no_spread_and_rows_count_alike() {
        let base: Vec<_> = (0..9).map(|i| score(&format!("2DBox_US_{i}"), 0.1 * f64::from(i))).collect();
        let mut other: Vec<_> = base.iter().map(|s| score(&s.case, s.dsc.unwrap() + 0.05)).collect();
        other.push(score("2DBox_US_99", 1.0));
        let found = Comparison::new(&base, &other, 1);
        let dsc = found.rows[0].dsc.unwrap();
        assert_eq!(found.rows[0].cases, 9);
        assert!((dsc.mean - 0.05).abs() < 1e-12 && (dsc.low - 0.05).abs() < 1e-12 && (dsc.high - 0.05).abs() < 1e-12);
        assert_eq!(found.rows[0].nsd, None);

        let mut base = base;
        base.push(score("3DBox_CT_1", 0.5));
        other.push(score("3DBox_CT_1", 0.2));
        let found = Comparison::new(&base, &other, 1);
        let last = found.rows.last().unwrap();
        assert!((last.dsc.unwrap().mean + 0.125).abs() < 1e-12 && last.cases == 10);
        let (worst, change) = found.worst.clone().unwrap();
        assert!(worst == "3DBox_CT_1" && (change + 0.3).abs() < 1e-12);
        assert_eq!(found, Comparison::new(&base, &other, 1));

        // A row without a score counts neither in the mean nor in its interval.
        base.push(CaseScore { dsc: None, ..score("2DBox_PET_1", 0.0) });
        other.push(score("2DBox_PET_1", 0.9));
        let dsc = Comparison::new(&base, &other, 1).rows.last().unwrap().dsc.unwrap();
        assert!((dsc.mean + 0.125).abs() < 1e-12 && (dsc.low + 0.125).abs() < 1e-12, "{dsc:?}");
    }

    /// Of a mean of n values, +-1 with equal chance, the standard error is 1 / sqrt(n).
    #[test]
    fn intervals_are_as_wide_as_theory_has_them() {
        let case = |i: i32| format!("2DBox_CT_{i}");
        let base: Vec<_> = (0..100).map(|i| score(&case(i), 0.0)).collect();
        let other: Vec<_> = (0..100).map(|i| score(&case(i), f64::from(2 * (i % 2) - 1))).collect();
        let dsc = Comparison::new(&base, &other, 7).rows[0].dsc.unwrap();
        assert!((dsc.high - 0.196).abs() < 0.02 && (dsc.low + 0.196).abs() < 0.02, "{dsc:?}");
    }

    #[test]
    fn seeds_of_a_case_count_as_their_mean() {
        let base = [score("2DBox_CT_1", 0.5)];
        let other = [score("2DBox_CT_1", 0.5), score("2DBox_CT_1", 0.7)];
        let found = Comparison::new(&base, &other, 0);
        assert!((found.rows[0].dsc.unwrap().mean - 0.1).abs() < 1e-12 && found.rows[0].cases == 1);
        assert!(Comparison::new(&[], &other, 0).rows[0].dsc.is_none());
    }
}
