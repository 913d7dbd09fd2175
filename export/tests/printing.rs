//! `umedsam-export` in a pipe whose reader left.

use std::process::{Command, Stdio};

use umedsam_export::checkpoint::Weights;

#[test]
fn a_closed_pipe_ends_no_work() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    Weights::synthetic(5).save(&weights).unwrap();
    let run = |arguments: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_umedsam-export"))
            .current_dir(folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, text) = run(&["bundle", "weights.safetensors", "--out", "model.umedsam"]);
    assert!(status == Some(0) && text.is_empty(), "{text}");
    umedsam::Model::load(folder.path().join("model.umedsam")).unwrap();
    // What weights are stored in is no precision.
    let (status, text) = run(&["bundle", "weights.safetensors", "--out", "model.umedsam", "--precision", "f32"]);
    assert!(status == Some(2) && text.contains("--storage says what weights are stored in"), "{text}");
    let (status, text) =
        run(&["onnx", "weights.safetensors", "--out", "graphs", "--format", "qdq", "--storage", "f16"]);
    assert!(status == Some(1) && text.contains("qdq stores weights in int8, not in f16"), "{text}");
    assert!(!folder.path().join("graphs").exists());
    // The status is still the work's: 2 where a model cannot be judged.
    let (status, text) = run(&["validate", "model.umedsam", "--against", "weights.safetensors", "--cases", "."]);
    assert!(status == Some(2) && !text.contains("panicked"), "{text}");
    let before = std::fs::read(&weights).unwrap();
    for command in [&["bundle"][..], &["part", "--base", "weights.safetensors"], &["apply", "weights.safetensors"]] {
        let (status, text) = run(&[command, &["weights.safetensors", "--out", "./weights.safetensors"]].concat());
        assert!(status == Some(1) && text.contains("an input, which the result would replace"), "{text}");
    }
    assert!(std::fs::read(&weights).unwrap() == before);
    let (status, text) = run(&["bundle", "model.umedsam", "--out", "again.umedsam"]);
    assert!(status == Some(1) && text.contains("not weights in safetensors: a model bundle"), "{text}");
    let (status, text) = run(&["checkpoint", "weights.safetensors", "--out", "again"]);
    assert!(
        status == Some(1) && text.contains("not a wheel or a PyTorch checkpoint: weights in safetensors"),
        "{text}"
    );
}
