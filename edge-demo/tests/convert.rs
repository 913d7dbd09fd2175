//! Images and label maps to cases and scores, through the command.

mod common;
#[path = "common/dicom.rs"]
mod dicom;
#[path = "common/nifti.rs"]
mod made;

use std::fs;

use common::{failure, files, out, umedsam};
use made::nifti;
use serde_json::{Value, json};
use umedsam::npz::{Boxes, Case, Labelled, Limits, Truth, read_affine};
use umedsam_demo::scan::Affine;

/// x to the left, y to the head, z to the front.
const CORONAL: [[f32; 4]; 3] = [[-0.8, 0.0, 0.0, 30.0], [0.0, 0.0, 2.0, -10.0], [0.0, 0.8, 0.0, 50.0]];
const SIZE: [i16; 3] = [20, 16, 9];

/// A bar of 5 and a block of 7, and their image.
fn label([x, y, z]: [i32; 3]) -> i16 {
    match (x, y, z) {
        (3..=9, 4..=6, 2..=4) => 5,
        (12..=17, 8..=13, 3..=7) => 7,
        _ => 0,
    }
}

fn image(at: [i32; 3]) -> i16 {
    40 + 20 * label(at) + at[0] as i16
}

/// The place of a voxel in CORONAL.
fn place([x, y, z]: [i32; 3]) -> [f64; 3] {
    CORONAL.map(|[a, b, c, o]| f64::from(a * x as f32 + b * y as f32 + c * z as f32 + o))
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn nifti_becomes_cases_that_are_trained_and_scored() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("in")).unwrap();
    fs::create_dir_all(path("truth")).unwrap();
    nifti(&path("in/a_0000.nii"), SIZE, CORONAL, image);
    nifti(&path("truth/a.nii"), SIZE, CORONAL, label);
    let run = |arguments: &[&str]| umedsam(folder.path(), arguments);
    // Nothing is its own label map, whose values would be learnt as labels, or its own score.
    for (command, pair) in [("convert", ["in", "in"]), ("convert", ["in/a_0000.nii", "./in/a_0000.nii"])] {
        let message = failure(&run(&[command, pair[0], pair[1], "--modality", "CT"]));
        assert!(message.contains("images and label maps are to be apart"), "{message}");
    }
    assert!(failure(&run(&["eval", "truth", "truth"])).contains("is not compared with itself"));
    let convert = ["convert", "in", "truth", "--modality", "CT", "--labels", "7=1,5=2", "--orient", "LPS", "--json"];
    let reports = json_lines(&out(&run(&convert)));
    let report = &reports[0];
    assert_eq!(report["objects"][0], json!({ "label": 1, "from": [7], "size": 6 * 6 * 5 }));
    assert_eq!((&report["shape"], &report["axes"]), (&json!([16, 9, 20]), &json!("LPS")));
    assert!(report["applied"].to_string().contains("axes that point to LSA turned to LPS"), "{report}");
    let case = path("cases/3DBox_CT_a_0000.npz");
    assert_eq!(files(&path("cases")), ["3DBox_CT_a_0000.npz"]);

    // Every voxel is where it was.
    let limits = Limits::new();
    let found = Labelled::read(&case, &limits).unwrap();
    let affine = Affine(read_affine(&case, &limits).unwrap().unwrap());
    let truth = Truth::read(&case, &limits).unwrap();
    assert_eq!(
        (truth.spacing.unwrap().map(|v| (v * 1e6).round() / 1e6), affine.axes()),
        ([0.8, 2.0, 0.8], "LPS".into())
    );
    truth.of_boxes().unwrap();
    let inverse = |p: [f64; 3]| {
        [(30.0 - p[0]) / 0.8, (p[2] - 50.0) / 0.8, (p[1] + 10.0) / 2.0].map(|v| {
            assert!((v - v.round()).abs() < 1e-4);
            v.round() as i32
        })
    };
    for (i, (&pixel, &label_there)) in found.pixels.iter().zip(&found.labels).enumerate() {
        let at = inverse(affine.place([(i % 20) as f64, (i / 20 % 9) as f64, (i / 180) as f64]));
        assert!(
            place(at)
                .iter()
                .zip(affine.place([(i % 20) as f64, (i / 20 % 9) as f64, (i / 180) as f64]))
                .all(|(a, b)| (a - b).abs() < 1e-4)
        );
        let expected = [0, 2, 1][usize::from(label(at) > 0) + usize::from(label(at) == 7)];
        assert_eq!((label_there, pixel), (expected, ((f64::from(image(at)) + 160.0) / 400.0 * 255.0) as u8), "{at:?}");
    }
    let Boxes::Volume(boxes) = Case::read(&case, &limits).unwrap().boxes else { panic!("boxes") };
    assert_eq!(boxes[0], umedsam::VoxelBox::new(12.0, 1.0, 8.0, 17.0, 5.0, 13.0));

    // The same label map scores fully where it lies, whatever its axes; one voxel beside it is told.
    let score = |arguments: &[&str]| -> Value { serde_json::from_str(&out(&run(arguments))).unwrap() };
    fs::create_dir_all(path("segs")).unwrap();
    nifti(&path("segs/a_0000.nii"), SIZE, CORONAL, |at| {
        [0, 2, 1][usize::from(label(at) > 0) + usize::from(label(at) == 7)]
    });
    let report = score(&["eval", "cases", "segs", "--json"]);
    assert_eq!((&report["cases"][0]["dsc"], &report["cases"][0]["nsd"]), (&json!(1.0), &json!(1.0)));
    assert_eq!(report["rows"][0]["modality"], "CT");
    let report = score(&["eval", "truth/a.nii", "segs/a_0000.nii", "--labels", "7=1,5=2", "--json"]);
    assert_eq!((&report["cases"][0]["dsc"], &report["cases"][0]["labels"]), (&json!(1.0), &json!(2)));
    let mut moved = CORONAL;
    moved[2][3] += 0.8;
    nifti(&path("segs/a_0000.nii"), SIZE, moved, label);
    let message = failure(&run(&["eval", "cases", "segs"]));
    assert!(message.contains("a_0000.nii: the label map reaches beyond the image"), "{message}");
    nifti(&path("truth/a.nii"), [20, 16, 8], CORONAL, label);
    let message = failure(&run(&convert));
    assert!(message.contains("a.nii: the label map has 20x16x8 voxels, the image 20x9x16"), "{message}");

    // What is segmented from the case is scored against it.
    out(&run(&["segment", "cases", "--threads", "1"]));
    let report = score(&["eval", "cases", "out", "--json"]);
    assert!(report["cases"][0]["dsc"].as_f64().unwrap() > 0.5, "{report}");
}

