//! Comparing two models on the same cases: paired differences with bootstrap intervals.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::prelude::v1::*;

use super::bootstrap::{Draws, Sample, SplitMix};
use super::{CaseScore, group, mean, patient, source};

/// Number of bootstrap samples of a comparison.
pub const RESAMPLES: usize = 10_000;

/// A mean difference with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The mean difference.
    pub mean: f64,
    /// The interval; `None` if there is one patient only.
    pub interval: Option<Interval>,
}

/// A 95 % confidence interval of a mean over other patients (see [`Comparison::new`]).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The differences in the cases of a modality.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RowDifference {
    /// The modality, as in [`Row`](super::Row), or [`source`]; "mean" in the last row.
    pub modality: String,
    /// `2D` or `3D`; empty in the last row.
    pub dimensions: String,
    /// Number of cases that have a score of both models.
    pub cases: usize,
    /// Number of these cases' patients, as far as the names tell ([`patient`]).
    pub patients: usize,
    /// Difference of the DSC; `None` if no case has one.
    pub dsc: Option<Difference>,
    /// Difference of the NSD of the boundary ([`Convention::Boundary`](super::Convention)); `None` if no case has one.
    pub nsd: Option<Difference>,
}

/// Differences `other - base` by modality; the last row is the mean of the rows, all of equal weight.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Comparison {
    /// One row for each modality and dimension, and their mean.
    pub rows: Vec<RowDifference>,
    /// The case whose DSC fell most, and the change of its DSC.
    pub worst: Option<(String, f64)>,
}

impl Comparison {
    /// Compares the scores of cases of the same name; cases that only one of the two has are left out. Several scores
    /// of one case, such as those of runs with different seeds, count as their mean.
    ///
    /// Patients are drawn with replacement within their modality, each with all of its cases, [`RESAMPLES`] times. The
    /// draws depend on `seed` alone. The interval holds for other patients of these modalities, not for other
    /// modalities. It is widened for few patients, so that it contains the true mean in 95 % of trials from five
    /// patients on. A row of one patient has no interval, nor has the mean of rows if one of them has none.
    pub fn new(base: &[CaseScore], other: &[CaseScore], seed: u64) -> Self {
        Self::of_rows(base, other, seed, group)
    }

    /// As [`new`](Self::new), with a row for each [`source`] instead of each modality.
    pub fn by_source(base: &[CaseScore], other: &[CaseScore], seed: u64) -> Self {
        Self::of_rows(base, other, seed, source)
    }

    fn of_rows(base: &[CaseScore], other: &[CaseScore], seed: u64, row: RowOf) -> Self {
        let (base, other) = (by_case(base), by_case(other));
        let changes = base.iter().filter_map(|(case, before)| Some((*case, change(*before, *other.get(case)?))));
        let worst = changes.clone().filter_map(|(case, [dsc, _])| Some((case, dsc?)));
        let worst = worst.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(case, dsc)| (case.into(), dsc));
        let mut rows = Vec::new();
        let mut draws: [Vec<Draws>; 2] = Default::default();
        for row in by_row(changes, row) {
            let mut differences = [None; 2];
            for (measure, sample) in row.samples.iter().enumerate() {
                let Some(sample) = sample else { continue };
                // The same patients for both measures.
                let drawn = sample.draws(RESAMPLES, &mut row.random(seed));
                differences[measure] = Some(drawn.difference());
                draws[measure].push(drawn);
            }
            let ([dsc, nsd], [modality, dimensions]) = (differences, row.name.map(Into::into));
            rows.push(RowDifference { modality, dimensions, cases: row.cases, patients: row.patients, dsc, nsd });
        }
        let cases = rows.iter().map(|r| r.cases).sum();
        let patients = rows.iter().map(|r| r.patients).sum();
        let [dsc, nsd] = draws.map(|rows| Some(Draws::mean_of(&rows)?.difference()));
        rows.push(RowDifference { modality: "mean".into(), dimensions: String::new(), cases, patients, dsc, nsd });
        Self { rows, worst }
    }
}

/// What changes from one model to the other in a case: DSC and NSD.
type Change = [Option<f64>; 2];

/// Changes of the cases of a row, each with its patient.
type OfRow<'a> = Vec<(&'a str, Change)>;

fn change(before: [Option<f64>; 2], after: [Option<f64>; 2]) -> Change {
    core::array::from_fn(|i| Some(after[i]? - before[i]?))
}

/// The changes of a row.
struct RowChanges<'a> {
    /// Modality and dimensions.
    name: [&'a str; 2],
    cases: usize,
    patients: usize,
    /// DSC and NSD.
    samples: [Option<Sample>; 2],
}

impl RowChanges<'_> {
    /// A stream for this row, whatever rows are beside it.
    fn random(&self, seed: u64) -> SplitMix {
        SplitMix::named(seed, &self.name)
    }
}

/// The row of a case by its file name, and `2D` or `3D`.
type RowOf = fn(&str) -> (&str, &str);

