//! Shares of a folder, and what is done already.

mod common;
#[path = "common/dicom.rs"]
mod dicom;
#[path = "common/nifti.rs"]
mod made;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use common::{err, files, npz, out, umedsam};

const PLAIN: [[f32; 4]; 3] = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]];

/// Runs the command once for each of three shares at the same time: by GNU parallel where it is at hand, else by xargs.
fn in_three(folder: &Path, words: &str) {
    let program = env!("CARGO_BIN_EXE_umedsam");
    let have = Command::new("sh").args(["-c", "parallel --version 2>/dev/null | grep -q '^GNU'"]).status().unwrap();
    let line = match have.success() {
        true => format!("parallel {program} {words} --shard {{}}/3 ::: 1 2 3"),
        false => format!("printf '%s\\n' 1 2 3 | xargs -P 3 -I{{}} {program} {words} --shard {{}}/3"),
    };
    let output = Command::new("sh").current_dir(folder).args(["-c", &line]).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
}

fn times(folder: &Path) -> Vec<(String, SystemTime)> {
    let time = |name: String| {
        let time = folder.join(&name).metadata().unwrap().modified().unwrap();
        (name, time)
    };
    files(folder).into_iter().map(time).collect()
}

#[test]
fn shares_at_the_same_time_make_what_one_run_makes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("in")).unwrap();
    for i in 0..5u8 {
        let pixels: Vec<u8> = (0..48).map(|p| if (10 + i..30).contains(&p) { 200 } else { 20 }).collect();
        let boxes: Vec<u8> = [0i32, 1, 7, 3].iter().flat_map(|v| v.to_le_bytes()).collect();
        npz(&path(&format!("in/{i}.npz")), &[("imgs", "|u1", &[6, 8], &pixels), ("boxes", "<i4", &[1, 4], &boxes)]);
    }
    out(&umedsam(folder.path(), &["segment", "in", "--out", "one"]));
    in_three(folder.path(), "segment in --out shared --threads 1");
    assert_eq!(files(&path("shared")), files(&path("one")));
    for name in files(&path("one")) {
        assert_eq!(fs::read(path("one").join(&name)).unwrap(), fs::read(path("shared").join(&name)).unwrap(), "{name}");
    }

    // What is there is not made again; what is missing, damaged or older than its input is.
    fs::remove_file(path("shared/1.npz")).unwrap();
    let before = times(&path("shared"));
    fs::copy(path("in/3.npz"), path("new")).unwrap();
    fs::rename(path("new"), path("in/3.npz")).unwrap();
    let output = umedsam(folder.path(), &["segment", "in", "--out", "shared", "--resume", "--json"]);
    assert_eq!(out(&output).lines().count(), 2, "{}", out(&output));
    assert!(err(&output).contains("3 of 5 inputs are done already"), "{}", err(&output));
    let after = times(&path("shared"));
    assert_eq!(after.len(), 5);
    let same = before.iter().filter(|entry| after.contains(entry)).count();
    assert_eq!(same, 3, "{before:?} {after:?}");
    // A header is as new as its values, and a folder as what is in it.
    for (name, part) in [("scan.mhd", "scan.raw"), ("series", "series/slice")] {
        fs::create_dir_all(path("series")).unwrap();
        let header =
            "ObjectType = Image\nNDims = 3\nDimSize = 8 8 2\nElementType = MET_UCHAR\nElementDataFile = scan.raw\n";
        fs::write(path("scan.mhd"), header).unwrap();
        fs::write(path("scan.raw"), [7u8; 128]).unwrap();
        fs::write(path("series/slice"), dicom::file(&dicom::slice(0, 2.5), "1.2.840.10008.1.2.1")).unwrap();
        let prompt = if name == "series" { ["--box", "1,1,4,3"] } else { ["--box3d", "1,1,0,6,6,1"] };
        let run = || {
            let run = umedsam(folder.path(), &[&["segment", name, "--resume", "--json"][..], &prompt].concat());
            out(&run).lines().count()
        };
        assert_eq!((run(), run()), (1, 0), "{name}");
        let later = SystemTime::now() + std::time::Duration::from_secs(9);
        fs::File::options().write(true).open(path(part)).unwrap().set_modified(later).unwrap();
        assert_eq!(run(), 1, "{name}");
    }
    let output = umedsam(folder.path(), &["segment", "in", "--out", "shared", "--shard", "6/7", "--json"]);
    assert_eq!(out(&output), "", "more shares than inputs");
}

#[test]
fn cases_are_made_in_shares_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("in")).unwrap();
    fs::create_dir(path("truth")).unwrap();
    for i in 0..4 {
        made::nifti(&path(&format!("in/{i}.nii")), [6, 5, 4], PLAIN, |[x, y, z]| (x + y * z) as i16);
        made::nifti(&path(&format!("truth/{i}.nii")), [6, 5, 4], PLAIN, |[x, ..]| (x / 2) as i16);
    }
    in_three(folder.path(), "convert in truth --modality MR");
    assert_eq!(files(&path("cases")), ["0", "1", "2", "3"].map(|i| format!("3DBox_MR_{i}.npz")));
    fs::remove_file(path("cases/3DBox_MR_2.npz")).unwrap();
    let output = umedsam(folder.path(), &["convert", "in", "truth", "--modality", "MR", "--resume", "--json"]);
    assert!(out(&output).lines().count() == 1 && out(&output).contains("in/2.nii"), "{}", out(&output));
    assert_eq!(files(&path("cases")).len(), 4);
}
