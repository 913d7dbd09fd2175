//! The command as a person runs it.

mod common;

use std::path::{Path, PathBuf};

use common::{data, err, failure, files, out, umedsam};
use umedsam::npz::{Limits, read_segs, read_spacing};

#[test]
fn without_arguments_it_segments_the_samples() {
    let folder = tempfile::tempdir().unwrap();
    let text = out(&umedsam(folder.path(), &[]));
    assert!(text.contains("optic disc") && text.contains("predicted IoU") && text.contains("encode"), "{text}");
    let written = files(&folder.path().join("out"));
    assert_eq!(written, ["cell.mask.png", "cell.overlay.png", "retina.mask.png", "retina.overlay.png"]);
    let mask = image::open(folder.path().join("out/retina.mask.png")).unwrap().into_luma8();
    assert_eq!(mask.dimensions(), (1411, 1411));
    let count = |label| mask.iter().filter(|&&v| v == label).count();
    assert!((28_000..36_000).contains(&count(1)) && (30_000..60_000).contains(&count(2)), "{} {}", count(1), count(2));
    let overlay = image::open(folder.path().join("out/retina.overlay.png")).unwrap().into_rgb8();
    assert_ne!(
        overlay.get_pixel(118, 538),
        image::open(data("assets/retina.jpg")).unwrap().into_rgb8().get_pixel(118, 538)
    );
}

