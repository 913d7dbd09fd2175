//! Boxes from files.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use umedsam::{PixelBox, VoxelBox};
use umedsam_demo::boxes::{FileBoxes, PatientBox, System, read_boxes};
use umedsam_demo::scan::Affine;

fn parsed(name: &str, text: &str) -> Result<FileBoxes, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let shown = path.display().to_string();
    read_boxes(&path).map_err(|error| {
        let message = error.to_string();
        message.strip_prefix(&format!("{shown}: ")).unwrap_or_else(|| panic!("{message}")).to_string()
    })
}

fn numbers(b: &VoxelBox) -> [f64; 6] {
    [b.plane.x0, b.plane.y0, b.z0, b.plane.x1, b.plane.y1, b.z1]
}

#[test]
fn regions_of_3d_slicer_are_the_voxels_that_they_hold() {
    let golden: Value = serde_json::from_str(include_str!("data/markups.json")).unwrap();
    let golden = golden.as_array().unwrap();
    assert_eq!(golden.len(), 16);
    for case in golden {
        let text = json!({ "@schema": "", "markups": [{ "type": "Fiducial" }, case["markup"]] }).to_string();
        let FileBoxes::Patient(boxes, others) = parsed("R.mrk.json", &text).unwrap() else { panic!("{text}") };
        assert_eq!((boxes.len(), others), (1, 1));
        let affine = Affine(serde_json::from_value(case["affine"].clone()).unwrap());
        let expected: Vec<f64> = serde_json::from_value(case["voxels"].clone()).unwrap();
        let found = numbers(&boxes[0].to_voxels(&affine));
        assert!(found.iter().zip(&expected).all(|(f, e)| (f - e).abs() < 1e-6), "{found:?} {expected:?}");
    }
}

#[test]
fn corners_in_mm_are_those_of_either_system() {
    let affine = Affine([[-0.8, 0.0, 0.0, 30.0], [0.0, 0.0, 2.0, -10.0], [0.0, -0.8, 0.0, 50.0]]);
    let asked = VoxelBox::new(18.0, 12.0, 2.0, 42.0, 36.0, 8.0);
    let [x0, y0, z0] = affine.place([18.0, 12.0, 2.0]);
    let [x1, y1, z1] = affine.place([42.0, 36.0, 8.0]);
    let ras = VoxelBox::new(x1, y0, z1, x0, y1, z0);
    let lps = VoxelBox::new(-x0, -y1, z1, -x1, -y0, z0);
    for (b, system) in [(ras, System::Ras), (lps, System::Lps)] {
        let found = numbers(&PatientBox::along_axes(&b, system).unwrap().to_voxels(&affine));
        assert!(found.iter().zip(numbers(&asked)).all(|(f, e)| (f - e).abs() < 1e-9), "{found:?}");
    }
    let error = PatientBox::along_axes(&VoxelBox::new(3.0, 0.0, 0.0, 2.0, 1.0, 1.0), System::Ras).unwrap_err();
    assert_eq!(error.to_string(), "x range 3..2 mm; two finite numbers in ascending order expected");
    // Thinner than a slice, between two of them.
    let thin = PatientBox::new(affine.place([9.0, 9.0, 4.3]), [[1.0, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 1.0]]);
    let found = thin.to_voxels(&affine);
    assert_eq!((found.z0, found.z1), (4.0, 4.0));
}

