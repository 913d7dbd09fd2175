//! Writing segmentations, and recognising them.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Write};
use std::path::Path;
use std::prelude::v1::*;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::npy::Header;
use super::{NpzError, Problem};
use crate::files::write_atomically;

/// Comment of the archives that are written here, which numpy passes over.
const COMMENT: &str = "umedsam segmentation";

/// Whether [`write_segs`] wrote this file: it is an archive with the comment of this library and with `segs` alone.
pub fn is_segmentation(path: &Path) -> bool {
    let archive = File::open(path).ok().and_then(|file| ZipArchive::new(BufReader::new(file)).ok());
    archive.is_some_and(|zip| {
        zip.comment() == COMMENT.as_bytes() && zip.len() == 1 && zip.index_for_name("segs.npy").is_some()
    })
}

/// Writes a label map of this shape, (H,W) or (D,H,W), compressed; numpy reads it by `np.load(path)["segs"]`.
///
/// Labels up to 255 are stored in 8 bits, as the published LiteMedSAM does it, greater ones in 16 bits.
///
/// # Errors
/// [`NpzError`] if the file cannot be written.
pub fn write_segs(path: &Path, labels: &[u16], shape: &[usize]) -> Result<(), NpzError> {
    let io = |e| NpzError { path: path.into(), array: Some("segs"), problem: Problem::Io(e) };
    assert_eq!(shape.iter().product::<usize>(), labels.len(), "shape of the labels");
    let bytes = encode(labels, shape).map_err(io)?;
    write_atomically(path, |file| file.write_all(&bytes)).map_err(io)
}

fn encode(labels: &[u16], shape: &[usize]) -> io::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    // The fastest level: label maps compress to little at any.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1))
        .large_file(labels.len() >= 1 << 30);
    zip.set_comment(COMMENT)?;
    zip.start_file("segs.npy", options)?;
    let mut buffered = io::BufWriter::with_capacity(1 << 16, &mut zip);
    if labels.iter().all(|&l| l <= 255) {
        buffered.write_all(&Header::bytes("|u1", shape))?;
        labels.iter().try_for_each(|&l| buffered.write_all(&[l as u8]))?;
    } else {
        buffered.write_all(&Header::bytes("<u2", shape))?;
        labels.iter().try_for_each(|&l| buffered.write_all(&l.to_le_bytes()))?;
    }
    buffered.flush()?;
    drop(buffered);
    Ok(zip.finish()?.into_inner())
}
