//! What records add up to, and whether that is good enough: a pure function of the records.

use std::collections::BTreeMap;

use umedsam::metrics::{
    Calibration, CaseScore, Comparison, Difference, Interval, Report, RowDifference, RowTrials, Trials, group, mean,
};
pub use umedsam::validation::Bounds;
use umedsam::validation::{Agreement, MAX_TEXT, Measure, Pair, ValidationRow};

use super::record::{Object, Record, Scores};

/// DSC, 0 to 1, by which an object that collapsed has fallen at least, or by half of what it was.
pub const COLLAPSE: f64 = 0.2;

/// DSC, 0 to 1, below which an object was not found by the reference: it has nothing to lose.
pub const FOUND: f64 = 0.1;

/// Objects from which on the correlation of the predicted IoU is judged: of fewer it is known too badly.
pub const CORRELATED: usize = 100;

/// What rounding may add to a figure that meets its bound exactly.
const EPSILON: f64 = 1e-9;

/// Why records allow no verdict.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unjudged {
    /// No object at all.
    #[error("no object that both models have scored")]
    NoObjects,
    /// Too little to judge by.
    #[error("{judged} of {rows} rows have at least {patients} patients; a verdict needs {least} such rows")]
    TooFew {
        /// Rows with enough patients.
        judged: usize,
        /// Rows in all.
        rows: usize,
        /// Patients that a row needs ([`Bounds::least_patients`]).
        patients: usize,
        /// Rows that a verdict needs ([`Bounds::least_rows`]).
        least: usize,
    },
    /// A reference that finds nothing.
    #[error("{row}: the reference has a mean DSC of {dsc:.3}; below {least} there is nothing to lose")]
    Reference {
        /// Modality and dimensions.
        row: String,
        /// Its mean DSC, 0 to 1.
        dsc: f64,
        /// What is needed ([`Bounds::least_reference`]).
        least: f64,
    },
}

/// What records add up to.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The modalities, and last the mean of those that are judged.
    pub rows: Vec<ValidationRow>,
    /// Correlation of the predicted IoU with the true one, over all objects.
    pub iou_correlation: Pair,
    /// Cases that the model failed to segment.
    pub failed: usize,
    /// Why the model is refused; empty if it passed.
    pub reasons: Vec<String>,
}

impl Judgement {
    /// Adds up `records`, of which each is of another case, and judges the sums by `bounds`. `seed` is the bootstrap's.
    ///
    /// A case that the model failed to segment refuses it, whatever else there is.
    ///
    /// # Errors
    /// [`Unjudged`] if no case failed and the others are too few to tell, or the reference finds nothing in them.
    pub fn new(records: &[Record], bounds: &Bounds, seed: u64) -> Result<Self, Unjudged> {
        let scored: Vec<&Record> = records.iter().filter(|r| r.failure.is_none()).collect();
        let failures: Vec<&Record> = records.iter().filter(|r| r.failure.is_some()).collect();
        let rows = rows(&scored, bounds, seed);
        if failures.is_empty() {
            sufficient(&rows, bounds)?;
        }
        let iou_correlation = correlation(&scored);
        let reasons = reasons(&rows, &failures, records.len(), iou_correlation, bounds);
        Ok(Self { rows, iou_correlation, failed: failures.len(), reasons })
    }
}

/// Whether the rows, of which the last is the mean, are enough for a verdict.
fn sufficient(rows: &[ValidationRow], bounds: &Bounds) -> Result<(), Unjudged> {
    let Some((all, rows)) = rows.split_last().filter(|(all, _)| all.objects > 0) else {
        return Err(Unjudged::NoObjects);
    };
    debug_assert!(all.judged);
    let judged = rows.iter().filter(|row| row.judged).count();
    if judged < bounds.least_rows {
        let (patients, least) = (bounds.least_patients, bounds.least_rows);
        return Err(Unjudged::TooFew { judged, rows: rows.len(), patients, least });
    }
    let poor = |row: &&ValidationRow| row.judged && row.dsc.reference.is_none_or(|dsc| dsc < bounds.least_reference);
    match rows.iter().find(poor) {
        Some(row) => Err(Unjudged::Reference {
            row: name(row),
            dsc: row.dsc.reference.unwrap_or(0.0),
            least: bounds.least_reference,
        }),
        None => Ok(()),
    }
}

