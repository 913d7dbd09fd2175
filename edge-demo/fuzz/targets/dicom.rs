//! DICOM: elements, codecs, geometry and windows; and segmentations on their own voxels.
#![no_main]

use std::io::Write as _;

use libfuzzer_sys::fuzz_target;
use umedsam_demo::dicom::read_file;
use umedsam_demo::labels::{Labels, Selection};
use umedsam_demo::scan::Window;
use umedsam_demo::read::ReadOptions;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let options = ReadOptions::new().with_memory(32 << 20);
    if let Ok(scan) = read_file(file.path(), &options) {
        let _ = scan.to_8bit(Window::File);
        let _ = scan.to_8bit(Window::Percentiles);
    }
    let Ok(labels) = Labels::read(file.path(), &options) else { return };
    let Ok(grid) = labels.grid(&labels, &options) else { return };
    let _ = labels.on(&grid, None, &Selection::all());
});
