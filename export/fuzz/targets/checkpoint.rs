//! Wheels and PyTorch checkpoints, as files: the archive, the one inside it, the pickle and the storages.
#![no_main]

use std::io::Write as _;

use libfuzzer_sys::fuzz_target;
use umedsam_export::checkpoint::{Checkpoint, Limits};

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let limits = Limits::default().with_pickle_bytes(1 << 20).with_tensor_bytes(1 << 20);
    let Ok(checkpoint) = Checkpoint::open_with(file.path(), limits) else { return };
    if let Ok(tensors) = checkpoint.tensors() {
        assert!(tensors.values().map(|t| t.len() * 4).sum::<usize>() <= 1 << 20);
    }
});