/// What a row is called.
pub(super) fn name(row: &ValidationRow) -> String {
    format!("{} {}", row.modality, row.dimensions).trim_end().to_owned()
}

type Row<'a> = (&'a str, &'a str);

fn rows(records: &[&Record], bounds: &Bounds, seed: u64) -> Vec<ValidationRow> {
    let (reference, model) = (scores(records, |o| o.reference), scores(records, |o| o.model));
    let compared = Comparison::new(&reference, &model, seed);
    let enough = |row: &RowDifference| row.patients >= bounds.least_patients && row.dsc.is_some();
    let judged: Vec<Row<'_>> = compared.rows.iter().filter(|row| enough(row)).map(row_of).collect();
    let of_judged = |scores: &[CaseScore]| -> Vec<CaseScore> {
        scores.iter().filter(|s| judged.contains(&group(&s.case))).cloned().collect()
    };
    let (judged_reference, judged_model) = (of_judged(&reference), of_judged(&model));
    let trials = Trials::new(&judged_reference, &judged_model, seed);
    let mean_row = Comparison::new(&judged_reference, &judged_model, seed).rows.pop();
    let (means, reports) = (
        [Report::new(judged_reference), Report::new(judged_model)],
        [Report::new(reference.clone()), Report::new(model.clone())],
    );

    let mut objects: BTreeMap<Row<'_>, Vec<&Object>> = BTreeMap::new();
    for record in records {
        objects.entry(group(&record.case)).or_default().extend(&record.objects);
    }
    let mut rows: Vec<ValidationRow> = Vec::with_capacity(compared.rows.len());
    // All are by modality, in its order, and have the mean for their last row.
    for (i, difference) in compared.rows.iter().enumerate() {
        let Some(objects) = objects.get(&row_of(difference)) else { continue };
        let judged = enough(difference);
        let [reference, model] = reports.each_ref().map(|report| &report.rows[i]);
        let RowDifference { modality, dimensions, cases, patients, dsc, nsd } = difference.clone();
        let counts = Counts::of(objects);
        let trials = trials.rows.iter().find(|t| (&*t.modality, &*t.dimensions) == (&*modality, &*dimensions));
        rows.push(ValidationRow {
            modality,
            dimensions,
            cases,
            patients,
            judged,
            objects: counts.objects,
            collapsed: counts.collapsed,
            dsc: measure(reference.dsc, model.dsc, dsc),
            nsd: measure(reference.nsd, model.nsd, nsd),
            agreement: counts.agreement,
            iou_bias: counts.bias,
            refused: trials.filter(|_| judged).map(|t| refused_by_row(t, bounds)),
        });
    }
    let [reference, model] = means.each_ref().map(|report| report.rows.last());
    if let (Some(mean_row), Some(reference), Some(model)) = (mean_row, reference, model) {
        let RowDifference { modality, dimensions, cases, patients, dsc, nsd } = mean_row;
        let judged = rows.iter().filter(|row| row.judged);
        let agreement = mean(judged.clone().map(|r| Some(r.agreement?.mean)));
        let worst = judged.clone().filter_map(|r| Some(r.agreement?.worst)).reduce(f64::min);
        let bias = |of: fn(&Pair) -> Option<f64>| round(mean(judged.clone().map(|r| of(&r.iou_bias))));
        rows.push(ValidationRow {
            modality,
            dimensions,
            cases,
            patients,
            judged: true,
            objects: rows.iter().map(|r| r.objects).sum(),
            collapsed: rows.iter().map(|r| r.collapsed).sum(),
            dsc: measure(reference.dsc, model.dsc, dsc),
            nsd: measure(reference.nsd, model.nsd, nsd),
            agreement: agreement.zip(worst).map(|(mean, worst)| Agreement { mean: digits(mean), worst }),
            iou_bias: Pair { reference: bias(|p| p.reference), model: bias(|p| p.model) },
            refused: refused_by_any(&trials, bounds),
        });
    }
    rows
}

fn row_of(row: &RowDifference) -> Row<'_> {
    (&row.modality, &row.dimensions)
}