fn by_row<'a>(changes: impl Iterator<Item = (&'a str, Change)>, of_case: RowOf) -> Vec<RowChanges<'a>> {
    let mut rows: BTreeMap<(&str, &str), OfRow<'_>> = BTreeMap::new();
    for (case, change) in changes {
        rows.entry(of_case(case)).or_default().push((patient(case), change));
    }
    let row = |((modality, dimensions), changes): ((&'a str, &'a str), OfRow<'_>)| {
        let of = |measure: usize| Sample::new(changes.iter().filter_map(|(name, c)| Some((*name, c[measure]?))));
        let patients: BTreeSet<&str> = changes.iter().map(|(name, _)| *name).collect();
        let name = [modality, dimensions];
        RowChanges { name, cases: changes.len(), patients: patients.len(), samples: [of(0), of(1)] }
    };
    rows.into_iter().map(row).collect()
}

/// Simulated comparisons of models that do not differ, on other patients: see [`Trials::new`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Trials {
    /// The trials of each row; in the last row, those of the mean of the rows.
    pub rows: Vec<RowTrials>,
}

/// Lower ends of the 95 % intervals of a row's differences, one for each trial.
#[derive(Clone, Debug, PartialEq)]
pub struct RowTrials {
    /// The modality; "mean" in the last row.
    pub modality: String,
    /// `2D` or `3D`; empty in the last row.
    pub dimensions: String,
    /// Lower ends for the DSC.
    pub dsc: Vec<f64>,
    /// Lower ends for the NSD.
    pub nsd: Vec<f64>,
}

impl Trials {
    /// Number of trials. A share of them has a standard error of at most 1.6 points.
    pub const COUNT: usize = 1000;

    /// Number of bootstrap samples of a trial.
    const RESAMPLES: usize = 400;

    /// Repeats the comparison of `base` and `other` on simulated patients, as many as there are in each row, whose
    /// differences vary as these do around a mean of 0. For a model that loses `x`, every lower end lies lower by `x`,
    /// so that one set of trials tells for every loss how often a bound would detect it.
    ///
    /// Rows of one patient are left out, because their spread is unknown.
    pub fn new(base: &[CaseScore], other: &[CaseScore], seed: u64) -> Self {
        let (base, other) = (by_case(base), by_case(other));
        let changes = base.iter().filter_map(|(case, before)| Some((*case, change(*before, *other.get(case)?))));
        let rows: Vec<RowChanges<'_>> = by_row(changes, group).into_iter().filter(|row| row.patients > 1).collect();
        let end = |draws: &Draws| draws.difference().interval.map_or(f64::NEG_INFINITY, |i| i.low);
        let named = |[modality, dimensions]: [&str; 2]| RowTrials {
            modality: modality.into(),
            dimensions: dimensions.into(),
            dsc: Vec::with_capacity(Self::COUNT),
            nsd: Vec::with_capacity(Self::COUNT),
        };
        let mut found: Vec<RowTrials> = rows.iter().map(|row| row.name).chain([["mean", ""]]).map(named).collect();
        for trial in 0..Self::COUNT {
            let mut all: [Vec<Draws>; 2] = Default::default();
            for (row, found) in rows.iter().zip(&mut found) {
                for (measure, ends) in [&mut found.dsc, &mut found.nsd].into_iter().enumerate() {
                    let Some(sample) = &row.samples[measure] else { continue };
                    // The same patients for both measures.
                    let mut random = row.random(seed.wrapping_add(1 + trial as u64));
                    let draws = sample.others(&mut random).draws(Self::RESAMPLES, &mut random);
                    ends.push(end(&draws));
                    all[measure].push(draws);
                }
            }
            let Some(mean) = found.last_mut() else { break };
            let [dsc, nsd] = all.map(|rows| Draws::mean_of(&rows).as_ref().map(end));
            mean.dsc.extend(dsc);
            mean.nsd.extend(nsd);
        }
        Self { rows: found }
    }
}

impl fmt::Display for Difference {
    /// In points of 100.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = 100.0 * self.mean;
        let text = match self.interval {
            Some(Interval { low, high }) => format!("{mean:+.2} [{:+.2}, {:+.2}]", 100.0 * low, 100.0 * high),
            None => format!("{mean:+.2} [no interval]"),
        };
        f.pad(&text)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = |d: Option<Difference>| d.map_or("-".into(), |d| d.to_string());
        let width = self.rows.iter().map(|r| r.modality.len()).max().unwrap_or(0).max(13);
        writeln!(f, "{:<width$} {:<2} {:>5} {:>8} {:>24} {:>24}", "", "", "cases", "patients", "DSC", "NSD")?;
        for r in &self.rows {
            let (dsc, nsd) = (points(r.dsc), points(r.nsd));
            let (modality, dimensions, cases, patients) = (&r.modality, &r.dimensions, r.cases, r.patients);
            writeln!(f, "{modality:<width$} {dimensions:<2} {cases:>5} {patients:>8} {dsc:>24} {nsd:>24}")?;
        }
        if let Some((case, change)) = &self.worst {
            writeln!(f, "lowest change of a case's DSC: {:+.2} ({case})", 100.0 * change)?;
        }
        write!(f, "points of 100, with 95 % intervals over other patients of these rows (paired bootstrap)")
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
        let Difference { mean, interval } = found.rows[0].dsc.unwrap();
        let Interval { low, high } = interval.unwrap();
        assert_eq!((found.rows[0].cases, found.rows[0].patients), (9, 9));
        assert!([mean, low, high].iter().all(|v| (v - 0.05).abs() < 1e-12));
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
        // One case tells nothing of others, and so does a mean over it.
        assert_eq!(found.rows[0].dsc.unwrap().interval, None);
        assert_eq!(last.dsc.unwrap().interval, None);
        assert!(found.to_string().contains("-30.00 [no interval]"), "{found}");

