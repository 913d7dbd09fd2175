//! `segment --cache`: a second run encodes nothing and gives the same files.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{data, err, failure, files, out, umedsam};
use serde_json::Value;

struct Place {
    folder: tempfile::TempDir,
    inputs: Vec<String>,
}

impl Place {
    fn new(inputs: &[&str]) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), inputs: inputs.iter().map(|path| data(path)).collect() }
    }

    fn arguments<'a>(&'a self, to: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let inputs = self.inputs.iter().map(String::as_str);
        ["segment", "--json", "--out", to].into_iter().chain(inputs).chain(more.iter().copied()).collect()
    }

    /// What was reported of each input, and what was said beside it.
    fn segment(&self, to: &str, more: &[&str]) -> (Vec<Value>, String) {
        let output = umedsam(self.folder.path(), &self.arguments(to, more));
        let reports = out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (reports, err(&output))
    }

    fn kept(&self, cache: &str) -> Vec<PathBuf> {
        files(&self.path(cache)).iter().map(|name| self.path(cache).join(name)).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn sum(reports: &[Value], field: &str) -> u64 {
    reports.iter().map(|report| report[field].as_u64().unwrap()).sum()
}

fn objects(reports: &[Value]) -> Vec<&Value> {
    reports.iter().map(|report| &report["objects"]).collect()
}

fn assert_same_files(a: &Path, b: &Path) {
    assert!(files(a) == files(b) && !files(a).is_empty());
    for name in files(a) {
        assert!(fs::read(a.join(&name)).unwrap() == fs::read(b.join(&name)).unwrap(), "{name}");
    }
}

#[test]
fn a_second_run_encodes_nothing_and_a_damaged_file_is_made_anew() {
    let place = Place::new(&["../core/tests/data/plain.npz", "../tests/data/gate/3DBox_MR_bodies.npz"]);
    let (plain, said) = place.segment("plain", &[]);
    let slices = sum(&plain, "encodes");
    assert!(slices > 3 && sum(&plain, "cache_hits") == 0 && said.is_empty(), "{slices} {said}");
    let run = |to: &str| {
        let (reports, said) = place.segment(to, &["--cache", "kept"]);
        assert_eq!(objects(&reports), objects(&plain), "{to}");
        assert_same_files(&place.path("plain"), &place.path(to));
        ((sum(&reports, "encodes"), sum(&reports, "cache_hits")), said)
    };
    assert_eq!(run("first"), ((slices, 0), String::new()));
    assert_eq!(run("second"), ((0, slices), String::new()));

    // Cut, damaged, another image's, and no embedding at all.
    let kept = place.kept("kept");
    assert_eq!(kept.len() as u64, slices);
    let mut bytes = fs::read(&kept[0]).unwrap();
    fs::write(&kept[1], &bytes[..bytes.len() / 2]).unwrap();
    fs::copy(&kept[0], &kept[2]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&kept[0], &bytes).unwrap();
    fs::write(&kept[3], "notes").unwrap();
    let (counts, said) = run("third");
    assert_eq!(counts, (4, slices - 4));
    assert_eq!(said.lines().filter(|line| line.starts_with("umedsam: cache: kept")).count(), 4, "{said}");
    for problem in ["SHA-256 of the values differs", "another image or model", "no embedding"] {
        assert!(said.contains(problem), "{said}");
    }
    assert_eq!(run("fourth"), ((0, slices), String::new()));
}

#[test]
fn other_boxes_have_the_same_image_and_other_precisions_another() {
    let place = Place::new(&["assets/cell.png"]);
    let segment = |more: &[&str]| {
        let (reports, _) = place.segment("out", &[&["--cache", "kept"], more].concat());
        (sum(&reports, "encodes"), sum(&reports, "cache_hits"))
    };
    let cell = ["--box", "360,305,496,442"];
    assert_eq!(segment(&cell), (1, 0));
    assert_eq!(segment(&["--box", "350,300,500,450"]), (0, 1));
    assert_eq!(segment(&[&cell[..], &["--uncertainty", "2"]].concat()), (0, 1));
    for zoom in [(1, 0), (0, 1)] {
        assert_eq!(segment(&[&cell[..], &["--zoom", "auto"]].concat()), zoom);
    }
    for precision in [(1, 0), (0, 1)] {
        assert_eq!(segment(&[&cell[..], &["--precision", "f32"]].concat()), precision);
    }
    assert_eq!(place.kept("kept").len(), 3);
}

#[test]
fn the_folder_stays_within_its_bound() {
    let place = Place::new(&["../core/tests/data/volume.npz"]);
    let (reports, _) = place.segment("out", &["--cache", "kept", "--cache-size", "9"]);
    let bytes: u64 = place.kept("kept").iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(sum(&reports, "encodes") == 3 && place.kept("kept").len() == 2 && bytes <= 9 << 20, "{bytes}");

    fs::write(place.path("file"), "no folder").unwrap();
    let refused = |more: &[&str]| failure(&umedsam(place.folder.path(), &place.arguments("out", more)));
    assert!(refused(&["--cache", "file"]).contains("umedsam: file: "));
    assert!(refused(&["--cache", "kept", "--cache-size", "4"]).contains("4 is not in 8.."));
    assert!(refused(&["--cache-size", "9"]).contains("--cache <DIR>"));
}

#[test]
fn two_programs_may_share_a_folder() {
    let place = Place::new(&["../core/tests/data/volume.npz", "../core/tests/data/plain.npz"]);
    let (plain, _) = place.segment("plain", &[]);
    // Room for fewer than they encode, so that each also removes what the other has written.
    let more = ["--cache", "kept", "--cache-size", "9"];
    std::thread::scope(|scope| {
        for to in ["a", "b", "c"] {
            let (place, plain) = (&place, &plain);
            scope.spawn(move || {
                let (reports, said) = place.segment(to, &more);
                assert_eq!(objects(&reports), objects(plain));
                assert_same_files(&place.path("plain"), &place.path(to));
                assert!(said.is_empty(), "{said}");
            });
        }
    });
    assert!(place.kept("kept").iter().all(|path| path.extension().is_some_and(|e| e == "safetensors")));
}