fn scores(records: &[&Record], of: fn(&Object) -> Scores) -> Vec<CaseScore> {
    let score = |record: &&Record| {
        let scores = record.objects.iter().map(of);
        CaseScore {
            case: record.case.clone(),
            labels: record.objects.len(),
            dsc: mean(scores.clone().map(|s| s.dsc)),
            nsd_upstream: None,
            nsd: mean(scores.map(|s| s.nsd)),
        }
    };
    records.iter().map(score).collect()
}

fn measure(reference: Option<f64>, model: Option<f64>, difference: Option<Difference>) -> Measure {
    let interval = |i: Interval| Interval { low: digits(i.low), high: digits(i.high) };
    let difference = difference.map(|d| Difference { mean: digits(d.mean), interval: d.interval.map(interval) });
    Measure { reference: round(reference), model: round(model), difference }
}

/// What is counted over the objects of a row.
struct Counts {
    objects: usize,
    collapsed: usize,
    agreement: Option<Agreement>,
    bias: Pair,
}

impl Counts {
    fn of(objects: &[&Object]) -> Self {
        let worst = objects.iter().filter_map(|o| o.agreement).reduce(f64::min);
        let agreement = mean(objects.iter().map(|o| o.agreement)).zip(worst);
        let bias = |of: fn(&Object) -> Scores| Some(digits(calibration(objects.iter().copied(), of)?.bias));
        Self {
            objects: objects.iter().filter(|o| o.change().is_some()).count(),
            collapsed: objects.iter().filter(|o| collapsed(o)).count(),
            agreement: agreement.map(|(mean, worst)| Agreement { mean: digits(mean), worst: digits(worst) }),
            bias: Pair { reference: bias(|o| o.reference), model: bias(|o| o.model) },
        }
    }
}

/// Whether an object that the reference found is lost, or nearly so.
fn collapsed(object: &Object) -> bool {
    let (Some(reference), Some(model)) = (object.reference.dsc, object.model.dsc) else { return false };
    reference >= FOUND && reference - model > COLLAPSE.min(reference / 2.0) + EPSILON
}

/// The predicted IoU beside the true one, which the DSC tells.
fn calibration<'a>(objects: impl Iterator<Item = &'a Object>, of: fn(&Object) -> Scores) -> Option<Calibration> {
    let pair = |scores: Scores| scores.dsc.and_then(|dsc| Some((scores.predicted_iou?, dsc / (2.0 - dsc))));
    Calibration::new(&objects.filter_map(|object| pair(of(object))).collect::<Vec<_>>())
}

fn correlation(records: &[&Record]) -> Pair {
    let of = |of| calibration(records.iter().flat_map(|r| &r.objects), of)?.correlation;
    Pair { reference: round(of(|o: &Object| o.reference)), model: round(of(|o: &Object| o.model)) }
}

/// Shares of a bound that are tried.
const LOSSES: [f64; 3] = [0.0, 0.5, 1.0];

/// Whether the ends of a trial, of a model that loses this DSC, lie below their bounds.
fn below(trials: &RowTrials, trial: usize, loss: f64, [dsc, nsd]: [f64; 2]) -> bool {
    let end = |ends: &[f64]| ends.get(trial).copied().unwrap_or(0.0);
    end(&trials.dsc) - loss < -dsc || end(&trials.nsd) < -nsd
}

/// Bounds of DSC and NSD, 0 to 1: of the mean, and of a row.
fn limits(bounds: &Bounds) -> [[f64; 2]; 2] {
    let [dsc, nsd] = [false, true].map(|nsd| bounds.loss_points(nsd).map(|points| points / 100.0));
    [[dsc[0], nsd[0]], [dsc[1], nsd[1]]]
}

/// Shares of the trials in which a row alone refuses a model that loses a share of its bound.
fn refused_by_row(trials: &RowTrials, bounds: &Bounds) -> [f64; 3] {
    let [_, limit] = limits(bounds);
    LOSSES.map(|share| {
        let refused = (0..Trials::COUNT).filter(|&trial| below(trials, trial, share * limit[0], limit)).count();
        refused as f64 / Trials::COUNT as f64
    })
}

