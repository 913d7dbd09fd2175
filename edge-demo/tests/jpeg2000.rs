//! JPEG 2000 and HTJ2K in DICOM: signed values of 16 bits, and codestreams that are cut or lie.

#[path = "common/dicom.rs"]
mod dicom;

use std::path::Path;

use umedsam_demo::read::{Problem, ReadError, ReadOptions, read};
use umedsam_demo::scan::Scan;

/// A file of `tests/data/jpeg2000`, made by tests/golden/jpeg2000_made.py.
fn made(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/jpeg2000").join(name)).unwrap()
}

fn read_as(syntax: &str, codestream: &[u8]) -> Result<Scan, ReadError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), dicom::encapsulated(&dicom::slice(0, 2.0), syntax, codestream)).unwrap();
    read(file.path(), &ReadOptions::new().with_memory(64 << 20))
}

/// As the files are made, with the slice's intercept.
fn expected() -> Vec<f64> {
    (0..24).map(|i| f64::from(2700 * i - 30_000 - 1000)).collect()
}

const LOSSLESS: &str = "1.2.840.10008.1.2.4.90";
const HTJ2K: &str = "1.2.840.10008.1.2.4.201";

#[test]
fn signed_values_are_exact() {
    assert_eq!(read_as(LOSSLESS, &made("signed.j2k")).unwrap().values.to_f64(), expected());
    let fast = read_as(HTJ2K, &made("signed.jhc"));
    if cfg!(feature = "htj2k") {
        assert_eq!(fast.unwrap().values.to_f64(), expected());
    } else {
        let error = fast.unwrap_err().to_string();
        assert!(error.contains("High-Throughput JPEG 2000, without the feature htj2k"), "{error}");
    }
}

#[test]
fn codestreams_that_are_cut_or_lie_are_refused() {
    let whole = made("signed.j2k");
    // Without its last marker it is still whole.
    for cut in 0..whole.len() - 2 {
        let error = read_as(LOSSLESS, &whole[..cut]).unwrap_err();
        assert!(matches!(error.problem, Problem::Damaged(_)), "{cut}: {error}");
    }
    let lie = |at: usize, bytes: &[u8]| {
        let mut lying = whole.clone();
        lying[at..][..bytes.len()].copy_from_slice(bytes);
        read_as(LOSSLESS, &lying).unwrap_err().to_string()
    };
    assert!(lie(8, &[0, 1, 0, 0]).contains("65536x4x1 where the file tells 6x4x1"));
    assert!(lie(24, &[0, 0, 0, 0]).contains("contradict each other"));
    assert!(lie(40, &[0xff, 0xff]).contains("6x4x65535"));
    assert!(lie(42, &[37]).contains("JPEG 2000 of 38 bits is not decoded"));
    assert!(lie(43, &[2]).contains("components of other sizes"));
    // What is in it is told by the codestream, not by the transfer syntax.
    assert!(read_as(LOSSLESS, &made("signed.jhc")).unwrap_err().to_string().contains("JPEG 2000: "));
}
