//! The accuracy gate's verdict and page, on made-up figures.

use umedsam::validation::{VALIDATION_VERSION, ValidatedModel};
use umedsam::{Arithmetic, Precision, Validation, Verdict};
use umedsam_export::validate::verdict::{Bounds, Judgement};
use umedsam_export::validate::{Object, Record, Report, Scores, page};

/// A case with these DSC of reference and model, one pair an object.
fn case(name: &str, objects: &[(f64, f64)]) -> Record {
    let scores = |dsc| Scores { dsc: Some(dsc), nsd: None };
    let object = |((reference, model), label)| Object {
        label,
        reference: scores(reference),
        model: scores(model),
        agreement: Some(0.99),
    };
    let objects = objects.iter().copied().zip(1..).map(object).collect();
    let (key, case) = (String::new(), name.into());
    Record { key, case, shape: vec![8, 8], failure: None, objects, time: None }
}

fn failed(name: &str) -> Record {
    Record { failure: Some("box 1: not a finite number".into()), ..case(name, &[]) }
}

fn reasons(records: &[Record], bounds: Bounds) -> Vec<String> {
    Judgement::new(records, &bounds, 0).unwrap().reasons
}

fn judge(records: &[Record]) -> Vec<String> {
    reasons(records, Bounds::default())
}

#[test]
fn the_mean_may_lose_the_tolerance_and_no_more() {
    let us = |loss| case("2DBox_US_1.npz", &[(0.9, 0.9 - loss)]);
    assert!(judge(&[us(0.005)]).is_empty());
    assert!(judge(&[us(-0.3)]).is_empty());
    let found = judge(&[us(0.0051)]);
    assert_eq!(found, ["the mean of the rows loses 0.510 points of DSC; 0.5 are allowed"]);
    assert!(reasons(&[us(0.0051)], Bounds { tolerance_points: 1.0, collapse_rate: 0.0 }).is_empty());
    // Every row counts the same: one bad case does not hide among many good ones of another row.
    let mut many: Vec<Record> = (0..99).map(|i| case(&format!("2DBox_CT_{i}.npz"), &[(0.9, 0.9)])).collect();
    many.push(us(0.0099));
    assert!(judge(&many).is_empty());
    many.push(case("3DBox_MR_1.npz", &[(0.9, 0.893)]));
    assert_eq!(judge(&many).len(), 1, "{:?}", judge(&many));
}

#[test]
fn a_row_may_lose_twice_as_much() {
    let rows = |loss| [case("2DBox_US_1.npz", &[(0.9, 0.9 - loss)]), case("2DBox_CT_1.npz", &[(0.5, 0.6)])];
    assert!(judge(&rows(0.01)).is_empty());
    let found = judge(&rows(0.0101));
    assert_eq!(found, ["US 2D loses 1.010 points of DSC; a row is allowed 1, twice the tolerance"]);
}

#[test]
fn an_object_that_falls_by_more_than_20_points_has_collapsed() {
    // The second gains what the first loses.
    let pair = |fall: f64| [case("2DBox_US_1.npz", &[(0.9, 0.9 - fall), (0.5, 0.5 + fall)])];
    assert!(judge(&pair(0.2)).is_empty());
    let found = judge(&pair(0.2001));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("1 of 2 objects (50.00 %) collapsed"), "{found:?}");
    let half = Bounds { tolerance_points: 0.5, collapse_rate: 0.5 };
    assert!(reasons(&pair(0.2001), half).is_empty());
    assert_eq!(reasons(&pair(0.2001), Bounds { collapse_rate: 0.49, ..half }).len(), 1);
}

#[test]
fn a_case_that_fails_refuses_the_model_and_nothing_to_judge_by_is_no_verdict() {
    let good = case("2DBox_US_1.npz", &[(0.9, 0.9)]);
    let found = judge(&[good, failed("2DBox_US_2.npz")]);
    assert_eq!(found, ["1 of 2 cases failed, the first 2DBox_US_2.npz: box 1: not a finite number"]);
    assert_eq!(judge(&[failed("a.npz")]).len(), 1);
    assert_eq!(Judgement::new(&[], &Bounds::default(), 0), None);
    assert_eq!(Judgement::new(&[case("a.npz", &[])], &Bounds::default(), 0), None);
    // A reason about a name as long as names may be still fits the summary.
    let long = Record { failure: Some("ü".repeat(2000)), ..failed("b.npz") };
    assert!(judge(&[long])[0].len() <= 512);
}

#[test]
fn names_on_the_page_are_text() {
    let hostile = "2DBox_<script>alert(1)</script>_\"'&\u{202e}.npz";
    let records = vec![case(hostile, &[(0.9, 0.1)]), Record { case: "<img src=x>".into(), ..failed("") }];
    let Judgement { rows, failed, reasons } = Judgement::new(&records, &Bounds::default(), 0).unwrap();
    let model = ValidatedModel {
        name: "</title><b onclick='x'>".into(),
        precision: Precision::Int8,
        arithmetic: Arithmetic::Int8,
        size_bytes: 10,
        encoder_sha256: "0".repeat(64),
        decoder_sha256: "1".repeat(64),
    };
    let validation = Validation {
        version: VALIDATION_VERSION,
        verdict: Verdict::Refused,
        reasons,
        reference: model.clone(),
        model,
        tolerance_points: 0.5,
        collapse_rate: 0.0,
        cases: 2,
        failed,
        rows,
    };
    let html = page(&Report::new(validation, 1, records), &[]);
    for raw in ["<script", "<img src=x", "<b onclick", "</title><b", "\u{202e}", "_\"'"] {
        assert!(!html.contains(raw), "{raw}");
    }
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && html.contains("&lt;img src=x&gt;"));
    assert!(!html.contains("http"), "the page needs nothing else");
}
