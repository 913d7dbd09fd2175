//! Label maps in all formats, with names, through the command.

mod common;
#[path = "common/nifti.rs"]
mod made;

use std::fs;
use std::io::Read;

use common::{data, failure, files, out, umedsam};
use serde_json::{Value, json};
use umedsam::npz::{Limits, read_segs};
use umedsam_demo::read::{ReadOptions, read};

const BOX: [&str; 5] = ["--box", "360,305,496,442", "--box", "20,20,60,60", "--json"];

/// Whether a point lies within rings, by the even-odd rule.
fn within(rings: &Value, x: f64, y: f64) -> bool {
    let point = |v: &Value| (v[0].as_f64().unwrap(), v[1].as_f64().unwrap());
    let edges = rings.as_array().unwrap().iter().flat_map(|ring| ring.as_array().unwrap().windows(2));
    let crossed = |edge: &[Value]| {
        let ((x0, y0), (x1, y1)) = (point(&edge[0]), point(&edge[1]));
        (y0 > y) != (y1 > y) && x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)
    };
    edges.filter(|edge| crossed(edge)).count() % 2 == 1
}

#[test]
fn a_picture_has_labels_and_outlines() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join("out").join(name);
    let cell = data("assets/cell.png");
    let segment = |more: &[&str]| umedsam(folder.path(), &[&["segment", &cell], &BOX[..], more].concat());
    let told = ["--name", "1=cell", "--format", "png,npz,geojson,coco", "--csv", "objects.csv"];
    let report: Value = serde_json::from_str(&out(&segment(&told))).unwrap();
    assert_eq!(files(&folder.path().join("out")), ["cell.coco.json", "cell.geojson", "cell.mask.png", "cell.npz"]);
    assert_eq!((&report["objects"][0]["name"], &report["objects"][1]["name"]), (&json!("cell"), &Value::Null));
    let mask = image::open(path("cell.mask.png")).unwrap().into_luma8();
    let (labels, shape) = read_segs(&path("cell.npz"), &Limits::new()).unwrap();
    assert_eq!(shape, [mask.height() as usize, mask.width() as usize]);
    assert!(labels.iter().zip(mask.iter()).all(|(a, b)| *a == u16::from(*b)));

    // Outlines hold what the mask holds, pixel for pixel.
    let json = |name: &str| -> Value { serde_json::from_slice(&fs::read(path(name)).unwrap()).unwrap() };
    let outlines = json("cell.geojson");
    let features = outlines["features"].as_array().unwrap();
    assert_eq!(features[0]["properties"]["classification"]["name"], "cell");
    for feature in features {
        let label = feature["properties"]["label"].as_u64().unwrap();
        let coordinates = &feature["geometry"]["coordinates"];
        let parts = match feature["geometry"]["type"].as_str().unwrap() {
            "Polygon" => vec![coordinates.clone()],
            _ => coordinates.as_array().unwrap().clone(),
        };
        let mut count = 0;
        for (x, y, pixel) in mask.enumerate_pixels() {
            let inside = parts.iter().any(|rings| within(rings, f64::from(x) + 0.5, f64::from(y) + 0.5));
            assert_eq!(inside, u64::from(pixel[0]) == label, "{x} {y}");
            count += u64::from(inside);
        }
        assert!(count > 0 && feature["properties"]["pixels"] == count);
    }
    let coco = json("cell.coco.json");
    assert_eq!((&coco["images"][0]["file_name"], &coco["categories"][0]["name"]), (&"cell.png".into(), &"cell".into()));
    let found = &coco["annotations"][0];
    let (mut least, mut most) = ([u32::MAX; 2], [0; 2]);
    for (x, y, _) in mask.enumerate_pixels().filter(|(_, _, p)| p[0] == 1) {
        (least, most) = ([least[0].min(x), least[1].min(y)], [most[0].max(x + 1), most[1].max(y + 1)]);
    }
    assert_eq!(found["bbox"], json!([least[0], least[1], most[0] - least[0], most[1] - least[1]]));
    assert_eq!(found["area"], mask.iter().filter(|v| **v == 1).count());

    let csv = fs::read_to_string(folder.path().join("objects.csv")).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert!(rows.len() == 3 && rows.iter().all(|row| row.len() == rows[0].len()), "{csv}");
    let column = |name: &str| rows[0].iter().position(|title| *title == name).unwrap();
    let cell = |name: &str| rows[1][column(name)];
    let measures = &report["objects"][0]["measures"];
    assert_eq!((cell("name"), cell("unit"), cell("volume")), ("cell", "px", ""));
    for (title, value) in [
        ("area", &measures["area"]),
        ("first_x", &measures["first"][0]),
        ("extent_y", &measures["extents"][1]),
        ("longest_diameter", &measures["longest_diameter"]["length"]),
        ("mean_intensity", &measures["mean_intensity"]),
    ] {
        assert_eq!(cell(title).parse::<f64>().unwrap(), value.as_f64().unwrap(), "{title}");
    }

    // All are known again.
    let message =
        failure(&umedsam(folder.path(), &["segment", "out/cell.npz", "out/cell.mask.png", "--box", "1,1,9,9"]));
    assert!(message.contains("every input is a result"), "{message}");
    out(&segment(&told));
    fs::write(path("cell.geojson"), "{\"type\": \"FeatureCollection\"}").unwrap();
    let message = failure(&segment(&told));
    assert!(message.contains("cell.geojson: is there, and is no result of umedsam"), "{message}");
    for (more, words) in [
        (&["--format", "nrrd"][..], "--format nrrd is for volumes; png, npz, geojson and coco are for pictures"),
        (&["--name", "3=nucleus"], "--name 3=...: no object has this label; there are 2"),
        (&["--anatomy", "1=SCT:1"], "SCHEME:CODE:MEANING expected"),
        (&["--name", "1=a", "--name", "1=b"], "--name 1=...: told twice"),
    ] {
        let message = failure(&segment(more));
        assert!(message.contains(words), "{words}: {message}");
    }
}

