//! From records to a verdict.

use std::collections::BTreeMap;

use serde::Serialize;
use umedsam::metrics::{CaseScore, Comparison, Difference, Report as Scores, mean};
use umedsam::{Validation, ValidationRow};

use super::record::CaseRecord;
use super::{Options, ValidateError};

/// DSC that an object loses when it collapses.
const COLLAPSE: f64 = 0.2;
/// Seed of the bootstrap's samples.
const SEED: u64 = 1;

/// An object that lost much.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Loss {
    /// The case's file name.
    pub case: String,
    /// The object's label.
    pub label: usize,
    /// DSC with the truth, of the reference and of the model.
    pub dsc: [f64; 2],
}

/// The objects whose DSC fell most, the worst first: `count` at most, none that did not fall.
pub(super) fn losses(records: &[CaseRecord], count: usize) -> Vec<Loss> {
    let object = |record: &CaseRecord| {
        let loss = |o: &super::ObjectRecord| Loss { case: record.case.clone(), label: o.label, dsc: o.dsc };
        record.objects.iter().map(loss).collect::<Vec<_>>()
    };
    let mut all: Vec<Loss> = records.iter().flat_map(object).filter(|l| l.dsc[1] < l.dsc[0]).collect();
    all.sort_by(|a, b| (a.dsc[1] - a.dsc[0]).total_cmp(&(b.dsc[1] - b.dsc[0])));
    all.truncate(count);
    all
}

/// What the records say; names and digests of the models are left to be filled in.
///
/// # Errors
/// [`ValidateError::NoObjects`] if there is none to judge by.
pub(super) fn judge(records: &[CaseRecord], options: &Options) -> Result<Validation, ValidateError> {
    let judged: Vec<&CaseRecord> = records.iter().filter(|r| !r.objects.is_empty()).collect();
    if judged.is_empty() {
        return Err(ValidateError::NoObjects { cases: records.len() });
    }
    let scores = |who: usize| -> Vec<CaseScore> {
        let score = |r: &&CaseRecord| CaseScore {
            case: r.case.clone(),
            labels: r.objects.len(),
            dsc: r.mean(|o| Some(o.dsc[who])),
            nsd_upstream: None,
            nsd: r.mean(|o| o.nsd[who]),
        };
        judged.iter().map(score).collect()
    };
    let [reference, model] = [scores(0), scores(1)];
    let comparison = Comparison::new(&reference, &model, SEED);
    let [reference, model] = [Scores::new(reference), Scores::new(model)];
    let mut agreements: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    for record in &judged {
        agreements.entry(record.row()).or_default().push(record.mean(|o| Some(o.agreement)));
    }
    let of_row: BTreeMap<String, f64> =
        agreements.into_iter().map(|(row, values)| (row, mean(values.into_iter()).unwrap_or(0.0))).collect();
    let agreement = mean(of_row.values().copied().map(Some)).unwrap_or(0.0);
    let difference = |d: Option<Difference>| d.map_or([0.0; 3], |d| [d.mean, d.low, d.high]);
    let rows: Vec<ValidationRow> = comparison
        .rows
        .iter()
        .zip(reference.rows.iter().zip(&model.rows))
        .map(|(d, (a, b))| {
            let row = format!("{} {}", d.modality, d.dimensions).trim_end().to_owned();
            ValidationRow {
                agreement: of_row.get(&row).copied().unwrap_or(agreement),
                row,
                cases: d.cases,
                dsc: [a.dsc.unwrap_or(0.0), b.dsc.unwrap_or(0.0)],
                dsc_difference: difference(d.dsc),
                nsd: [a.nsd.unwrap_or(0.0), b.nsd.unwrap_or(0.0)],
                nsd_difference: difference(d.nsd),
            }
        })
        .collect();
    let objects: usize = judged.iter().map(|r| r.objects.len()).sum();
    let all = judged.iter().flat_map(|r| &r.objects);
    let collapsed = all.filter(|o| o.dsc[0] - o.dsc[1] > COLLAPSE).count();
    let mut validation = Validation {
        passed: false,
        reasons: Vec::new(),
        encoder_sha256: String::new(),
        decoder_sha256: String::new(),
        reference: String::new(),
        reference_weights_sha256: String::new(),
        tolerance: options.tolerance,
        collapse_rate: options.collapse_rate,
        cases: judged.len(),
        objects,
        collapsed,
        agreement,
        rows,
    };
    validation.reasons = reasons(&validation, records);
    validation.passed = validation.reasons.is_empty();
    Ok(validation)
}

