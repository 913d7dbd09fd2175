//! The accuracy gate's verdict and page, on made-up figures.

use umedsam::validation::{VALIDATION_VERSION, ValidatedModel};
use umedsam::{Precision, Storage, Validation, Verdict};
use umedsam_export::validate::verdict::{Bounds, Judgement, Unjudged};
use umedsam_export::validate::{Object, Record, Report, Scores, page};

/// A case of one object: DSC and NSD of the reference and of the model, agreement 0.99, predicted IoU as it is.
fn case(name: &str, reference: [f64; 2], model: [f64; 2]) -> Record {
    let scores =
        |[dsc, nsd]: [f64; 2]| Scores { dsc: Some(dsc), nsd: Some(nsd), predicted_iou: Some(dsc / (2.0 - dsc)) };
    let object = Object { label: 1, reference: scores(reference), model: scores(model), agreement: Some(0.99) };
    let (key, case) = (String::new(), name.into());
    Record { key, case, shape: vec![8, 8], failure: None, objects: vec![object], time: None }
}

fn failed(name: &str) -> Record {
    Record { failure: Some("box 1: not a finite number".into()), objects: Vec::new(), ..case(name, [0.9; 2], [0.9; 2]) }
}

/// A row of cases that differ in the reference's DSC and lose DSC and NSD alike but for `spread`, which adds up to nothing.
fn row(name: &str, count: usize, [dsc, nsd]: [f64; 2], spread: f64) -> Vec<Record> {
    let one = |i: usize| {
        let before = 0.8 + 0.02 * (i % 5) as f64;
        let own = if count % 2 == 1 && i == 0 { 0.0 } else { spread * (i % 2) as f64 * 2.0 - spread };
        case(&format!("{name}_{i}.npz"), [before; 2], [before - dsc + own, before - nsd + own])
    };
    (0..count).map(one).collect()
}

/// Three rows, of which the first loses, and spreads.
fn rows(loss: [f64; 2], spread: f64) -> Vec<Record> {
    let others = ["2DBox_CT", "3DBox_MR"].map(|name| row(name, 5, [0.0; 2], 0.0)).concat();
    [row("2DBox_US", 5, loss, spread), others].concat()
}

fn judge(records: &[Record]) -> Vec<String> {
    Judgement::new(records, &Bounds::default(), 0).unwrap().reasons
}

#[test]
fn a_row_is_judged_by_the_lower_end_of_its_interval() {
    // Without spread the end is the mean: 2 points may be lost, but the mean of the rows may lose half a point only.
    assert!(judge(&rows([0.0149; 2], 0.0)).is_empty(), "{:?}", judge(&rows([0.0149; 2], 0.0)));
    let found = judge(&rows([0.0151, 0.0], 0.0));
    assert!(
        found.len() == 1 && found[0].starts_with("the mean of the rows may lose 0.50 points of DSC: -0.50"),
        "{found:?}"
    );
    // No loss at all, but five patients that spread by 2 points: standard error 1, Student's t 2.8.
    let found = judge(&rows([0.0, 0.0], 0.02));
    assert!(
        found.iter().any(|reason| reason.starts_with("US 2D may lose 2.") && reason.contains("in 5 patients")),
        "{found:?}"
    );
    // As much in many patients is known well enough.
    let many = [row("2DBox_US", 60, [0.0; 2], 0.02), rows([0.0; 2], 0.0)[5..].to_vec()].concat();
    assert!(judge(&many).is_empty(), "{:?}", judge(&many));
}

#[test]
fn boundaries_count_beside_areas() {
    // As LiteMedSAM in dermoscopy: DSC as before, NSD lost.
    let found = judge(&rows([0.0, 0.0475], 0.0));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("the mean of the rows may lose 1.58 points of NSD") && found[0].ends_with("1 may be lost")
    );
    assert!(found[1].starts_with("US 2D may lose 4.75 points of NSD") && found[1].ends_with("4 may be lost"));
}

#[test]
fn too_little_is_no_verdict() {
    let error = |records: &[Record]| Judgement::new(records, &Bounds::default(), 0).unwrap_err();
    assert_eq!(error(&[]), Unjudged::NoObjects);
    let good = || rows([0.0; 2], 0.0);
    // Four patients are no row, however many cases they have.
    let mut four = good();
    four[0].case = "2DBox_US_X_1-1.npz".into();
    four[1].case = "2DBox_US_X_1-2.npz".into();
    let text = error(&four).to_string();
    assert_eq!(text, "2 of 3 rows have at least 5 patients; a verdict needs 3 such rows");
    let fewer = Bounds { least_rows: 2, ..Bounds::default() };
    let found = Judgement::new(&four, &fewer, 0).unwrap();
    assert!(found.reasons.is_empty() && !found.rows[2].judged && found.rows[2].refused.is_none());
    assert_eq!((found.rows[3].cases, found.rows[3].objects), (10, 15));
    // What is not judged may lose as it may, but for objects that collapse.
    four[2].objects[0].model = Scores { dsc: Some(0.3), nsd: None, predicted_iou: None };
    let found = Judgement::new(&four, &fewer, 0).unwrap().reasons;
    assert!(found.len() == 1 && found[0].starts_with("1 of 15 objects (6.67 %) collapsed"), "{found:?}");

    // A reference that finds nothing has nothing to lose, whatever the model gains.
    let mut poor = [row("2DBox_PET", 5, [0.8 - 0.97; 2], 0.0), good()].concat();
    poor[..5]
        .iter_mut()
        .for_each(|r| r.objects[0].reference = Scores { dsc: Some(0.01), nsd: Some(0.0), predicted_iou: None });
    assert_eq!(
        error(&poor).to_string(),
        "PET 2D: the reference has a mean DSC of 0.010; below 0.2 there is nothing to lose"
    );
}