#[test]
fn what_has_no_counterpart_or_no_label_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("in")).unwrap();
    fs::create_dir_all(path("truth")).unwrap();
    for name in ["a", "b", "c"] {
        nifti(&path(&format!("in/{name}.nii")), SIZE, CORONAL, image);
    }
    nifti(&path("truth/a.seg.nii"), SIZE, CORONAL, label);
    nifti(&path("truth/c.nii"), SIZE, CORONAL, |_| 0);
    nifti(&path("truth/d.nii"), SIZE, CORONAL, |_| 0);
    let run = |more: &[&str]| umedsam(folder.path(), &[&["convert", "in", "truth", "--json"], more].concat());
    let output = run(&[]);
    let message = failure(&output);
    for words in [
        "in/b.nii: no label map of this name in truth",
        "truth/c.nii: none of the labels",
        "truth/d.nii: no image of this name",
        "3 of 4 images and label maps failed",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
    let lines = json_lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(lines.iter().filter(|line| line["error"].is_string()).count(), 3);
    assert_eq!(files(&path("cases")), ["a.npz"]);
    // Its own numbers stay, unless they are to be 1, 2, 3.
    let labels = |name: &str| Truth::read(&path("cases").join(name), &Limits::new()).unwrap().labels;
    assert!(labels("a.npz").contains(&7) && !labels("a.npz").contains(&1));
    fs::remove_file(path("in/b.nii")).unwrap();
    fs::remove_file(path("truth/d.nii")).unwrap();
    let text = out(&run(&["--renumber", "--skip-empty"]));
    assert!(json_lines(&text)[1]["written"].is_null(), "{text}");
    assert_eq!(labels("a.npz").iter().max(), Some(&2));
    let message = failure(&run(&["--labels", "5,9", "--skip-empty"]));
    assert!(message.contains("label 9 is in no label map"), "{message}");
    fs::write(path("cases/a.npz"), "somebody's").unwrap();
    let message = failure(&run(&["--skip-empty"]));
    assert!(message.contains("a.npz: is there, and is no case of umedsam convert"), "{message}");
}

