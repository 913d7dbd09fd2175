//! MetaImage.
#![no_main]

use std::io::Write as _;

use libfuzzer_sys::fuzz_target;
use umedsam_demo::metaimage::read;
use umedsam_demo::read::ReadOptions;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let options = ReadOptions::new().with_memory(32 << 20);
    let _ = read(file.path(), &options);
    let _ = read(file.path(), &options.with_frame(1));
});
