//! DICOM and NIfTI through the command.

mod common;
#[path = "common/dicom.rs"]
mod dicom;

use std::fs;
use std::path::Path;

use common::{data, failure, files, out, umedsam};
use serde_json::{Value, json};
use umedsam_demo::read::{ReadOptions, read};

/// A ball of 300 in 64 x 48 x 12 voxels of 20, times two in a file of floats, with a matrix that turns it.
fn ball(path: &Path, volumes: i16) {
    let mut bytes = vec![0; 352];
    let mut put = |at: usize, field: &[u8]| bytes[at..][..field.len()].copy_from_slice(field);
    put(0, &348i32.to_le_bytes());
    for (i, d) in [if volumes > 1 { 4 } else { 3 }, 64i16, 48, 12, volumes, 1, 1, 1].iter().enumerate() {
        put(40 + 2 * i, &d.to_le_bytes());
    }
    put(70, &16i16.to_le_bytes());
    put(108, &[352f32, 2.0, 0.0].map(f32::to_le_bytes).concat());
    put(254, &1i16.to_le_bytes());
    let matrix = [-0.8f32, 0.0, 0.0, 30.0, 0.0, 0.0, 2.0, -10.0, 0.0, -0.8, 0.0, 50.0];
    put(280, &matrix.map(f32::to_le_bytes).concat());
    put(344, b"n+1\0");
    for _ in 0..volumes {
        for (z, y, x) in (0..12).flat_map(|z| (0..48).flat_map(move |y| (0..64).map(move |x| (z, y, x)))) {
            let within = (x - 30i32).pow(2) + (y - 24i32).pow(2) + (3 * (z - 5i32)).pow(2) < 140;
            bytes.extend((if within { 150f32 } else { 10.0 }).to_le_bytes());
        }
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_mask_lies_where_its_volume_lies() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    ball(&path("one.ball.nii"), 1);
    let around = ["--box3d", "18,12,2,42,36,8", "--json"];
    let run = |more: &[&str]| umedsam(folder.path(), &[&["segment"], more, &around].concat());
    let report: Value = serde_json::from_str(&out(&run(&["one.ball.nii", "--stats", "--overlay"]))).unwrap();
    assert_eq!(report["shape"], json!([12, 48, 64]));
    assert_eq!(report["applied"][0], json!({ "applied": "rescale", "slope": 2.0, "intercept": 0.0 }));
    let step = &report["intake"]["steps"][0];
    assert_eq!((&step["rule"], &step["low"], &step["high"]), (&json!("percentile"), &json!(20.0), &json!(300.0)));
    let measures = &report["objects"][0]["measures"];
    let volume = report["objects"][0]["size"].as_f64().unwrap() * 0.8 * 0.8 * 2.0;
    assert!((measures["volume"].as_f64().unwrap() - volume).abs() < 1e-3 * volume, "{measures}");
    assert_eq!(files(&path("out")), ["one.ball.nii", "one.ball.overlay.png"]);
    let options = ReadOptions::new();
    let (scan, mask) =
        (read(&path("one.ball.nii"), &options).unwrap(), read(&path("out/one.ball.nii"), &options).unwrap());
    assert_eq!((mask.affine, mask.size), (scan.affine, scan.size));
    let (values, labels) = (scan.values.to_f64(), mask.values.to_f64());
    let agree = values.iter().zip(&labels).filter(|(v, l)| (**v > 100.0) == (**l == 1.0)).count();
    assert!(agree * 100 > values.len() * 98, "{agree} of {}", values.len());

    // Its own results are passed over; a volume of four dimensions leaves a choice.
    fs::copy(path("out/one.ball.nii"), path("result.nii")).unwrap();
    let text = out(&run(&["."]));
    assert_eq!(text.lines().count(), 1, "{text}");
    ball(&path("several.nii"), 3);
    let message = failure(&run(&["several.nii"]));
    assert!(message.contains("several.nii: holds 3 volumes; --frame 0 to 2 chooses one"), "{message}");
    let report: Value =
        serde_json::from_str(&out(&run(&["several.nii", "--frame", "2", "--window", "300,600", "--box", "1,1,9,9"])))
            .unwrap();
    assert_eq!(report["applied"][0], json!({ "applied": "frame", "index": 2, "of": 3 }));
    assert!(report["applied"].to_string().contains("--box is for images: not used"), "{report}");
    assert_eq!(report["intake"]["steps"][0]["high"], 600.0);
    let message = failure(&umedsam(folder.path(), &["segment", "one.ball.nii"]));
    assert!(message.contains("one.ball.nii: a volume needs at least one --box3d"), "{message}");
    let message = failure(&umedsam(folder.path(), &["segment", "one.ball.nii", "--box", "1,1,9,9"]));
    assert!(message.contains("one.ball.nii: a volume of 12 slices, which needs --box3d"), "{message}");
    let message = failure(&run(&["one.ball.nii", "--window", "liver"]));
    assert!(
        message.contains("abdomen, lung, brain, mediastinum, bone, file, percentiles, auto, or CENTER,WIDTH"),
        "{message}"
    );
}

#[test]
fn a_box_in_one_slice_or_in_mm_finds_the_same_ball() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    ball(&path("ball.nii"), 1);
    let run = |more: &[&str]| {
        let text = out(&umedsam(folder.path(), &[&["segment", "ball.nii", "--json"], more].concat()));
        let mask = read(&path("out/ball.nii"), &ReadOptions::new()).unwrap();
        (serde_json::from_str::<Value>(&text).unwrap(), mask.values.to_f64())
    };
    // The ball is in slices 2 to 8, and there is nothing like it beyond.
    fs::write(path("slice.json"), "[[18,12,42,36]]").unwrap();
    let (report, followed) = run(&["--slice", "5", "--boxes", "slice.json"]);
    let object = &report["objects"][0];
    assert_eq!(object["start"], 5, "{report}");
    assert_eq!(object["followed"]["slices"], json!([2, 8]), "{report}");
    for end in ["before", "after"] {
        assert!(["lost", "empty"].contains(&object["followed"][end].as_str().unwrap()), "{report}");
    }
    let (report, boxed) = run(&["--box3d", "18,12,2,42,36,8"]);
    assert!(report["objects"][0]["followed"].is_null(), "{report}");
    assert!((3..=7).contains(&report["objects"][0]["start"].as_u64().unwrap()), "{report}");
    let count = |mask: &[f64]| mask.iter().filter(|v| **v > 0.0).count();
    let both = followed.iter().zip(&boxed).filter(|(a, b)| **a > 0.0 && **b > 0.0).count();
    assert!(
        2 * both * 100 > 97 * (count(&followed) + count(&boxed)),
        "{both}: {}, {}",
        count(&followed),
        count(&boxed)
    );

    // x counts to the left from 30, y to the feet from 50, and z to the front from -10, in steps of 0.8, 0.8 and 2 mm.
    let corners = "-3.6,-6,21.2,15.6,6,40.4";
    for more in [
        &["--mm", "ras", "--box3d", corners][..],
        &["--mm", "LPS", "--box3d", "-15.6,-6,21.2,3.6,6,40.4"],
        &["--boxes", "ball.mrk.json"],
        &["--mm", "ras", "--boxes", "ball.csv"],
    ] {
        let markup = json!({ "markups": [{ "type": "ROI", "coordinateSystem": "LPS", "center": [-6, 0, 30.8],
            "size": [19.2, 12, 19.2], "orientation": [-1, 0, 0, 0, -1, 0, 0, 0, 1] }] });
        fs::write(path("ball.mrk.json"), markup.to_string()).unwrap();
        fs::write(path("ball.csv"), format!("x0,y0,z0,x1,y1,z1\n{corners}\n")).unwrap();
        let (report, mask) = run(more);
        assert!(mask == boxed, "{more:?}");
        assert!(report["applied"].to_string().contains("box 1 is 18.0,12.0,2,42.0,36.0,8 in voxels"), "{report}");
    }

    for (more, expected) in [
        (&["--slice", "12", "--box", "18,12,42,36"][..], "ball.nii: slice 12: the volume has slices 0 to 11"),
        (&["--slice", "5"], "--slice needs at least one --box"),
        (&["--slice", "5", "--box3d", "18,12,2,42,36,8"], "--slice is for boxes of four numbers"),
        (&["--mm", "ras", "--box", "18,12,42,36"], "--mm is for boxes in volumes"),
        (&["--mm", "ras", "--boxes", "ball.mrk.json"], "--mm: a file of 3D Slicer says itself"),
        (&["--mm", "ras", "--box3d", "9,0,0,1,1,1"], "box 1: x range 9..1 mm;"),
        (&["--mm", "voxels", "--box3d", corners], "'voxels' is neither ras nor lps"),
        (&["--mm", "ras", "--box3d", "90,-6,21.2,99,6,40.4"], "box 1: x range -86.2"),
        (&["--boxes", "none.csv"], "none.csv: "),
        (
            &["--box3d", "18,12,2,42,36,8", "--stats", "--spacing", "1,1"],
            "ball.nii: a volume, whose --spacing is X,Y,Z",
        ),
    ] {
        let message = failure(&umedsam(folder.path(), &[&["segment", "ball.nii"], more].concat()));
        assert!(message.contains(expected), "{more:?}: {message}");
    }
    let (report, _) = run(&["--box3d", "18,12,2,42,36,8", "--stats", "--spacing", "1,1,3"]);
    assert!(report["applied"].to_string().contains("--spacing, 1 x 1 x 3 mm, not the file's own 0.8"), "{report}");
    let text = out(&umedsam(folder.path(), &["segment", "ball.nii", "--slice", "5", "--box", "18,12,42,36"]));
    assert!(text.contains("from slice 5: slices 2 to 8") && text.contains("before 2: "), "{text}");
}

