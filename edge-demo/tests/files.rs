//! What is read, what is written, and what is left alone.

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{data, err, failure, files, npz, out, umedsam};
use umedsam::npz::{Limits, read_segs};

const BOX: [&str; 2] = ["--box", "1,1,30,30"];

fn picture(path: &Path) {
    image::GrayImage::from_fn(50, 40, |x, y| image::Luma([(x * y % 251) as u8])).save(path).unwrap();
}

#[test]
fn nobodys_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |more: &[&str]| umedsam(folder.path(), &[&["segment"], more, &BOX].concat());
    picture(&path("scan.png"));
    picture(&path("scan.mask.png"));
    let theirs = fs::read(path("scan.mask.png")).unwrap();

    let message = failure(&run(&["scan.png", "--out", "."]));
    assert!(message.contains("scan.mask.png: is there, and is no result of umedsam; --force replaces it"), "{message}");
    let message = failure(&run(&[".", "--out", "."]));
    assert!(message.contains("scan.mask.png: an input, which a result would replace"), "{message}");
    assert!(fs::read(path("scan.mask.png")).unwrap() == theirs);
    // All of it is found before the first result is written.
    picture(&path("a.png"));
    failure(&run(&["a.png", "scan.png", "--out", "."]));
    assert_eq!(files(folder.path()), ["a.png", "scan.mask.png", "scan.png"]);

    out(&run(&["scan.png", "--out", ".", "--force"]));
    assert!(fs::read(path("scan.mask.png")).unwrap() != theirs);
    // A second run takes its own results neither for inputs, whatever they are called, nor for somebody else's.
    fs::rename(path("scan.mask.png"), path("renamed.png")).unwrap();
    for _ in 0..2 {
        let output = run(&[".", "--out", ".", "--overlay", "--json"]);
        assert_eq!(out(&output).lines().count(), 2, "a.png and scan.png");
        assert!(err(&output).contains("results of earlier runs are passed over, such as ./"), "{}", err(&output));
    }
    let message = failure(&run(&["renamed.png"]));
    assert!(message.contains("nothing to segment: every input is a result of an earlier run"), "{message}");

    // Cases, too.
    discs(&path("case.npz"), [1, 2]);
    let case = |more: &[&str]| umedsam(folder.path(), &[&["segment", "case.npz"], more].concat());
    let message = failure(&case(&["--out", "."]));
    assert!(message.contains("case.npz: an input, which a result would replace"), "{message}");
    out(&case(&["--out", "segs"]));
    out(&case(&["--out", "segs"]));
    fs::copy(path("case.npz"), path("segs/case.npz")).unwrap();
    assert!(failure(&case(&["--out", "segs"])).contains("is no result of umedsam"));
    out(&case(&["--out", ".", "--force"]));
    assert_eq!(read_segs(&path("case.npz"), &Limits::new()).unwrap().1, [80, 120]);

    // Tables and pages, which say what they are by what they begin with.
    let run = |more: &[&str]| run(&[&["scan.png", "--out", "t"], more].concat());
    for option in ["--csv", "--report"] {
        for theirs in ["scan.png", "case.npz"] {
            let before = fs::read(path(theirs)).unwrap();
            let message = failure(&run(&[option, theirs]));
            assert!(message.contains(&format!("{theirs}: is there, and is no result of umedsam")), "{message}");
            assert!(fs::read(path(theirs)).unwrap() == before);
        }
        let message = failure(&run(&[option, "t/../t/scan.mask.png"]));
        assert!(message.contains("another result would be there, too"), "{message}");
        assert!(failure(&run(&[option, "absent/table"])).contains("absent/table: write"));
        assert!(!path("t/scan.mask.png").exists(), "all of it is found before the work");
        (0..2).for_each(|_| drop(out(&run(&[option, &format!("t/{option}")]))));
        fs::remove_file(path("t/scan.mask.png")).unwrap();
    }
    assert!(failure(&run(&["--csv", "t/same", "--report", "t/same"])).contains("another result would be there, too"));
    if cfg!(unix) {
        let text = out(&run(&["--csv", "/dev/stdout"]));
        assert!(text.contains("\nscan.png,1,"), "{text}");
    }
    let message = failure(&umedsam(folder.path(), &["eval", "case.npz", "segs/case.npz", "--csv", "scan.png"]));
    assert!(message.contains("scan.png: is there"), "{message}");

    fs::create_dir(path("b")).unwrap();
    picture(&path("b/scan.png"));
    let run = |more: &[&str]| umedsam(folder.path(), &[&["segment"], more, &BOX].concat());
    let message = failure(&run(&["scan.png", "b/scan.png"]));
    assert!(message.contains("scan.png and b/scan.png would write the same result, out/scan.mask.png"), "{message}");
}

