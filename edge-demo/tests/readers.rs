//! Images of independent makers, read as independent readers read them (tests/golden/readers.py).
#![cfg(feature = "reader-tests")]

#[path = "common/golden.rs"]
mod golden;

use std::path::{Path, PathBuf};

use serde_json::Value;
use umedsam_demo::read::{ReadOptions, read};

fn files() -> PathBuf {
    std::env::var_os("UMEDSAM_FILES").map(PathBuf::from).expect("UMEDSAM_FILES, which tests/files.sh prints")
}

#[test]
fn files_of_other_makers_are_read_as_others_read_them() {
    let table = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/readers.json")).unwrap();
    let table: Vec<Value> = serde_json::from_slice(&table).unwrap();
    assert!(table.len() > 150, "{} files", table.len());
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|entry| golden::check(&files(), entry).err().map(|error| format!("{}: {error}", entry["file"])))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.len(), wrong.join("\n"));
}

/// Real files of each kind of compression, cut and with bytes changed: an image or an error, and nothing else. What is
/// changed is the same in each run.
#[test]
fn damaged_files_of_other_makers_end_in_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let options = ReadOptions::new().with_memory(256 << 20);
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut read_all_the_same, mut refused) = (0, 0);
    for name in [
        "pydicom/test_files/MR_small_RLE.dcm",
        "pydicom/test_files/MR_small_jp2klossless.dcm",
        "pydicom/test_files/J2K_pixelrep_mismatch.dcm",
        "pydicom/test_files/SC_rgb_jpeg_dcmtk.dcm",
        "pydicom-data/JPEG-LL.dcm",
        "pydicom/test_files/MR_small_jpeg_ls_lossless.dcm",
        "pydicom/test_files/JPEGLSNearLossless_16.dcm",
        "pydicom/test_files/image_dfl.dcm",
        "pydicom/test_files/CT_small.dcm",
        "pydicom/test_files/nested_priv_SQ.dcm",
        "pydicom-data/emri_small_jpeg_2k_lossless.dcm",
        "pydicom-data/eCT_Supplemental.dcm",
        "nibabel/tests/data/example_nifti2.nii.gz",
        "nibabel/tests/data/anatomical.nii",
    ] {
        let whole = std::fs::read(files().join(name)).unwrap();
        for round in 0..60 {
            let mut bytes = whole.clone();
            if round < 20 {
                bytes.truncate(random(whole.len()));
            } else {
                // Half of them in the headers.
                let within = if round % 2 == 0 { whole.len() } else { whole.len().min(3000) };
                (0..1 + round % 8).for_each(|_| bytes[random(within)] = random(256) as u8);
            }
            std::fs::write(&path, &bytes).unwrap();
            match read(&path, &options) {
                Ok(_) => read_all_the_same += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(read_all_the_same > 50 && refused > 200, "{read_all_the_same} read, {refused} refused");
}

#[test]
fn files_are_shown_as_they_ask() {
    let shown = |name: &str, window: &str| {
        let scan = read(&files().join(name), &ReadOptions::new()).unwrap();
        let shown = scan.to_8bit(window.parse().unwrap()).unwrap();
        let words: Vec<String> = shown.applied.iter().map(ToString::to_string).collect();
        (scan.values.to_f64(), shown.pixels, words.join("; "))
    };
    // MONOCHROME1: what is low is bright.
    let (values, pixels, words) = shown("pydicom-data/RG1_UNCR.dcm", "percentiles");
    assert!(words.contains("inverted"), "{words}");
    let at = |find: fn(f64, f64) -> f64| {
        let extreme = values.iter().copied().reduce(find).unwrap();
        pixels[values.iter().position(|v| *v == extreme).unwrap()]
    };
    assert_eq!((at(f64::min), at(f64::max)), (255, 0));
    // The first of two windows, center 450 and width 790: (200 - 449.5) / 789 + 0.5 of 255.
    let (values, pixels, words) = shown("pydicom/test_files/examples_overlay.dcm", "file");
    assert!(words.contains("the file's own"), "{words}");
    let dump = values.iter().zip(&pixels).find(|(v, _)| **v == 200.0).unwrap();
    assert_eq!(*dump.1, 46);
    // A VOI LUT.
    let (_, pixels, words) = shown("pydicom-data/vlut_04.dcm", "file");
    assert!(words.contains("VOI LUT"), "{words}");
    assert!(pixels.iter().any(|p| *p > 200) && pixels.iter().any(|p| *p < 50));
    // RGB stays.
    let (values, pixels, _) = shown("pydicom/test_files/SC_rgb_small_odd.dcm", "auto");
    assert!(values.iter().zip(&pixels).all(|(v, p)| *v == f64::from(*p)));
}