/// Every bound that is broken, in words.
fn reasons(v: &Validation, records: &[CaseRecord]) -> Vec<String> {
    let mut reasons = Vec::new();
    for record in records.iter().filter(|r| r.failure.is_some()) {
        let failure = record.failure.as_deref().unwrap_or_default();
        reasons.push(format!("{} could not be segmented: {failure}", record.case));
    }
    let last = v.rows.len() - 1;
    for (i, row) in v.rows.iter().enumerate() {
        let (name, bound) =
            if i == last { ("the mean of the rows", v.tolerance) } else { (&*row.row, 2.0 * v.tolerance) };
        let loss = row.dsc[0] - row.dsc[1];
        // So that a NaN is a loss, too.
        if !(loss <= bound) {
            reasons.push(format!("{name} loses {:.2} points of DSC, {:.2} allowed", 100.0 * loss, 100.0 * bound));
        }
    }
    if v.collapsed as f64 > v.collapse_rate * v.objects as f64 {
        let percent = 100.0 * v.collapse_rate;
        reasons.push(format!(
            "{} of {} objects lose more than 20 points of DSC, {percent} % allowed",
            v.collapsed, v.objects
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::super::ObjectRecord;
    use super::*;

    fn record(case: &str, dsc: &[[f64; 2]]) -> CaseRecord {
        let object =
            |(i, &dsc): (usize, &[f64; 2])| ObjectRecord { label: i + 1, dsc, nsd: [None; 2], agreement: 0.99 };
        CaseRecord {
            case: case.into(),
            objects: dsc.iter().enumerate().map(object).collect(),
            seconds: [1.0; 2],
            encode_seconds: [1.0; 2],
            failure: None,
        }
    }

    fn reasons(records: &[CaseRecord], options: Options) -> Vec<String> {
        let validation = judge(records, &options).unwrap();
        assert_eq!(validation.passed, validation.reasons.is_empty());
        validation.reasons
    }

    #[test]
    fn each_bound_refuses_just_beyond_itself() {
        let cases = |ct: f64, mr: f64| {
            [record("2DBox_CT_1.npz", &[[0.9, 0.9 - ct]]), record("2DBox_MR_1.npz", &[[0.8, 0.8 - mr]])]
        };
        let options = Options::new();
        assert!(reasons(&cases(0.0049, 0.0049), options).is_empty());
        // The mean alone, then a row alone, whose loss another row's gain hides in the mean.
        let mean = reasons(&cases(0.0051, 0.0051), options);
        assert!(mean.len() == 1 && mean[0].starts_with("the mean of the rows loses 0.51"), "{mean:?}");
        let row = reasons(&cases(0.0101, -0.01), options);
        assert!(row.len() == 1 && row[0].starts_with("CT 2D loses 1.01 points of DSC, 1.00 allowed"), "{row:?}");
        assert!(reasons(&cases(0.0099, -0.01), options).is_empty());
        assert!(reasons(&cases(0.01, 0.01), options.with_tolerance(0.02)).is_empty());
    }

    #[test]
    fn one_collapsed_object_among_many_refuses() {
        let mut dsc = vec![[0.9, 0.9021]; 200];
        dsc[7] = [0.9, 0.69];
        let records = [record("2DBox_CT_1.npz", &dsc)];
        let found = reasons(&records, Options::new());
        assert!(found.len() == 1 && found[0].starts_with("1 of 200 objects"), "{found:?}");
        assert!(reasons(&records, Options::new().with_collapse_rate(0.01)).is_empty());
        assert_eq!(losses(&records, 3).len(), 1);
        dsc[7] = [0.9, 0.71];
        assert!(reasons(&[record("2DBox_CT_1.npz", &dsc)], Options::new()).is_empty());
    }

    #[test]
    fn what_cannot_be_judged_does_not_pass() {
        assert!(judge(&[record("2DBox_CT_1.npz", &[])], &Options::new()).is_err());
        assert!(judge(&[], &Options::new()).is_err());
        let nan = reasons(&[record("2DBox_CT_1.npz", &[[0.9, f64::NAN]])], Options::new());
        assert_eq!(nan.len(), 2, "{nan:?}");
        let failed = CaseRecord { failure: Some("no".into()), objects: Vec::new(), ..record("2DBox_CT_2.npz", &[]) };
        let found = reasons(&[record("2DBox_CT_1.npz", &[[0.9, 0.9]]), failed], Options::new());
        assert!(found.len() == 1 && found[0].contains("2DBox_CT_2.npz"), "{found:?}");
    }
}