#[test]
fn a_folder_may_hold_more_than_files_to_segment() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join("in").join(name);
    fs::create_dir_all(path("folder.npz")).unwrap();
    discs(&path("case.npz"), [1, 2]);
    fs::write(path("._case.npz"), "attributes of macOS").unwrap();
    let made = Command::new("mkfifo").arg(path("pipe.npz")).status();
    let output = umedsam(folder.path(), &["segment", "in", "--json"]);
    assert_eq!(out(&output).lines().count(), 1);
    assert!(err(&output).contains("in/folder.npz: passed over: not a regular file"), "{}", err(&output));
    out(&umedsam(folder.path(), &["eval", "in", "out"]));
    if made.is_ok_and(|status| status.success()) {
        assert!(err(&output).contains("in/pipe.npz: passed over"), "{}", err(&output));
        let message = failure(&umedsam(folder.path(), &["segment", "in/pipe.npz"]));
        assert!(message.contains("in/pipe.npz: not a regular file"), "{message}");
    }
    // Nothing is encoded for a result that cannot be written.
    let long = format!("{}.png", "n".repeat(250));
    picture(&folder.path().join(&long));
    let message = failure(&umedsam(folder.path(), &[&["segment", &long], &BOX[..]].concat()));
    assert!(message.contains(".mask.png: write: ") && !message.contains("inputs failed"), "{message}");
}

#[test]
fn one_case_is_scored_by_one_file() {
    let folder = tempfile::tempdir().unwrap();
    discs(&folder.path().join("case.npz"), [1, 2]);
    out(&umedsam(folder.path(), &["segment", "case.npz"]));
    fs::rename(folder.path().join("out/case.npz"), folder.path().join("mine.npz")).unwrap();
    let text = out(&umedsam(folder.path(), &["eval", "case.npz", "mine.npz"]));
    assert!(text.contains("mean"), "{text}");
    let message = failure(&umedsam(folder.path(), &["eval", &data("../core/tests/data"), "mine.npz"]));
    assert!(message.contains("mine.npz: a file of segmentations is for one case"), "{message}");
}

/// Writes a case of two discs, the right one first, with these numbers in its truth, and returns that.
fn discs(path: &Path, numbers: [u16; 2]) -> Vec<u16> {
    let number = |x: i32, y: i32| {
        let within = |cx: i32| (x - cx).pow(2) + (y - 40).pow(2) < 500;
        if within(30) { numbers[1] } else { numbers[0] * u16::from(within(85)) }
    };
    let truth: Vec<u16> = (0..80).flat_map(|y| (0..120).map(move |x| number(x, y))).collect();
    let pixels: Vec<u8> = truth.iter().map(|&l| if l > 0 { 200 } else { 20 }).collect();
    let boxes: Vec<u8> = [62i16, 17, 108, 63, 7, 17, 53, 63].iter().flat_map(|v| v.to_le_bytes()).collect();
    let gts: Vec<u8> = truth.iter().flat_map(|v| v.to_le_bytes()).collect();
    npz(
        path,
        &[("imgs", "|u1", &[80, 120], &pixels), ("boxes", "<i2", &[2, 4], &boxes), ("gts", "<u2", &[80, 120], &gts)],
    );
    truth
}

