//! Weights as safetensors, and parts that are laid over them.
#![no_main]

use std::io::Write as _;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use umedsam_export::checkpoint::{Provenance, Weights};

static BASE: LazyLock<Weights> = LazyLock::new(|| Weights::synthetic(1));

fuzz_target!(|bytes: &[u8]| {
    let _ = Weights::from_bytes(bytes);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let _ = BASE.with_part(file.path(), Provenance::default());
});