#[test]
fn another_model_is_refused_though_it_scores_as_well() {
    let mut records = rows([0.0; 2], 0.0);
    records[..5].iter_mut().for_each(|r| r.objects[0].agreement = Some(0.89));
    let found = judge(&records);
    assert_eq!(found, ["US 2D: the masks agree with the reference's by 0.8900; 0.90 is the least"]);
    records.iter_mut().for_each(|r| r.objects[0].agreement = Some(0.92));
    let found = judge(&records);
    assert_eq!(found, ["the mean of the rows: the masks agree with the reference's by 0.9200; 0.95 is the least"]);
}

#[test]
fn the_predicted_iou_must_be_as_good_as_the_references() {
    let shifted = |by: f64| {
        let mut records = rows([0.0; 2], 0.0);
        for scores in records.iter_mut().map(|r| &mut r.objects[0].model) {
            scores.predicted_iou = scores.predicted_iou.map(|iou| iou + by);
        }
        judge(&records)
    };
    assert!(shifted(0.019).is_empty());
    assert!(shifted(3.0)[0].contains("the predicted IoU is biased by +3.000, the reference's by +0.000"));
    // As much too high as too low: no bias, and no use. Of few objects that may be chance.
    let turned = |count: usize| {
        let mut records = ["2DBox_US", "2DBox_CT", "3DBox_MR"].map(|name| row(name, count, [0.0; 2], 0.0)).concat();
        for scores in records.iter_mut().map(|r| &mut r.objects[0].model) {
            scores.predicted_iou = scores.predicted_iou.map(|iou| 2.0 * 0.725 - iou);
        }
        judge(&records)
    };
    assert!(turned(5).is_empty());
    let found = turned(40);
    let words =
        "the predicted IoU correlates with the true one by -1.000, the reference's by 1.000; it may fall by 0.05";
    assert_eq!(found, [words]);
}

#[test]
fn an_object_that_falls_by_20_points_or_by_half_has_collapsed() {
    let with = |reference: f64, model: f64| {
        let mut records = rows([0.0; 2], 0.0);
        let scores = |dsc| Scores { dsc: Some(dsc), nsd: None, predicted_iou: None };
        let object = Object { label: 2, reference: scores(reference), model: scores(model), agreement: Some(0.99) };
        records[0].objects.push(object);
        judge(&records).iter().filter(|reason| reason.contains("1 of 16 objects (6.25 %) collapsed")).count()
    };
    for (reference, model, collapsed) in [
        (0.9, 0.7, 0),
        (0.9, 0.6999, 1),
        (0.2, 0.1, 0),
        (0.2, 0.0999, 1),
        (0.12, 0.0, 1),
        // Not found before: nothing to lose.
        (0.09, 0.0, 0),
    ] {
        assert_eq!(with(reference, model), collapsed, "{reference} {model}");
    }
    let mut records = rows([0.0; 2], 0.0);
    records[0].objects[0].model.dsc = Some(0.1);
    let some = Bounds {
        collapse_rate: 0.1,
        tolerance_points: 100.0,
        iou_bias: 1.0,
        iou_correlation: 2.0,
        ..Bounds::default()
    };
    assert!(Judgement::new(&records, &some, 0).unwrap().reasons.is_empty());
}

#[test]
fn a_case_that_fails_refuses_the_model() {
    let found = judge(&[rows([0.0; 2], 0.0), vec![failed("2DBox_US_9.npz")]].concat());
    assert_eq!(found, ["1 of 16 cases failed, the first 2DBox_US_9.npz: box 1: not a finite number"]);
    // Though nothing else could be judged.
    assert_eq!(judge(&[failed("a.npz")]).len(), 1);
    // A reason about a name as long as names may be still fits the summary.
    let long = Record { failure: Some("ü".repeat(2000)), ..failed("b.npz") };
    assert!(judge(&[long])[0].len() <= 512);
}

/// Of losses as large as a bound 2.5 % at most are passed.
#[test]
fn the_report_says_what_the_gate_would_find() {
    let spread = |name| row(name, 12, [0.0; 2], 0.01);
    let records = [spread("2DBox_US"), spread("2DBox_CT"), spread("3DBox_MR")].concat();
    let found = Judgement::new(&records, &Bounds::default(), 0).unwrap();
    for row in &found.rows {
        let [none, half, all] = row.refused.unwrap();
        assert!(none < half && half < all && all > 0.95, "{} {:?}", row.modality, row.refused);
    }
    assert!(found.rows[0].refused.unwrap()[0] < 0.05);
    assert_eq!(Judgement::new(&records, &Bounds::default(), 0).unwrap(), found);
}

#[test]
fn names_on_the_page_are_text() {
    let hostile = "2DBox_<script>alert(1)</script>_\"'&\u{202e}.npz";
    let records = vec![case(hostile, [0.9; 2], [0.1; 2]), Record { case: "<img src=x>".into(), ..failed("") }];
    let Judgement { rows, iou_correlation, failed, reasons } = Judgement::new(&records, &Bounds::default(), 0).unwrap();
    let model = ValidatedModel {
        name: "</title><b onclick='x'>".into(),
        storage: Storage::Int8,
        precision: Precision::Int8,
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
        bounds: Bounds::default(),
        cases: 2,
        failed,
        iou_correlation,
        rows,
    };
    let html = page(&Report::new(validation, 1, records), &[]);
    for raw in ["<script", "<img src=x", "<b onclick", "</title><b", "\u{202e}", "_\"'"] {
        assert!(!html.contains(raw), "{raw}");
    }
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && html.contains("&lt;img src=x&gt;"));
    assert!(!html.contains("http"), "the page needs nothing else");
}