        // A row without a score counts neither in the mean nor in its interval.
        base.push(CaseScore { dsc: None, ..score("2DBox_PET_1", 0.0) });
        other.push(score("2DBox_PET_1", 0.9));
        base.push(score("3DBox_CT_2", 0.5));
        other.push(score("3DBox_CT_2", 0.2));
        let dsc = Comparison::new(&base, &other, 1).rows.last().unwrap().dsc.unwrap();
        assert!((dsc.mean + 0.125).abs() < 1e-12 && (dsc.interval.unwrap().low + 0.125).abs() < 1e-12, "{dsc:?}");
    }

    /// Of a mean of n values, +-1 with equal chance, the standard error is 1 / sqrt(n).
    #[test]
    fn intervals_are_as_wide_as_theory_has_them() {
        let case = |i: i32| format!("2DBox_CT_{i}");
        let base: Vec<_> = (0..100).map(|i| score(&case(i), 0.0)).collect();
        let other: Vec<_> = (0..100).map(|i| score(&case(i), f64::from(2 * (i % 2) - 1))).collect();
        let Interval { low, high } = Comparison::new(&base, &other, 7).rows[0].dsc.unwrap().interval.unwrap();
        assert!((high - 0.196).abs() < 0.02 && (low + 0.196).abs() < 0.02, "{low} {high}");
        // The same as ten slices of each of ten patients that change alike: a tenth as much is known.
        let slice = |i: i32| format!("2DBox_CT_X_{}-{i}", i / 10);
        let base: Vec<_> = (0..100).map(|i| score(&slice(i), 0.0)).collect();
        let other: Vec<_> = (0..100).map(|i| score(&slice(i), f64::from(2 * (i / 10 % 2) - 1))).collect();
        let row = &Comparison::new(&base, &other, 7).rows[0];
        let Interval { low, high } = row.dsc.unwrap().interval.unwrap();
        assert_eq!((row.cases, row.patients), (100, 10));
        let expected = 2.262 / 9.0f64.sqrt();
        assert!((high - expected).abs() < 0.1 && (low + expected).abs() < 0.1, "{low} {high} {expected}");
    }

    /// A loss as large as a bound stays above it in 2.5 % of the trials, a loss of nothing in most.
    #[test]
    fn trials_say_how_often_a_bound_finds_a_loss() {
        let case = |i: i32| format!("2DBox_CT_{i}");
        let base: Vec<_> = (0..20).map(|i| score(&case(i), 0.5)).collect();
        let other: Vec<_> = (0..20).map(|i| score(&case(i), 0.5 + 0.01 * f64::from(i % 5 - 2))).collect();
        let trials = Trials::new(&base, &other, 5);
        assert_eq!(trials.rows.len(), 2);
        let ends = &trials.rows[0].dsc;
        assert!(ends.len() == Trials::COUNT && trials.rows[0].nsd.is_empty());
        // Standard error 0.01 * sqrt(2 / 19).
        let above = |bound: f64, loss: f64| ends.iter().filter(|&&end| end - loss > -bound).count();
        assert!((5..60).contains(&above(0.01, 0.01)), "{}", above(0.01, 0.01));
        assert!(above(0.01, 0.0) > 750, "{}", above(0.01, 0.0));
        assert_eq!(trials, Trials::new(&base, &other, 5));
    }

    #[test]
    fn sources_are_rows_of_their_own() {
        let cases = ["2DBox_US_BUSI_1.npz", "2DBox_US_BUSI_2.npz", "2DBox_US_HC18_1.npz", "2DBox_CT_0001.npz"];
        let base: Vec<_> = cases.iter().map(|case| score(case, 0.5)).collect();
        let other: Vec<_> =
            cases.iter().zip([0.1, 0.1, 0.3, 0.4]).map(|(case, gain)| score(case, 0.5 + gain)).collect();
        let found = Comparison::by_source(&base, &other, 0);
        let rows: Vec<_> = found.rows.iter().map(|r| (r.modality.as_str(), r.cases)).collect();
        assert_eq!(rows, [("CT", 1), ("US_BUSI", 2), ("US_HC18", 1), ("mean", 4)]);
        assert!((found.rows[3].dsc.unwrap().mean - 0.8 / 3.0).abs() < 1e-12);
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
