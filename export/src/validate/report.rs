//! The whole report: the summary that goes into the bundle, times, the worst cases, and every object.

use std::fmt;

use serde::{Deserialize, Serialize};
use umedsam::Validation;
use umedsam::metrics::{Difference, Trials, mean};
use umedsam::validation::{Measure, Pair, ValidationRow};

use super::record::{CaseTime, Record, Spent};
use super::verdict::{CORRELATED, name};

/// Version of the fields of `report.json`.
pub const REPORT_VERSION: u32 = 2;

/// Cases that are named as the worst.
pub const WORST: usize = 10;

/// What `report.json` holds. Scores are 0 to 1, as everywhere in the library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// The summary, as the bundle carries it.
    pub validation: Validation,
    /// Threads of each of the two sessions, which take turns.
    pub threads: usize,
    /// Time of encoding an image or slice: of a case, its mean.
    pub encode: Option<Times>,
    /// Time of a case from its pixels to its labels.
    pub total: Option<Times>,
    /// The cases whose DSC falls most, [`WORST`] at most, the worst first.
    pub worst: Vec<WorstCase>,
    /// The cases.
    pub cases: Vec<Record>,
}

/// Time of both models over the cases, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// The reference's time in all.
    pub reference_sum_ms: f64,
    /// The model's time in all.
    pub model_sum_ms: f64,
    /// The reference's shortest.
    pub reference_min_ms: f64,
    /// The model's shortest.
    pub model_min_ms: f64,
    /// Median over the cases of the model's time as a share of the reference's.
    pub median_ratio: f64,
}

/// A case that lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorstCase {
    /// Its file name.
    pub case: String,
    /// The reference's mean DSC over its objects.
    pub reference_dsc: f64,
    /// The model's.
    pub model_dsc: f64,
    /// The object that lost most.
    pub label: u16,
    /// What that object's DSC changes, from reference to model.
    pub label_change: f64,
}

impl Report {
    /// Sums up times and finds the worst cases of `cases`.
    pub fn new(validation: Validation, threads: usize, cases: Vec<Record>) -> Self {
        let times: Vec<&CaseTime> = cases.iter().filter_map(|r| r.time.as_ref()).collect();
        let encode = Times::new(&times, |spent| (spent.encode_ms, spent.encodes.max(1) as f64));
        let total = Times::new(&times, |spent| (spent.total_ms, 1.0));
        let mut worst: Vec<WorstCase> = cases.iter().filter_map(WorstCase::new).collect();
        let change = |w: &WorstCase| w.model_dsc - w.reference_dsc;
        // Ties in the order of the cases: the sort is stable.
        worst.sort_by(|a, b| change(a).total_cmp(&change(b)));
        worst.truncate(WORST);
        Self { version: REPORT_VERSION, validation, threads, encode, total, worst, cases }
    }
}

impl Times {
    /// `of` gives a time and by how much work it is to be divided.
    fn new(times: &[&CaseTime], of: impl Fn(&Spent) -> (f64, f64)) -> Option<Self> {
        let each = |spent: fn(&CaseTime) -> &Spent| -> Vec<(f64, f64)> { times.iter().map(|t| of(spent(t))).collect() };
        let (reference, model) = (each(|t| &t.reference), each(|t| &t.model));
        let unit = |&(time, work): &(f64, f64)| time / work;
        let sum = |times: &[(f64, f64)]| times.iter().map(|(time, _)| time).sum();
        let min = |times: &[(f64, f64)]| times.iter().map(unit).reduce(f64::min);
        // A clock too coarse for a case has no ratio.
        let mut ratios: Vec<f64> =
            reference.iter().zip(&model).map(|(r, m)| unit(m) / unit(r)).filter(|ratio| ratio.is_finite()).collect();
        ratios.sort_by(f64::total_cmp);
        let middle = ratios.len() / 2;
        let upper = *ratios.get(middle)?;
        let median_ratio = if ratios.len() % 2 == 1 { upper } else { (ratios[middle - 1] + upper) / 2.0 };
        Some(Self {
            reference_sum_ms: sum(&reference),
            model_sum_ms: sum(&model),
            reference_min_ms: min(&reference)?,
            model_min_ms: min(&model)?,
            median_ratio,
        })
    }
}

impl WorstCase {
    fn new(record: &Record) -> Option<Self> {
        let changes = record.objects.iter().filter_map(|o| Some((o.label, o.change()?)));
        let (label, label_change) = changes.min_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Self {
            case: record.case.clone(),
            reference_dsc: mean(record.objects.iter().map(|o| o.reference.dsc))?,
            model_dsc: mean(record.objects.iter().map(|o| o.model.dsc))?,
            label,
            label_change,
        })
    }
}

