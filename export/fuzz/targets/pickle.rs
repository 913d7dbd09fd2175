//! Pickles alone, in an archive that is right: no checksum stands between a changed byte and the machine that reads it.
#![no_main]

use std::io::{Cursor, Write as _};

use libfuzzer_sys::fuzz_target;
use umedsam_export::checkpoint::{Checkpoint, Limits};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fuzz_target!(|pickle: &[u8]| {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    // Storages of the sizes that `export/tests/data/good.pth` declares.
    let members: [(&str, &[u8]); 12] = [
        ("a/data.pkl", pickle),
        ("a/byteorder", b"little"),
        ("a/data/0", &[1; 24]),
        ("a/data/1", &[1; 48]),
        ("a/data/2", &[1; 4]),
        ("a/data/3", &[1; 8]),
        ("a/data/4", &[1; 6]),
        ("a/data/5", &[1; 8]),
        ("a/data/6", &[1; 16]),
        ("a/data/7", &[1; 4]),
        ("a/data/8", &[1; 8]),
        ("a/data/9", &[]),
    ];
    for (name, content) in members {
        archive.start_file(name, options).unwrap();
        archive.write_all(content).unwrap();
    }
    let pth = archive.finish().unwrap().into_inner();
    let limits = Limits::default().with_pickle_bytes(1 << 20).with_tensor_bytes(1 << 20);
    let _ = Checkpoint::from_bytes(pth, limits).unwrap().tensors();
});