#[test]
fn pictures_and_cases_go_through_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = folder.path().join("in");
    std::fs::create_dir(&inputs).unwrap();
    std::fs::copy(data("../core/tests/data/volume.npz"), inputs.join("volume.npz")).unwrap();
    std::fs::copy(data("../core/tests/data/plain.npz"), inputs.join("plain.npz")).unwrap();
    std::fs::write(inputs.join("notes.txt"), "passed over").unwrap();
    let text = out(&umedsam(folder.path(), &["segment", "in", "--json", "--overlay", "--threads", "1"]));
    let reports: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[0]["objects"].as_array().unwrap().len(), 2);
    assert_eq!(reports[1]["shape"], serde_json::json!([3, 5, 7]));
    assert_eq!(reports[1]["encodes"], 3);
    assert_eq!(
        files(&folder.path().join("out")),
        ["plain.npz", "plain.overlay.png", "volume.npz", "volume.overlay.png"]
    );
    let segs = |name: &str| read_segs(&folder.path().join("out").join(name), &Limits::new()).unwrap();
    assert_eq!(segs("plain.npz").1, [5, 7]);
    let (labels, shape) = segs("volume.npz");
    assert_eq!(shape, [3, 5, 7]);
    assert!(labels.iter().all(|&l| l <= 1));

    // What was written can be scored. A case with two boxes and one label is named, and left out of the scores.
    let output = umedsam(folder.path(), &["eval", "in", "out", "--csv", "scores.csv", "--json"]);
    let message = failure(&output);
    let pairs = "plain.npz: array 'gts': has the labels 1; the segmentation has";
    assert!(message.contains(pairs) && message.contains("1 of 2 cases could not be scored"), "{message}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["cases"][0]["case"], &json["rows"][1]["cases"]), (&"volume.npz".into(), &1.into()));
    assert!(json["failed"][0]["case"].as_str().unwrap().contains("plain.npz"));
    let csv = std::fs::read_to_string(folder.path().join("scores.csv")).unwrap();
    assert_eq!(csv.lines().count(), 2, "{csv}");
    std::fs::remove_file(inputs.join("plain.npz")).unwrap();
    assert!(out(&umedsam(folder.path(), &["eval", "in", "out"])).contains("mean"));

    // Neither a damaged case nor one without a result discards the others.
    let whole = std::fs::read(inputs.join("volume.npz")).unwrap();
    std::fs::write(inputs.join("cut.npz"), &whole[..whole.len() / 2]).unwrap();
    std::fs::copy(inputs.join("cut.npz"), folder.path().join("out/cut.npz")).unwrap();
    std::fs::copy(inputs.join("volume.npz"), inputs.join("alone.npz")).unwrap();
    let output = umedsam(folder.path(), &["eval", "in", "out"]);
    let message = failure(&output);
    assert!(message.contains("alone.npz: no segmentation in out") && message.contains("cut.npz: not a readable"));
    assert!(message.contains("2 of 3 cases could not be scored"), "{message}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("mean"));
}

#[test]
fn a_picture_of_16_bits_is_segmented() {
    let folder = tempfile::tempdir().unwrap();
    let disc = |x: u32, y: u32| u16::from(x.abs_diff(60).pow(2) + y.abs_diff(40).pow(2) < 500) * 30_000 + 900;
    let image = image::ImageBuffer::from_fn(120, 80, |x, y| image::Luma([disc(x, y)]));
    image.save(folder.path().join("scan.tiff")).unwrap();
    let text =
        out(&umedsam(folder.path(), &["segment", "scan.tiff", "--box", "36,16,84,64", "--out", "masks", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let size = report["objects"][0]["size"].as_u64().unwrap();
    assert!((1300..1900).contains(&size), "{size} px; the disc has 1570");
    assert_eq!(files(&folder.path().join("masks")), ["scan.mask.png"]);
}

#[test]
fn masks_are_cleaned_and_measured_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let cell = data("assets/cell.png");
    let segment = |more: &[&str]| -> serde_json::Value {
        let arguments = [&["segment", &cell, "--box", "360,305,496,442", "--json"][..], more].concat();
        serde_json::from_str(&out(&umedsam(folder.path(), &arguments))).unwrap()
    };
    let size = |report: &serde_json::Value| report["objects"][0]["size"].as_f64().unwrap();
    let plain = segment(&[]);
    assert!(plain["objects"][0].get("measures").is_none());
    let whole = size(&plain) as u32;
    assert_eq!(size(&segment(&["--min-size", &(whole + 1).to_string()])), 0.0);
    let report = segment(&["--largest", "--fill-holes", "--stats", "--spacing", "0.5,0.25"]);
    let (measures, number) = (&report["objects"][0]["measures"], |v: &serde_json::Value| v.as_f64().unwrap());
    assert_eq!((number(&measures["area"]), &measures["unit"]), (size(&report) * 0.125, &"mm".into()));
    let (long, across) = (&measures["longest_diameter"], &measures["perpendicular_diameter"]);
    let extent = |axis: usize| number(&measures["extents"][axis]);
    assert!(number(&long["length"]) >= extent(0).max(extent(1)) && number(&across["length"]) > extent(1) * 0.8);
    assert!((1.0..255.0).contains(&number(&measures["mean_intensity"])), "{measures}");
    let pixels = segment(&["--stats"]);
    assert_eq!((size(&pixels), &pixels["objects"][0]["measures"]["unit"]), (whole.into(), &"px".into()));

    // A case brings its spacing.
    let case = data("../tests/data/gate/3DBox_MR_bodies.npz");
    let text = out(&umedsam(folder.path(), &["segment", &case, "--stats", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let [x, y, z] = read_spacing(Path::new(&case), &Limits::new()).unwrap().unwrap();
    let measures = &report["objects"][0]["measures"];
    assert!((number(&measures["volume"]) / size(&report) - x * y * z).abs() < 1e-9, "{measures}");
    let slices = number(&measures["last"][2]) - number(&measures["first"][2]) + 1.0;
    assert!((number(&measures["extents"][2]) - slices * z).abs() < 1e-9 && slices > 1.0, "{measures}");
    let refused = |more: &[&str]| {
        failure(&umedsam(folder.path(), &[&["segment", &cell, "--box", "360,305,496,442"], more].concat()))
    };
    assert!(refused(&["--stats", "--spacing", "1,0"]).contains("spacing along y is 0"));
    assert!(refused(&["--spacing", "1,1"]).contains("--stats"));
}

#[test]
fn how_sure_a_mask_is_can_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let cell = data("assets/cell.png");
    let around = ["--box", "360,305,496,442"];
    let segment = |folder_out: &str, more: &[&str]| -> serde_json::Value {
        let arguments = [&["segment", &cell, "--json", "--out", folder_out][..], &around, more].concat();
        serde_json::from_str(&out(&umedsam(folder.path(), &arguments))).unwrap()
    };
    let picture = |name: &str| image::open(folder.path().join(name)).unwrap().into_luma8();
    let plain = segment("plain", &[]);
    assert!(plain["objects"][0].get("score").is_none());
    assert_eq!(files(&folder.path().join("plain")), ["cell.mask.png"]);
    // One box says what the network says.
    let one = segment("one", &["--uncertainty", "1"]);
    assert!(picture("one/cell.mask.png") == picture("plain/cell.mask.png"));
    assert_eq!(one["objects"][0]["predicted_iou"], plain["objects"][0]["predicted_iou"]);

    let several = segment("several", &["--uncertainty", "6", "--threads", "1"]);
    assert_eq!((&several["encodes"], several["written"].as_array().unwrap().len()), (&1.into(), 3));
    let score = several["objects"][0]["score"].as_f64().unwrap();
    assert!((0.5..1.0).contains(&score), "{score}");
    let [mask, probability, entropy] =
        ["mask", "probability", "entropy"].map(|m| picture(&format!("several/cell.{m}.png")));
    let bits = |p: f64| if p > 0.0 && p < 1.0 { -p * p.log2() } else { 0.0 };
    for ((&mask, &p), &entropy) in mask.iter().zip(probability.iter()).zip(entropy.iter()) {
        assert_eq!(mask == 1, p > 127);
        // A byte of probability stands for a range of entropies.
        let [low, high] =
            [-0.5, 0.5].map(|by| ((f64::from(p) + by) / 255.0).clamp(0.0, 1.0)).map(|p| bits(p) + bits(1.0 - p));
        let expected = low.min(high) * 255.0 - 1.0..=low.max(high) * 255.0 + 1.5;
        assert!(expected.contains(&f64::from(entropy)), "{p} has {entropy}, not {expected:?}");
    }
    // The same to the byte whatever the threads, and another with another seed.
    let again = segment("again", &["--uncertainty", "6", "--threads", "2"]);
    assert_eq!(again["objects"], several["objects"]);
    for name in files(&folder.path().join("several")) {
        let [a, b] = ["several", "again"].map(|out| std::fs::read(folder.path().join(out).join(&name)).unwrap());
        assert!(a == b, "{name}");
    }
    assert_ne!(segment("other", &["--uncertainty", "6", "--seed", "1"])["objects"], several["objects"]);

    let text = out(&umedsam(folder.path(), &[&["segment", &cell, "--uncertainty", "2"][..], &around].concat()));
    assert!(text.contains("   score 0.") && text.contains("cell.entropy.png"), "{text}");
    let refused = |more: &[&str]| failure(&umedsam(folder.path(), &[&["segment", &cell], &around[..], more].concat()));
    assert!(refused(&["--uncertainty", "0"]).contains("0 is not in 1..=64"));
    assert!(refused(&["--uncertainty", "65"]).contains("65 is not in 1..=64"));
    assert!(refused(&["--uncertainty", "2", "--temperature", "NaN"]).contains("NaN is not within 0.0625 to 16"));
    assert!(refused(&["--seed", "3"]).contains("--uncertainty"));
    assert!(refused(&["--uncertainty", "2", "--zoom", "auto"]).contains("does not go with --zoom auto"));
    // A case may be an image, but not a volume.
    let cases = ["plain", "volume"].map(|name| data(&format!("../core/tests/data/{name}.npz")));
    let output = umedsam(folder.path(), &["segment", &cases[0], &cases[1], "--uncertainty", "2", "--out", "cases"]);
    let message = failure(&output);
    assert!(message.contains("volume.npz: a volume; --uncertainty is for images"), "{message}");
    assert_eq!(files(&folder.path().join("cases")), ["plain.entropy.png", "plain.npz", "plain.probability.png"]);
}

#[test]
fn a_small_box_is_zoomed_into() {
    let folder = tempfile::tempdir().unwrap();
    let cell = data("assets/cell.png");
    let segment = |zoom: &[&str]| -> (u64, image::GrayImage) {
        let arguments = ["segment", &cell, "--box", "360,305,496,442", "--json"];
        let text = out(&umedsam(folder.path(), &[&arguments[..], zoom].concat()));
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        (
            report["encodes"].as_u64().unwrap(),
            image::open(folder.path().join("out/cell.mask.png")).unwrap().into_luma8(),
        )
    };
    let (encodes, whole) = segment(&[]);
    assert_eq!(encodes, 1);
    assert!(segment(&["--zoom", "off", "--zoom-margin", "2"]).1 == whole);
    // No box is small enough for a share of 0.
    assert!(segment(&["--zoom", "auto", "--zoom-share", "0"]).1 == whole);
    for arguments in [&["--zoom", "auto"][..], &["--zoom", "auto", "--zoom-margin", "1.5"]] {
        let (encodes, zoomed) = segment(arguments);
        assert_eq!(encodes, 1);
        assert!(zoomed != whole);
        let near = |x, y| (320..537).contains(&x) && (265..483).contains(&y);
        assert!(zoomed.enumerate_pixels().all(|(x, y, label)| label[0] == 0 || near(x, y)));
        let size = zoomed.iter().filter(|&&label| label == 1).count();
        let both = zoomed.iter().zip(whole.iter()).filter(|&(a, b)| *a == 1 && *b == 1).count();
        let agreement = 2.0 * both as f64 / (size + whole.iter().filter(|&&label| label == 1).count()) as f64;
        assert!(agreement > 0.9, "{arguments:?}: DSC {agreement} to the mask without zoom");
    }
    // The whole image for the large box and a crop for the small one.
    assert_eq!(segment(&["--box", "100,100,600,500", "--zoom", "auto"]).0, 2);

    let refused = |arguments: &[&str]| failure(&umedsam(folder.path(), &[&["segment", &cell], arguments].concat()));
    assert!(refused(&["--zoom-margin", "4.1"]).contains("4.1 is not within 0 to 4"));
    assert!(refused(&["--zoom-share", "-1"]).contains("-1 is not within 0 to 1"));
    let message = refused(&["--zoom", "auto", "--box", "1,1,9,9", "--box", "9,1,5,20"]);
    assert!(message.contains("box 2: x0 = 9 lies beyond x1 = 5"), "{message}");
}

#[test]
fn a_single_pixel_and_a_strip_are_pictures_too() {
    let folder = tempfile::tempdir().unwrap();
    image::GrayImage::new(1, 1).save(folder.path().join("one.png")).unwrap();
    image::GrayImage::new(20_000, 3).save(folder.path().join("strip.png")).unwrap();
    let arguments = ["segment", "one.png", "strip.png", "--box", "0,0,30000,2", "--overlay", "--json"];
    let text = out(&umedsam(folder.path(), &arguments));
    let shapes: Vec<serde_json::Value> =
        text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["shape"].clone()).collect();
    assert_eq!(shapes, [serde_json::json!([1, 1]), serde_json::json!([3, 20_000])]);
    let strip = image::open(folder.path().join("out/strip.mask.png")).unwrap();
    assert_eq!((strip.width(), strip.height()), (20_000, 3));
}

#[test]
fn mistakes_are_answered_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| failure(&umedsam(folder.path(), arguments));
    let cell = data("assets/cell.png");
    let message = run(&["segment", &cell]);
    assert!(message.contains("needs at least one --box"), "{message}");
    let message = run(&["segment", &cell, "--box", "900,1,950,20"]);
    assert!(
        message.contains("cell.png") && message.contains("box 1: x range 900..950 lies outside the image"),
        "{message}"
    );
    let message = run(&["segment", &cell, "--box", "9,1,5,20"]);
    assert!(message.contains("x0 = 9 lies beyond x1 = 5"), "{message}");
    let message = run(&["segment", &cell, "--box", "9,1,NaN,20"]);
    assert!(message.contains("x1 is NaN"), "{message}");
    let message = run(&["segment", &cell, "--box", "9,1,5"]);
    assert!(message.contains("3 numbers; x0,y0,x1,y1 expected"), "{message}");
    let message = run(&["segment", "absent.png", "--box", "1,1,2,2"]);
    assert!(message.contains("absent.png: no such file"), "{message}");
    let message = run(&["segment", &data("../core/tests/data/nan.npz")]);
    assert!(message.contains("nan.npz: array 'imgs': pixel 1 is NaN"), "{message}");
    let case = data("../core/tests/data/plain.npz");
    let message = run(&["segment", &case, "--box", "1,1,2,2"]);
    assert!(message.contains("brings its own boxes"), "{message}");
    std::fs::write(folder.path().join("cut.png"), &std::fs::read(&cell).unwrap()[..5000]).unwrap();
    let message = run(&["segment", "cut.png", "--box", "1,1,2,2"]);
    assert!(message.contains("cut.png: not a readable picture"), "{message}");
    std::fs::copy(&case, folder.path().join("case.npz")).unwrap();
    let message = run(&["segment", &cell, "--box", "1,1,2,2", "--model", "case.npz"]);
    assert!(message.contains("case.npz: not a model bundle: an NPZ file"), "{message}");
    let message = run(&["info", "absent.umedsam"]);
    assert!(message.contains("absent.umedsam") && message.matches("No such file").count() == 1, "{message}");
    // A decoder would make up what is missing.
    let jpeg = std::fs::read(data("assets/samples-overlay.jpg")).unwrap();
    std::fs::write(folder.path().join("cut.jpg"), &jpeg[..jpeg.len() * 3 / 4]).unwrap();
    let message = run(&["segment", "cut.jpg", "--box", "1,1,9,9"]);
    assert!(message.contains("cut.jpg: not a readable picture: a JPEG that ends before its end marker"), "{message}");
    let message = run(&["segment", &cell, "--box", "1,1,9,9", "--zoom-margin", "1"]);
    assert!(message.contains("--zoom"), "{message}");
    let message = run(&["segment", &cell, "--slice", "1", "--box", "1,1,9,9", "--propagation", "middle"]);
    assert!(message.contains("cannot be used with"), "{message}");
    let message = run(&["segment", &cell, "--box", "1e308,1,-1e308,20"]);
    assert!(message.contains("box 1: x0 = 1e308 lies beyond x1 = -1e308"), "{message}");
    // Nothing but what the tests put there, and an empty folder for results.
    assert_eq!(files(folder.path()), ["case.npz", "cut.jpg", "cut.png", "out"]);
    assert!(files(&folder.path().join("out")).is_empty());
}

#[test]
fn one_failing_input_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = folder.path().join("in");
    std::fs::create_dir(&inputs).unwrap();
    std::fs::copy(data("../core/tests/data/objects.npz"), inputs.join("a.npz")).unwrap();
    std::fs::copy(data("../core/tests/data/plain.npz"), inputs.join("b.npz")).unwrap();
    let output = umedsam(folder.path(), &["segment", "in"]);
    let message = failure(&output);
    assert!(
        message.contains("a.npz: array 'imgs': holds Python objects") && message.contains("1 of 2 inputs failed"),
        "{message}"
    );
    assert_eq!(files(&folder.path().join("out")), ["b.npz"]);
}

#[test]
fn info_describes_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let text = out(&umedsam(folder.path(), &["info"]));
    assert!(
        ["U-MedSAM edge", "LicenseRef-U-MedSAM-research", "validation ", " MB of packed weights, "]
            .iter()
            .all(|part| text.contains(part)),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&out(&umedsam(folder.path(), &["info", "--json", &bundle()]))).unwrap();
    assert_eq!(json["storage"], "int8");
}

fn bundle() -> String {
    let path: PathBuf = data("../core/assets/u-medsam-int8.umedsam").into();
    path.display().to_string()
}

#[test]
fn a_model_that_did_not_pass_the_accuracy_gate_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let built_in = umedsam::Model::bundled().unwrap();
    let mut manifest = built_in.manifest().clone();
    let write = |manifest: &umedsam::Manifest| {
        let path = folder.path().join("model.umedsam");
        umedsam::write_bundle(&path, built_in.encoder_onnx(), built_in.decoder_onnx(), manifest).unwrap();
    };
    let cell = data("assets/cell.png");
    let notes = |more: &[&str]| {
        let segment = ["segment", &cell, "--box", "360,305,496,442", "--model", "model.umedsam"];
        let output = umedsam(folder.path(), &[&segment[..], more].concat());
        assert!(output.status.success(), "{}", err(&output));
        err(&output)
    };
    let info = || out(&umedsam(folder.path(), &["info", "model.umedsam"]));
    manifest.validation = None;
    write(&manifest);
    assert_eq!(notes(&[]), "umedsam: validation: none: this model went through no accuracy gate\n");
    assert!(info().contains("no accuracy gate"));

    let iou_correlation = serde_json::json!({ "reference": null, "model": null });
    let report = serde_json::json!({ "version": umedsam::validation::VALIDATION_VERSION, "verdict": "passed",
        "reasons": [], "bounds": umedsam::validation::Bounds::default(), "cases": 3, "failed": 0,
        "iou_correlation": iou_correlation, "rows": [], "model": { "name": "m", "storage": "f16",
        "precision": "f32", "size_bytes": 1, "encoder_sha256": manifest.encoder_sha256,
        "decoder_sha256": manifest.decoder_sha256 } });
    let stamp = |change: &[(&str, serde_json::Value)]| {
        let mut report = report.clone();
        report["reference"] = report["model"].clone();
        change.iter().for_each(|(pointer, value)| *report.pointer_mut(pointer).unwrap() = value.clone());
        let mut manifest = manifest.clone();
        manifest.validation = Some(serde_json::from_value(report).unwrap());
        write(&manifest);
    };
    stamp(&[]);
    assert_eq!(notes(&[]), "");
    assert!(
        info().contains("passed the accuracy gate in f32 against m f16 in f32; 0 of 0 rows judged, 0 cases"),
        "{}",
        info()
    );
    assert!(notes(&["--precision", "bf16"]).contains("none in bf16: this model passed the accuracy gate in f32"));
    stamp(&[("/verdict", "refused".into()), ("/reasons", serde_json::json!(["it loses", "it fails"]))]);
    assert!(notes(&[]).contains("refused by the accuracy gate: it loses (and 1 more)"));
    stamp(&[("/model/decoder_sha256", "0".repeat(64).into())]);
    assert!(notes(&[]).contains("none: the report in this bundle is about other graphs (m, passed)"));
}

