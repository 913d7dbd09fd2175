//! Writing a case as the challenge's NPZ file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::cases::Case;

/// Writes `imgs`, `boxes` and, for a volume, `spacing`, compressed as the challenge's files are.
pub(crate) fn write(path: &Path, case: &Case) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let mut zip = ZipWriter::new(BufWriter::new(file));
    // The fastest level: reading takes as long whatever the level.
    let options = SimpleFileOptions::default().compression_level(Some(1));
    let mut add = |name: &str, kind: &str, shape: &[usize], bytes: &[u8]| -> anyhow::Result<()> {
        zip.start_file(format!("{name}.npy"), options)?;
        zip.write_all(&header(kind, shape))?;
        Ok(zip.write_all(bytes)?)
    };
    add("imgs", "|u1", &case.shape(), &case.pixels())?;
    let boxes: Vec<u8> = case.boxes().iter().flat_map(|v| v.to_le_bytes()).collect();
    add("boxes", "<i8", &[case.objects, if case.depth.is_some() { 6 } else { 4 }], &boxes)?;
    if case.depth.is_some() {
        add("spacing", "<f8", &[3], &[0.8f64, 0.8, 2.5].map(f64::to_le_bytes).concat())?;
    }
    zip.finish()?.flush()?;
    Ok(())
}

/// The start of a .npy array, a multiple of 64 bytes long.
fn header(kind: &str, shape: &[usize]) -> Vec<u8> {
    let sides: String = shape.iter().map(|n| format!("{n},")).collect();
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({sides}), }}");
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{text:<0$}\n", length - 1).into_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use umedsam::npz::{self, Boxes, Limits};

    use super::*;
    use crate::cases::CASES;

    #[test]
    fn our_reader_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("case.npz");
        let small = Case { depth: Some(4), height: 20, width: 30, objects: 2, ..CASES[0] };
        for case in [small, Case { depth: None, ..small }] {
            write(&path, &case).unwrap();
            let read = npz::Case::read(&path, &Limits::new()).unwrap();
            assert_eq!((read.shape.depth, read.shape.height, read.shape.width), (case.depth, 20, 30));
            assert_eq!(read.pixels, case.pixels());
            let boxes = match read.boxes {
                Boxes::Plane(boxes) => boxes.len(),
                Boxes::Volume(boxes) => boxes.len(),
            };
            assert_eq!(boxes, 2);
        }
    }
}
