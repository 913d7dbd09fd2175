//! Writing segmentations and cases, and recognising them.

use std::io::{self, BufReader, Cursor, Write};
use std::path::Path;
use std::prelude::v1::*;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::npy::Header;
use super::{Boxes, NpzError, Problem, Shape};
use crate::files::{File, write_atomically};

/// Comments of the archives that are written here, which numpy passes over.
const COMMENT: &str = "umedsam segmentation";
const CASE: &str = "umedsam case";

/// Whether [`write_segs`] wrote this file: it is an archive with the comment of this library and with `segs` alone.
pub fn is_segmentation(path: &Path) -> bool {
    archive(path).is_some_and(|zip| {
        zip.comment() == COMMENT.as_bytes() && zip.len() == 1 && zip.index_for_name("segs.npy").is_some()
    })
}

/// Whether [`write_case`] wrote this file.
pub fn is_case(path: &Path) -> bool {
    archive(path).is_some_and(|zip| zip.comment() == CASE.as_bytes())
}

fn archive(path: &Path) -> Option<ZipArchive<BufReader<File>>> {
    File::open(path).ok().and_then(|file| ZipArchive::new(BufReader::new(file)).ok())
}

/// A case for training and evaluation, to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewCase<'a> {
    /// 8-bit intensities, slice by slice, row by row, channels interleaved.
    pub pixels: &'a [u8],
    /// Their size.
    pub shape: Shape,
    /// Label map of this size; 0 is background.
    pub labels: &'a [u16],
    /// A box around each object, in the order of the labels. Corners are written as whole numbers.
    pub boxes: &'a Boxes,
    /// Size of a voxel along x, y and z in mm, where it is known.
    pub spacing: Option<[f64; 3]>,
    /// From a voxel's x, y and z to its place in the patient (right, anterior, superior, in mm), where it is known.
    pub affine: Option<[[f64; 4]; 3]>,
}

/// Writes a case: `imgs`, `gts` and `boxes`, and where they are known `spacing` (3) and `affine` (3,4), compressed.
///
/// # Errors
/// [`NpzError`] if the file cannot be written, or pixels or labels are not as many as the shape says.
pub fn write_case(path: &Path, case: &NewCase<'_>) -> Result<(), NpzError> {
    let fail = |array, problem| NpzError { path: path.into(), array, problem };
    let NewCase { shape, .. } = case;
    let shown = shape.labels().into_iter().chain((shape.channels > 1).then_some(shape.channels)).collect::<Vec<_>>();
    for (array, shape, count) in [("imgs", &shown, case.pixels.len()), ("gts", &shape.labels(), case.labels.len())] {
        if shape.iter().product::<usize>() != count {
            let expected = format!("one for {count} values");
            return Err(fail(Some(array), Problem::Shape { found: shape.clone(), expected }));
        }
    }
    let corners: Vec<f64> = match case.boxes {
        Boxes::Plane(boxes) => boxes.iter().flat_map(|b| [b.x0, b.y0, b.x1, b.y1]).collect(),
        Boxes::Volume(boxes) => {
            boxes.iter().flat_map(|b| [b.plane.x0, b.plane.y0, b.z0, b.plane.x1, b.plane.y1, b.z1]).collect()
        }
    };
    let count = case.boxes.len();
    let boxes: Vec<u8> = corners.iter().flat_map(|&v| (v as i32).to_le_bytes()).collect();
    let floats = |values: &[f64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let write = || {
        let mut npz = Writer::new(CASE)?;
        npz.array("imgs", "|u1", &shown, |file| file.write_all(case.pixels))?;
        npz.labels("gts", &shape.labels(), case.labels)?;
        npz.array("boxes", "<i4", &[count, corners.len() / count.max(1)], |file| file.write_all(&boxes))?;
        if let Some(spacing) = &case.spacing {
            npz.array("spacing", "<f8", &[3], |file| file.write_all(&floats(spacing)))?;
        }
        if let Some(affine) = &case.affine {
            npz.array("affine", "<f8", &[3, 4], |file| file.write_all(&floats(affine.as_flattened())))?;
        }
        npz.finish()
    };
    let bytes = write().map_err(|e| fail(None, Problem::Io(e)))?;
    write_atomically(path, |file| file.write_all(&bytes)).map_err(|e| fail(None, Problem::Io(e)))
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
    let mut npz = Writer::new(COMMENT)?;
    npz.labels("segs", shape, labels)?;
    npz.finish()
}

/// An archive in memory.
struct Writer(ZipWriter<Cursor<Vec<u8>>>);

impl Writer {
    fn new(comment: &'static str) -> io::Result<Self> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.set_comment(comment)?;
        Ok(Self(zip))
    }

    /// Adds an array of little-endian values in C order.
    fn array(
        &mut self,
        name: &str,
        kind: &str,
        shape: &[usize],
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        // The fastest level: label maps compress to little at any.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .large_file(shape.iter().product::<usize>() >= 1 << 29);
        self.0.start_file(format!("{name}.npy"), options)?;
        let mut buffered = io::BufWriter::with_capacity(1 << 16, &mut self.0);
        buffered.write_all(&Header::bytes(kind, shape))?;
        write(&mut buffered)?;
        buffered.flush()
    }

    /// Adds labels, in 8 bits if they are at most 255, else in 16.
    fn labels(&mut self, name: &str, shape: &[usize], labels: &[u16]) -> io::Result<()> {
        if labels.iter().all(|&l| l <= 255) {
            self.array(name, "|u1", shape, |file| labels.iter().try_for_each(|&l| file.write_all(&[l as u8])))
        } else {
            self.array(name, "<u2", shape, |file| labels.iter().try_for_each(|&l| file.write_all(&l.to_le_bytes())))
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        Ok(self.0.finish()?.into_inner())
    }
}
