//! Files of boxes, in each format: the first byte chooses it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umedsam_demo::boxes::{FileBoxes, read_boxes};
use umedsam_demo::scan::Affine;

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, text)) = bytes.split_first() else { return };
    let ending = [".csv", ".json", ".mrk.json"][usize::from(kind) % 3];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("boxes{ending}"));
    std::fs::write(&path, text).unwrap();
    if let Ok(FileBoxes::Patient(boxes, _)) = read_boxes(&path) {
        let affine = Affine([[-0.7, 0.0, 0.1, 90.0], [0.0, -0.7, 0.0, 120.0], [0.0, 0.2, 2.5, -50.0]]);
        boxes.iter().for_each(|b| {
            let _ = b.to_voxels(&affine);
        });
    }
});