#[test]
fn a_volume_has_its_place_in_each_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let matrix = [[-0.8, 0.0, 0.1, 30.0], [0.0, 0.2, 2.0, -10.0], [0.0, 0.8, -0.1, 50.0]];
    made::nifti(&path("ball.nii"), [64, 48, 9], matrix, |[x, y, z]| {
        if (x - 30).pow(2) + (y - 24).pow(2) + (3 * (z - 4)).pow(2) < 140 { 300 } else { 20 }
    });
    let run = |arguments: &[&str]| umedsam(folder.path(), arguments);
    let around = ["--box3d", "18,12,1,42,36,7", "--anatomy", "1=SCT:10200004:Liver"];
    out(&run(&[&["segment", "ball.nii", "--format", "nifti,nrrd,npz"], &around[..]].concat()));
    assert_eq!(files(&path("out")), ["ball.nii", "ball.npz", "ball.seg.nrrd"]);
    let nifti = read(&path("out/ball.nii"), &ReadOptions::new()).unwrap();
    let (labels, shape) = read_segs(&path("out/ball.npz"), &Limits::new()).unwrap();
    assert_eq!(shape, [9, 48, 64]);
    assert!(nifti.values.to_f64().iter().zip(&labels).all(|(a, b)| *a == f64::from(*b)) && labels.contains(&1));
    let bytes = fs::read(path("out/ball.seg.nrrd")).unwrap();
    let end = bytes.windows(2).position(|w| w == b"\n\n").unwrap();
    let header = String::from_utf8(bytes[..end].to_vec()).unwrap();
    for line in ["space directions: (0.8", "sizes: 64 48 9", "Segment0_Name:=Liver", "~SCT^10200004^Liver~"] {
        assert!(header.contains(line), "{line}: {header}");
    }
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&bytes[end + 2..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked.iter().zip(&labels).all(|(a, b)| u16::from(*a) == *b) && unpacked.len() == labels.len());
    // The same from a file.
    fs::write(path("codes.txt"), "# organs\n\n1=SCT:10200004:Liver\n").unwrap();
    let by_file = ["--box3d", "18,12,1,42,36,7", "--anatomy-file", "codes.txt"];
    out(&run(&[&["segment", "ball.nii", "--format", "nrrd", "--out", "file"], &by_file[..]].concat()));
    assert!(fs::read(path("file/ball.seg.nrrd")).unwrap() == bytes);
    for (text, words) in [
        ("1=SCT:10200004:Liver\n2=SCT\n", "codes.txt: line 2: 'SCT': SCHEME:CODE:MEANING expected"),
        ("1=SCT:1:a\n1=SCT:1:a\n", "--anatomy 1=...: told twice"),
        ("2=SCT:1:a", "--anatomy 2=...: no object has this label; there are 1"),
        ("# none\n", "codes.txt: no line LABEL=SCHEME:CODE:MEANING"),
    ] {
        fs::write(path("codes.txt"), text).unwrap();
        let message = failure(&run(&[&["segment", "ball.nii", "--out", "none"], &by_file[..]].concat()));
        assert!(message.contains(words), "{message}");
    }
    let message = failure(&run(&[&["segment", "ball.nii", "--format", "nifti,png"], &around[..]].concat()));
    assert!(message.contains("ball.nii: a volume of 9 slices; --format png is for images"), "{message}");

    // A case that was made of a volume has its place, too.
    out(&run(&["convert", "ball.nii", "out/ball.nii", "--orient", "LPS"]));
    out(&run(&["segment", "cases/ball.npz", "--format", "nifti,nrrd", "--out", "back"]));
    let message = failure(&run(&["segment", "cases/ball.npz", "--format", "seg"]));
    assert!(message.contains("ball.npz: --format seg is for DICOM"), "{message}");
    let report: Value =
        serde_json::from_str(&out(&run(&["eval", "out/ball.nii", "back/ball.nii.gz", "--json"]))).unwrap();
    assert!(report["cases"][0]["dsc"].as_f64().unwrap() > 0.9, "{report}");
}