/// Shares of the trials in which a row or the mean refuses a model that loses a share of the mean's bound in every row.
fn refused_by_any(trials: &Trials, bounds: &Bounds) -> Option<[f64; 3]> {
    let (mean, rows) = trials.rows.split_last().filter(|(_, rows)| !rows.is_empty())?;
    let [of_mean, of_row] = limits(bounds);
    Some(LOSSES.map(|share| share * of_mean[0]).map(|loss| refused(mean, rows, loss, [of_mean, of_row])))
}

fn refused(mean: &RowTrials, rows: &[RowTrials], loss: f64, [of_mean, of_row]: [[f64; 2]; 2]) -> f64 {
    let any =
        |trial: &usize| below(mean, *trial, loss, of_mean) || rows.iter().any(|row| below(row, *trial, loss, of_row));
    (0..Trials::COUNT).filter(any).count() as f64 / Trials::COUNT as f64
}

/// Few digits: the summary lies in a manifest. Their error is a hundredth of what a reason shows.
fn digits(value: f64) -> f64 {
    (value * 1e7).round() / 1e7
}

fn round(value: Option<f64>) -> Option<f64> {
    value.map(digits)
}

fn reasons(
    rows: &[ValidationRow],
    failures: &[&Record],
    cases: usize,
    correlation: Pair,
    bounds: &Bounds,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(first) = failures.first() {
        let why = first.failure.as_deref().unwrap_or_default();
        reasons.push(format!("{} of {cases} cases failed, the first {}: {why}", failures.len(), first.case));
    }
    let Some((all, rows)) = rows.split_last() else { return reasons };
    let judged = || rows.iter().filter(|row| row.judged);
    for (row, is_row) in [(all, 0)].into_iter().chain(judged().map(|row| (row, 1))) {
        let name = if is_row == 0 { "the mean of the rows".into() } else { name(row) };
        for (measure, unit, nsd) in [(&row.dsc, "DSC", false), (&row.nsd, "NSD", true)] {
            let allowed = bounds.loss_points(nsd)[is_row];
            let Some((difference, Interval { low, .. })) = measure.difference.and_then(|d| Some((d, d.interval?)))
            else {
                continue;
            };
            let loss = -100.0 * low;
            if loss > allowed + EPSILON {
                let patients = row.patients;
                reasons.push(format!(
                    "{name} may lose {loss:.2} points of {unit}: {difference} in {patients} patients; {allowed} may be lost"
                ));
            }
        }
        let lack = (1.0 - bounds.agreement) * [1.0, 2.0][is_row];
        if let Some(agreement) = row.agreement.filter(|a| 1.0 - a.mean > lack + EPSILON) {
            let (mean, least) = (agreement.mean, 1.0 - lack);
            reasons.push(format!("{name}: the masks agree with the reference's by {mean:.4}; {least:.2} is the least"));
        }
        let allowed = bounds.iou_bias * [1.0, 2.0][is_row];
        if let Pair { reference: Some(reference), model: Some(model) } = row.iou_bias
            && (model - reference).abs() > allowed + EPSILON
        {
            reasons.push(format!(
                "{name}: the predicted IoU is biased by {model:+.3}, the reference's by {reference:+.3}; {allowed} may lie \
                 between them"
            ));
        }
    }
    if let Some(reference) = correlation.reference.filter(|_| all.objects >= CORRELATED) {
        let allowed = bounds.iou_correlation;
        match correlation.model {
            Some(model) if model >= reference - allowed - EPSILON => {}
            model => reasons.push(format!(
                "the predicted IoU correlates with the true one by {}, the reference's by {reference:.3}; it may fall by \
                 {allowed}",
                model.map_or("nothing that is defined".into(), |r| format!("{r:.3}")),
            )),
        }
    }
    if all.collapsed as f64 > bounds.collapse_rate * all.objects as f64 + EPSILON {
        let share = 100.0 * all.collapsed as f64 / all.objects.max(1) as f64;
        reasons.push(format!(
            "{} of {} objects ({share:.2} %) collapsed, each by more than {} points of DSC or half of it; {} % may",
            all.collapsed,
            all.objects,
            100.0 * COLLAPSE,
            100.0 * bounds.collapse_rate
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