#[test]
fn reports_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let report = |name: &str, scores: [f64; 2]| {
        let case = |(i, dsc): (usize, f64)| serde_json::json!({ "case": format!("2DBox_US_{i}.npz"), "labels": 1, "dsc": dsc, "nsd_upstream": 1, "nsd": 0.5 });
        let cases: Vec<_> = scores.into_iter().enumerate().map(case).collect();
        let text = serde_json::json!({ "rows": [], "cases": cases }).to_string();
        std::fs::write(folder.path().join(name), text).unwrap();
    };
    report("base.json", [0.5, 0.7]);
    report("one.json", [0.6, 0.8]);
    report("two.json", [0.8, 1.0]);
    let compare = ["compare", "--base", "base.json", "--other", "one.json", "two.json"];
    let text = out(&umedsam(folder.path(), &compare));
    // Two runs of +10 and +30 points.
    assert!(text.contains("+20.00 [+20.00, +20.00] ") && text.contains(" +0.00 [+0.00, +0.00]"), "{text}");

    // What one report lacks is named, and compared without only if that is asked for.
    let cases = |names: &[&str]| {
        let case = |name: &&str| serde_json::json!({ "case": name, "labels": 1, "dsc": 0.5, "nsd": 0.5 });
        serde_json::json!({ "cases": names.iter().map(case).collect::<Vec<_>>() }).to_string()
    };
    let names = ["2DBox_US_0.npz", "2DBox_US_1.npz", "2DBox_US_7.npz", "3DBox_PET_0.npz"];
    std::fs::write(folder.path().join("more.json"), cases(&names)).unwrap();
    std::fs::write(folder.path().join("none.json"), cases(&[])).unwrap();
    let with = |other: &str, more: &[&str]| {
        let compare = ["compare", "--base", "base.json", "--other", other];
        umedsam(folder.path(), &[&compare[..], more].concat())
    };
    let lacks = "base.json has no DSC of 2 of 4 cases: 2DBox_US_7.npz, 3DBox_PET_0.npz; no case at all of PET 3D";
    let message = failure(&with("more.json", &[]));
    assert!(message.contains(lacks) && message.contains("--common"), "{message}");
    let output = with("more.json", &["--common"]);
    assert!(err(&output).contains(lacks) && !out(&output).contains("PET"));
    let message = failure(&with("none.json", &["--common"]));
    assert!(message.contains("no case in common"), "{message}");
    std::fs::write(folder.path().join("two.json"), "[]").unwrap();
    assert!(failure(&umedsam(folder.path(), &compare)).contains("two.json"));
    assert!(failure(&umedsam(folder.path(), &["compare", "--base", "base.json"])).contains("--other"));
}