#[test]
fn a_segmentation_of_dicom_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("study")).unwrap();
    for z in 0..5 {
        let slice = dicom::file(&dicom::slice(z, 2.5), "1.2.840.10008.1.2.1");
        fs::write(folder.path().join(format!("study/IM{}", 9 - z)), slice).unwrap();
    }
    let run = |arguments: &[&str]| umedsam(folder.path(), arguments);
    let boxes = ["--box3d", "0,0,1,2,3,3", "--box3d", "3,1,0,5,3,2"];
    out(&run(&[&["segment", "study"], &boxes[..]].concat()));
    out(&run(&[&["segment", "study", "--format", "nifti"], &boxes[..]].concat()));
    assert_eq!(files(&folder.path().join("out")), ["study.nii.gz", "study.seg.dcm"]);
    for (map, cases) in [("out/study.seg.dcm", "seg"), ("out/study.nii.gz", "nifti")] {
        out(&run(&["convert", "study", map, "--out", cases]));
    }
    let read = |cases: &str| {
        let path = folder.path().join(cases).join("3DBox_CT_study.npz");
        let limits = Limits::new();
        (Labelled::read(&path, &limits).unwrap(), read_affine(&path, &limits).unwrap().unwrap())
    };
    let ((seg, place), (nifti, other)) = (read("seg"), read("nifti"));
    assert!(seg.labels == nifti.labels && seg.pixels == nifti.pixels && place == other);
    assert!(seg.labels.contains(&1) && seg.labels.contains(&2) && seg.labels.contains(&0), "{:?}", seg.labels);
    // Against each other, in both directions, and against a copy of itself.
    fs::copy(folder.path().join("out/study.seg.dcm"), folder.path().join("copy.dcm")).unwrap();
    for [truth, segs] in [
        ["out/study.seg.dcm", "out/study.nii.gz"],
        ["out/study.nii.gz", "out/study.seg.dcm"],
        ["copy.dcm", "out/study.seg.dcm"],
        ["seg", "out"],
    ] {
        if truth == "seg" {
            fs::remove_file(folder.path().join("out/study.nii.gz")).unwrap();
        }
        let report: Value = serde_json::from_str(&out(&run(&["eval", truth, segs, "--json"]))).unwrap();
        assert_eq!(report["cases"][0]["dsc"], 1.0, "{truth} {segs}: {report}");
    }
    // Of another series.
    let other =
        |z| dicom::Slice { position: format!("-10\\20.3\\{}", 30.0 + f64::from(z) * 2.5), ..dicom::slice(z, 2.5) };
    fs::create_dir(folder.path().join("other")).unwrap();
    for z in 0..5 {
        fs::write(folder.path().join(format!("other/{z}")), dicom::file(&other(z), "1.2.840.10008.1.2.1")).unwrap();
    }
    let message = failure(&run(&["convert", "other", "out/study.seg.dcm"]));
    assert!(message.contains("study.seg.dcm: the label map lies elsewhere than the image"), "{message}");
}

#[test]
fn masks_of_pictures_are_gray_or_indexed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("in")).unwrap();
    fs::create_dir_all(path("masks")).unwrap();
    let size = (21u32, 10u32);
    let value = |x: u32, y: u32| u8::from(x > 4 && x < 9 && y > 2) * 2 + u8::from(x > 11 && x < 15 && y < 6);
    for name in ["a.png", "b.png", "c.png"] {
        let pixels = image::RgbImage::from_fn(size.0, size.1, |x, y| image::Rgb([value(x, y) * 90, x as u8, y as u8]));
        pixels.save(path("in").join(name)).unwrap();
    }
    // Two bits with a palette, 16 bits, and a TIFF.
    let packed: Vec<u8> = (0..size.1)
        .flat_map(|y| {
            (0..6).map(move |b| {
                (0..4).fold(0, |byte, i| byte << 2 | if 4 * b + i < 21 { value(4 * b + i, y) } else { 0 })
            })
        })
        .collect();
    let mut encoder = png::Encoder::new(fs::File::create(path("masks/a.png")).unwrap(), size.0, size.1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette(vec![9; 12]);
    encoder.write_header().unwrap().write_image_data(&packed).unwrap();
    let wide = image::ImageBuffer::from_fn(size.0, size.1, |x, y| image::Luma([u16::from(value(x, y)) * 300]));
    wide.save(path("masks/b_mask.png")).unwrap();
    let gray = image::GrayImage::from_fn(size.0, size.1, |x, y| image::Luma([value(x, y)]));
    gray.save(path("masks/c.tiff")).unwrap();
    let run = |arguments: &[&str]| umedsam(folder.path(), arguments);
    out(&run(&["convert", "in", "masks", "--modality", "US"]));
    for (name, factor) in [("a", 1u16), ("b", 300), ("c", 1)] {
        let case = Labelled::read(&path(&format!("cases/2DBox_US_{name}.npz")), &Limits::new()).unwrap();
        let expected: Vec<u16> = (0..210).map(|i| u16::from(value(i % 21, i / 21)) * factor).collect();
        assert_eq!((case.labels, case.shape.channels), (expected, 3), "{name}");
    }
    let report: Value =
        serde_json::from_str(&out(&run(&["eval", "cases/2DBox_US_c.npz", "masks/c.tiff", "--json"]))).unwrap();
    assert_eq!(report["cases"][0]["dsc"], 1.0);
    fs::copy(path("in/a.png"), path("masks/a.png")).unwrap();
    let message = failure(&run(&["convert", "in", "masks"]));
    assert!(message.contains("a.png: a PNG picture in Rgb; labels are gray or indexed"), "{message}");
}
