//! What records add up to, and whether that is good enough: a pure function of the records.

use std::collections::BTreeMap;

use umedsam::metrics::{CaseScore, Comparison, Difference, Report, RowDifference, group, mean};
use umedsam::validation::{Agreement, MAX_TEXT, Measure, ValidationRow};

use super::record::{Object, Record, Scores};

/// DSC, 0 to 1, by which an object that collapsed has fallen at least.
pub const COLLAPSE: f64 = 0.2;

/// What rounding may add to a figure that meets its bound exactly.
const EPSILON: f64 = 1e-9;

/// What a model may lose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// DSC that the mean of the rows may lose, in points of 100; a row may lose twice as much.
    pub tolerance_points: f64,
    /// Share of the objects that may collapse, 0 to 1.
    pub collapse_rate: f64,
}

impl Default for Bounds {
    /// Half a point, and no object.
    fn default() -> Self {
        Self { tolerance_points: 0.5, collapse_rate: 0.0 }
    }
}

/// What records add up to.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The modalities, and last their mean.
    pub rows: Vec<ValidationRow>,
    /// Cases that the model failed to segment.
    pub failed: usize,
    /// Why the model is refused; empty if it passed.
    pub reasons: Vec<String>,
}

impl Judgement {
    /// Adds up `records`, of which each is of another case, and judges the sums by `bounds`. `seed` is the bootstrap's.
    ///
    /// DSC decides: the NSD is reported beside it. Nothing if there is no object to judge by and no failure either.
    pub fn new(records: &[Record], bounds: &Bounds, seed: u64) -> Option<Self> {
        let scored: Vec<&Record> = records.iter().filter(|r| r.failure.is_none()).collect();
        let failures: Vec<&Record> = records.iter().filter(|r| r.failure.is_some()).collect();
        let rows = rows(&scored, seed);
        let objects = rows.last().map_or(0, |row| row.objects);
        if objects == 0 && failures.is_empty() {
            return None;
        }
        let reasons = reasons(&rows, &failures, records.len(), bounds);
        Some(Self { rows, failed: failures.len(), reasons })
    }
}

fn rows(records: &[&Record], seed: u64) -> Vec<ValidationRow> {
    let scores = |of: fn(&Object) -> Scores| -> Vec<CaseScore> {
        records.iter().map(|r| case_score(&r.case, r.objects.iter().map(of))).collect()
    };
    let (reference, model) = (scores(|o| o.reference), scores(|o| o.model));
    let compared = Comparison::new(&reference, &model, seed);
    let (reference, model) = (Report::new(reference), Report::new(model));
    let mut objects: BTreeMap<(&str, &str), Vec<&Object>> = BTreeMap::new();
    for record in records {
        objects.entry(group(&record.case)).or_default().extend(&record.objects);
    }
    // All three are by modality, in its order, and have the mean for their last row.
    let mut rows: Vec<ValidationRow> = Vec::with_capacity(compared.rows.len());
    for ((difference, reference), model) in compared.rows.iter().zip(&reference.rows).zip(&model.rows) {
        let of_row = objects.get(&(difference.modality.as_str(), difference.dimensions.as_str()));
        let measure = |r, m, d| Measure { reference: round(r), model: round(m), difference: rounded(d) };
        let (objects, collapsed, agreement) = match of_row {
            Some(objects) => count(objects),
            None => sum(&rows),
        };
        let RowDifference { modality, dimensions, cases, dsc, nsd } = difference.clone();
        let dsc = measure(reference.dsc, model.dsc, dsc);
        let nsd = measure(reference.nsd, model.nsd, nsd);
        rows.push(ValidationRow { modality, dimensions, cases, objects, collapsed, dsc, nsd, agreement });
    }
    rows
}

fn case_score(case: &str, scores: impl Iterator<Item = Scores> + Clone) -> CaseScore {
    CaseScore {
        case: case.into(),
        labels: scores.clone().count(),
        dsc: mean(scores.clone().map(|s| s.dsc)),
        nsd_upstream: None,
        nsd: mean(scores.map(|s| s.nsd)),
    }
}

/// Objects, those of them that collapsed, and how far the masks agree.
type Counts = (usize, usize, Option<Agreement>);

fn count(objects: &[&Object]) -> Counts {
    let changes = objects.iter().filter_map(|o| o.change());
    let collapsed = changes.clone().filter(|change| *change < -COLLAPSE - EPSILON).count();
    let worst = objects.iter().filter_map(|o| o.agreement).reduce(f64::min);
    let agreement = mean(objects.iter().map(|o| o.agreement)).zip(worst);
    (changes.count(), collapsed, agreement.map(|(mean, worst)| Agreement { mean: digits(mean), worst: digits(worst) }))
}

fn sum(rows: &[ValidationRow]) -> Counts {
    let worst = rows.iter().filter_map(|r| Some(r.agreement?.worst)).reduce(f64::min);
    let agreement = mean(rows.iter().map(|r| Some(r.agreement?.mean))).zip(worst);
    (
        rows.iter().map(|r| r.objects).sum(),
        rows.iter().map(|r| r.collapsed).sum(),
        agreement.map(|(mean, worst)| Agreement { mean: digits(mean), worst }),
    )
}

/// Few digits: the summary lies in a manifest. Their error is a hundredth of what a reason shows.
fn digits(value: f64) -> f64 {
    (value * 1e7).round() / 1e7
}

fn round(value: Option<f64>) -> Option<f64> {
    value.map(digits)
}

fn rounded(difference: Option<Difference>) -> Option<Difference> {
    difference.map(|d| Difference { mean: digits(d.mean), low: digits(d.low), high: digits(d.high) })
}

fn reasons(rows: &[ValidationRow], failures: &[&Record], cases: usize, bounds: &Bounds) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(first) = failures.first() {
        let why = first.failure.as_deref().unwrap_or_default();
        reasons.push(format!("{} of {cases} cases failed, the first {}: {why}", failures.len(), first.case));
    }
    let Some((all, rows)) = rows.split_last() else { return reasons };
    let loss = |row: &ValidationRow| row.dsc.difference.map(|d| -100.0 * d.mean);
    let Bounds { tolerance_points, collapse_rate } = *bounds;
    if let Some(loss) = loss(all).filter(|&loss| loss > tolerance_points + EPSILON) {
        reasons.push(format!("the mean of the rows loses {loss:.3} points of DSC; {tolerance_points} are allowed"));
    }
    let allowed = 2.0 * tolerance_points;
    for row in rows {
        if let Some(loss) = loss(row).filter(|&loss| loss > allowed + EPSILON) {
            let (modality, dimensions) = (&row.modality, &row.dimensions);
            let lost = format!("{modality} {dimensions} loses {loss:.3} points of DSC");
            reasons.push(format!("{lost}; a row is allowed {allowed}, twice the tolerance"));
        }
    }
    if all.collapsed as f64 > collapse_rate * all.objects as f64 + EPSILON {
        let share = 100.0 * all.collapsed as f64 / all.objects.max(1) as f64;
        reasons.push(format!(
            "{} of {} objects ({share:.2} %) collapsed, each by more than {} points of DSC; {} % are allowed",
            all.collapsed,
            all.objects,
            100.0 * COLLAPSE,
            100.0 * collapse_rate
        ));
    }
    reasons.iter_mut().for_each(shorten);
    reasons
}

/// Cuts a text that tells of foreign names to what a summary holds.
fn shorten(text: &mut String) {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT - '…'.len_utf8()));
        text.push('…');
    }
}
