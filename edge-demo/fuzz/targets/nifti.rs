//! NIfTI-1 and -2.
#![no_main]

use std::io::Write as _;

use libfuzzer_sys::fuzz_target;
use umedsam_demo::nifti::read;
use umedsam_demo::scan::Window;
use umedsam_demo::read::ReadOptions;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let options = ReadOptions::new().with_memory(32 << 20);
    let Ok(scan) = read(file.path(), &options) else { return };
    let _ = scan.to_8bit(Window::Percentiles);
});
