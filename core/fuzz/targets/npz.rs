//! The challenge's NPZ files, read in each way that the commands read them.
#![no_main]

use std::io::Write as _;

use libfuzzer_sys::fuzz_target;
use umedsam::npz::{Case, Labelled, Limits, Truth, read_segs, read_spacing};

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::with_suffix(".npz").unwrap();
    file.write_all(bytes).unwrap();
    let limits = Limits::new().with_peak_bytes(64 << 20);
    let path = file.path();
    let _ = Case::read(path, &limits);
    let _ = Labelled::read(path, &limits);
    let _ = Truth::read(path, &limits);
    let _ = read_segs(path, &limits);
    let _ = read_spacing(path, &limits);
});