#[test]
fn what_no_input_has_is_not_asked_for_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(data("assets/cell.png"), folder.path().join("cell.png")).unwrap();
    for more in [&["--box3d", "1,1,0,4,3,2"][..], &["--slice", "0"], &["--window", "lung"], &["--gaps"]] {
        let message = failure(&umedsam(folder.path(), &[&["segment", "cell.png", "--box", "1,1,9,9"], more].concat()));
        assert!(message.contains("are for DICOM, NIfTI and the like, and no input is any"), "{message}");
    }
    // A picture in a folder is the input, not what lies in folders beside it.
    fs::create_dir(folder.path().join("study")).unwrap();
    let slice = dicom::file(&dicom::slice(0, 2.5), "1.2.840.10008.1.2.1");
    fs::write(folder.path().join("study/IM0"), slice).unwrap();
    let text = out(&umedsam(folder.path(), &["segment", ".", "--box", "1,1,9,9", "--json"]));
    assert!(text.lines().count() == 1 && text.contains("cell.png"), "{text}");
}

#[test]
fn a_folder_of_dicom_is_one_volume() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("study/series")).unwrap();
    for z in 0..3 {
        let name = format!("study/series/IM{}", 9 - z);
        fs::write(folder.path().join(name), dicom::file(&dicom::slice(z, 2.5), "1.2.840.10008.1.2.1")).unwrap();
    }
    let run = |arguments: &[&str]| umedsam(folder.path(), &[&["segment"], arguments].concat());
    let text = out(&run(&["study", "--box3d", "1,1,0,4,3,2", "--format", "nifti"]));
    for words in ["study (3x4x6)", "window -160 to 240 (as given)", "3 slices in order of position, 2.5000 mm apart"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.contains("the abdomen's") && text.contains("values times 1 plus -1000"), "{text}");
    let options = ReadOptions::new();
    let scan = read(&folder.path().join("study"), &options).unwrap();
    let mask = read(&folder.path().join("out/study.nii.gz"), &options).unwrap();
    assert_eq!((mask.affine, mask.size), (scan.affine, scan.size));
    // One file of it is an image.
    let text = out(&run(&["study/series/IM9", "--box", "1,1,4,3"]));
    assert!(text.contains("IM9 (4x6)") && text.contains("out/IM9.seg.dcm"), "{text}");

    // Segmentations are no images: passed over beside the series, and replaced like other results.
    out(&run(&["study", "--box3d", "1,1,0,4,3,2"]));
    let first = fs::read(folder.path().join("out/study.seg.dcm")).unwrap();
    fs::write(folder.path().join("study/series/result"), &first).unwrap();
    let text = out(&run(&["study", "--box3d", "1,1,0,4,3,2"]));
    assert!(text.contains("result (no image: a DICOM segmentation)") && text.contains("(3x4x6)"), "{text}");
    let message = failure(&run(&["out/study.seg.dcm", "--box", "1,1,4,3"]));
    assert!(message.contains("every input is a result of an earlier run"), "{message}");
    ball(&folder.path().join("one.nii"), 1);
    fs::write(folder.path().join("one.png"), "").unwrap();
    for (input, words) in [
        ("out/study.nii.gz", "every input is a result"),
        ("one.nii", "one.nii: --format seg is for DICOM, to whose images a segmentation refers"),
        ("one.png", "one.png: --format seg is for DICOM"),
    ] {
        let message = failure(&run(&[input, "--box", "1,1,4,3", "--box3d", "1,1,0,4,3,2", "--format", "seg"]));
        assert!(message.contains(words), "{message}");
    }
    let unnamed = dicom::Slice { series: "no UID", ..dicom::slice(0, 2.5) };
    fs::write(folder.path().join("IM0"), dicom::file(&unnamed, "1.2.840.10008.1.2.1")).unwrap();
    let message = failure(&run(&["IM0", "--box", "1,1,4,3"]));
    assert!(message.contains("IM0: SeriesInstanceUID is 'no UID'") && message.contains("--format nifti"), "{message}");
    assert!(!folder.path().join("out/IM0.seg.dcm").exists());
}