#[test]
fn tables_and_lists_hold_the_same_boxes() {
    let plane = FileBoxes::Plane(vec![PixelBox::new(1.0, 2.5, 30.0, 40.0), PixelBox::new(-3.0, 0.0, 9.0, 9.0)]);
    for (name, text) in [
        ("a.csv", "x0,y0,x1,y1\n1,2.5,30,40\n\n-3, 0,9,9\n"),
        ("a.CSV", "\u{feff}y1, x1,y0,x0\r\n40,30,2.5,1\r\n9,9,0,-3\r\n"),
        ("a.json", "[[1,2.5,30,40],[-3,0,9,9]]"),
        ("a.json", r#"{"boxes":[{"x0":1,"y0":2.5,"x1":30,"y1":40},[-3,0,9,9]]}"#),
    ] {
        assert_eq!(parsed(name, text), Ok(plane.clone()), "{text}");
    }
    let volume = FileBoxes::Volume(vec![VoxelBox::new(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)]);
    for (name, text) in [
        ("b.csv", "x0,x1,y0,y1,z0,z1\n1,4,2,5,3,6"),
        ("b.json", r#"[{"x0":1,"x1":4,"y0":2,"y1":5,"z0":3,"z1":6}]"#),
        ("b.json", "[[1,2,3,4,5,6]]"),
    ] {
        assert_eq!(parsed(name, text), Ok(volume.clone()), "{text}");
    }
}

#[test]
fn what_is_no_list_of_boxes_says_why() {
    let roi = |change: Value| {
        let mut markup = json!({ "type": "ROI", "center": [0, 0, 0], "size": [1, 1, 1] });
        change.as_object().unwrap().iter().for_each(|(key, value)| markup[key] = value.clone());
        json!({ "markups": [markup] }).to_string()
    };
    let many = format!("x0,y0,x1,y1\n{}", "1,1,2,2\n".repeat(65_536));
    let long = " ".repeat((16 << 20) + 1);
    for (name, text, expected) in [
        ("a.txt", "1,2,3,4", "boxes are read from .csv, .json and .mrk.json"),
        ("a.csv", "", "no box is in it"),
        ("a.csv", "x0,y0,x1,y1\n", "no box is in it"),
        ("a.csv", "1,2,3,4\n", "line 1: columns are 1,2,3,4; x0,y0,x1,y1 or x0,y0,z0,x1,y1,z1 expected, each once"),
        ("a.csv", "x0,y0,x1,y1,z1\n1,2,3,4,5\n", "line 1: columns are x0,y0,x1,y1,z1;"),
        ("a.csv", "x0,y0,x1,y1,x0\n1,2,3,4,5\n", "line 1: columns are"),
        ("a.csv", "x0,y0,x1,y1\n1,2,3,4\n1,2,3\n", "box 2: 3 fields; 4 expected"),
        ("a.csv", "x0,y0,x1,y1\n1,2,three,4\n", "box 1: x1 is 'three', not a finite number"),
        ("a.csv", "x0,y0,x1,y1\n1,inf,3,4\n", "box 1: y0 is 'inf', not a finite number"),
        ("a.csv", &many, "more than 65535 boxes"),
        ("a.json", &long, "is longer than 16777216 bytes"),
        ("a.json", "[[1,2,3]]", "a list of boxes, or an object whose `boxes` is one, expected"),
        ("a.json", r#"{"boxes":[],"box":[]}"#, "a list of boxes, or an object whose `boxes` is one, expected"),
        ("a.json", "[[1,2,3,4],[1,2,3,4,5,6]]", "some boxes have z0 and z1, and some have not"),
        ("a.mrk.json", r#"{"markups":[{"type":"Line"}]}"#, "no box is in it"),
        ("a.mrk.json", "{}", "missing field `markups`"),
        ("a.mrk.json", &roi(json!({ "size": [1, 0, 1] })), "markup 1: size is [1.0, 0.0, 1.0]; three numbers above 0"),
        ("a.mrk.json", &roi(json!({ "center": null })), "markup 1: center is missing; three numbers expected"),
        ("a.mrk.json", &roi(json!({ "coordinateSystem": "IJK" })), "markup 1: coordinateSystem is IJK; LPS or RAS"),
        ("a.mrk.json", &roi(json!({ "coordinateUnits": "inch" })), "markup 1: coordinateUnits is inch; mm or um"),
        ("a.mrk.json", &roi(json!({ "roiType": "Sphere" })), "markup 1: roiType is Sphere; Box or BoundingBox"),
        ("a.mrk.json", &roi(json!({ "insideOut": true })), "markup 1: insideOut is true; false expected"),
        ("a.mrk.json", &roi(json!({ "orientation": [1, 0, 0, 0, 1, 0, 0, 0, 2] })), "markup 1: orientation is [1.0,"),
    ] {
        let message = parsed(name, text).unwrap_err();
        assert!(message.starts_with(expected), "{message}: {expected}");
    }
    assert!(read_boxes(Path::new("none.csv")).unwrap_err().to_string().starts_with("none.csv: "));
}

#[test]
fn damaged_files_are_read_or_refused() {
    let whole = json!({ "markups": [{ "type": "ROI", "coordinateSystem": "RAS", "coordinateUnits": ["mm", "UCUM", "millimeter"],
        "center": [1, 2, 3], "size": [4, 5, 6], "orientation": [1, 0, 0, 0, 1, 0, 0, 0, 1] }] })
    .to_string();
    assert!(parsed("a.mrk.json", &whole).is_ok());
    let deep = "[".repeat(100_000);
    for name in ["a.mrk.json", "a.json", "a.csv"] {
        for end in 0..whole.len() {
            assert!(parsed(name, &whole[..end]).is_err(), "{name} {end}");
        }
        assert!(parsed(name, &deep).is_err());
    }
}