/// What a verdict rests on.
pub(super) fn basis(v: &Validation) -> String {
    let (rows, all) = (v.judged().count(), v.rows.len().saturating_sub(1));
    let (cases, patients) = v.judged().fold((0, 0), |(c, p), row| (c + row.cases, p + row.patients));
    let left: Vec<String> = v.rows.iter().take(all).filter(|row| !row.judged).map(name).collect();
    let least = v.bounds.least_patients;
    let mut text = format!("judged: {rows} of {all} rows, {cases} cases of {patients} patients, as far as names tell");
    if !left.is_empty() {
        text += &format!("; fewer than {least} patients, not judged: {}", left.join(", "));
    }
    text
}

/// What the gate would find in other patients, in words.
pub(super) fn power(v: &Validation) -> Option<String> {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let [none, half, all] = v.mean()?.refused?.map(percent);
    let ([mean, row], trials) = (v.bounds.loss_points(false), Trials::COUNT);
    let mut text = format!(
        "power, of {trials} simulated trials with other patients of the same spreads, by DSC and NSD: refused are {none} of \
         models that lose nothing, {half} that lose {} points of DSC in every row, {all} that lose {mean}",
        mean / 2.0
    );
    let weakest = v.judged().filter_map(|r| Some((r, r.refused?)));
    if let Some((weakest, [none, _, all])) = weakest.max_by(|a, b| a.1[0].total_cmp(&b.1[0])) {
        let (name, none, all) = (name(weakest), percent(none), percent(all));
        text += &format!(
            "; the row that tells least, {name}, refuses {none} that lose nothing, {all} that lose {row} in it"
        );
    }
    Some(text)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |v: Option<f64>| v.map_or("-".into(), |v| format!("{:.2}", 100.0 * v));
        let points = |m: &Measure| m.difference.map_or("-".into(), |d: Difference| d.to_string());
        writeln!(
            f,
            "{:<13} {:<2} {:>5} {:>8} {:>9} {:>6} {:>22} {:>22} {:>9} {:>9} {:>8}",
            "modality",
            "",
            "cases",
            "patients",
            "reference",
            "DSC",
            "DSC difference",
            "NSD difference",
            "agreement",
            "collapsed",
            "IoU bias"
        )?;
        let v = &self.validation;
        for row in &v.rows {
            let ValidationRow { modality, dimensions, cases, patients, collapsed, .. } = row;
            let (reference, dsc) = (percent(row.dsc.reference), percent(row.dsc.model));
            let (change, nsd) = (points(&row.dsc), points(&row.nsd));
            let agreement = row.agreement.map_or("-".into(), |a| format!("{:.4}", a.mean));
            let bias = row.iou_bias.model.map_or("-".into(), |b| format!("{b:+.3}"));
            let judged = if row.judged { "" } else { "  not judged" };
            writeln!(
                f,
                "{modality:<13} {dimensions:<2} {cases:>5} {patients:>8} {reference:>9} {dsc:>6} {change:>22} {nsd:>22} \
                 {agreement:>9} {collapsed:>9} {bias:>8}{judged}"
            )?;
        }
        writeln!(f, "{}", basis(v))?;
        if let Some(power) = power(v) {
            writeln!(f, "{power}")?;
        }
        if let Pair { reference: Some(reference), model: Some(model) } = v.iou_correlation {
            let few = v.mean().is_none_or(|mean| mean.objects < CORRELATED);
            let judged = if few { format!("; not judged of fewer than {CORRELATED} objects") } else { String::new() };
            writeln!(
                f,
                "predicted IoU: correlation with the true IoU {model:.3}, the reference's {reference:.3}{judged}"
            )?;
        }
        if let Some(worst) = self.worst.first() {
            let change = 100.0 * (worst.model_dsc - worst.reference_dsc);
            writeln!(f, "lowest change of a case's DSC: {change:+.2} ({})", worst.case)?;
        }
        if let Some((encode, total)) = self.encode.zip(self.total) {
            let (encode, total) = (encode.median_ratio, total.median_ratio);
            writeln!(f, "time as a share of the reference's (median): encode {encode:.2}, in all {total:.2}")?;
        }
        let (model, reference) = (&self.validation.model, &self.validation.reference);
        write!(f, "size: {} bytes, the reference's {}", model.size_bytes, reference.size_bytes)
    }
}