/// The boxes of the case name the objects that its truth numbers 7 and 300.
#[test]
fn a_case_keeps_its_own_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let case = folder.path().join("own.npz").display().to_string();
    let truth = discs(case.as_ref(), [300, 7]);
    let text = out(&umedsam(folder.path(), &["segment", &case, "--json"]));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["own_labels"], true);
    let numbers: Vec<u64> =
        report["objects"].as_array().unwrap().iter().map(|o| o["label"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [300, 7]);
    let (labels, _) = read_segs(&folder.path().join("out/own.npz"), &Limits::new()).unwrap();
    let agree = labels.iter().zip(&truth).filter(|(a, b)| a == b).count();
    assert!(agree > 9300, "{agree} of 9600 pixels");
    let text = out(&umedsam(folder.path(), &["segment", &case]));
    assert!(text.contains("numbered as its truth numbers them") && text.contains("object 300"), "{text}");
}

/// Boxes in dictionaries: each object begins in the slice of its box, and stays within its slices.
#[test]
fn a_case_of_later_challenges_begins_where_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let case = data("../core/tests/data/later.npz");
    let text = out(&umedsam(folder.path(), &["segment", &case, "--json"]));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let starts: Vec<u64> = report["objects"].as_array().unwrap().iter().map(|o| o["start"].as_u64().unwrap()).collect();
    assert_eq!(starts, [2, 5, 3]);
    let (labels, shape) = read_segs(&folder.path().join("out/later.npz"), &Limits::new()).unwrap();
    assert_eq!(shape, [6, 5, 7]);
    let beyond = |label: u16, slices: &[usize]| slices.iter().any(|z| labels[35 * z..][..35].contains(&label));
    assert!(!beyond(1, &[0, 5]) && !beyond(3, &[0, 1, 4, 5]), "{labels:?}");
}

#[test]
fn what_is_no_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (bytes, words) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"[..], "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x08\x0a\x12\x07pytorch", "an ONNX graph"),
        (
            b"\x3a\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}    \0\0\0\0",
            "`umedsam-export bundle` takes",
        ),
        (b"", "an empty file"),
    ] {
        fs::write(folder.path().join("model"), bytes).unwrap();
        let message = failure(&umedsam(folder.path(), &["info", "model"]));
        assert!(message.contains("model: not a model bundle: ") && message.contains(words), "{message}");
    }
}

/// A reader that left and a full disk do not end the work; what is lost on a full disk makes it fail.
#[test]
fn the_work_goes_on_when_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b.png"] {
        picture(&folder.path().join(name));
    }
    let command = |inputs: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_umedsam"));
        command.current_dir(folder.path()).arg("segment").args(inputs).args(BOX).stderr(Stdio::piped());
        command
    };
    let written = || {
        let names = files(&folder.path().join("out"));
        fs::remove_dir_all(folder.path().join("out")).unwrap();
        names
    };
    let mut child = command(&["a.png", "b.png"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    // What the gate said of the model may be told, and nothing else.
    assert!(output.status.success(), "{}", err(&output));
    assert!(err(&output).lines().all(|line| line.starts_with("umedsam: validation: ")), "{}", err(&output));
    assert_eq!(written(), ["a.mask.png", "b.mask.png"]);

    if let Ok(full) = File::options().write(true).open("/dev/full") {
        let output = command(&["a.png", "b.png"]).stdout(full.try_clone().unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", err(&output));
        assert_eq!(err(&output).matches("standard output: ").count(), 1, "{}", err(&output));
        assert_eq!(written(), ["a.mask.png", "b.mask.png"]);
        // Nor does a standard error that takes nothing.
        fs::write(folder.path().join("damaged.png"), "no picture").unwrap();
        let output = command(&["damaged.png", "a.png"]).stderr(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(written(), ["a.mask.png"]);
    }
}
