//! Label maps as NIfTI-1.

use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use umedsam::VolumeSize;
use umedsam::files::write_atomically;

use super::header::{self, Forms};
use crate::labels::Grid;
use crate::read::Source;
use crate::scan::Affine;

/// What is written as the description, by which the files are known again.
const DESCRIPTION: &[u8] = b"umedsam";
const OFFSET: u16 = 352;

/// Writes a label map: packed where the name ends with `.gz`, in 8 bits, or 16 for labels beyond 255. `forms`, those of a
/// NIfTI file with this grid, are copied.
///
/// # Errors
/// The system's; [`io::ErrorKind::InvalidInput`] if there are not as many labels as voxels, or a side is beyond 32767.
pub fn write_labels(path: &Path, labels: &[u16], grid: &Grid, forms: Option<&Forms>) -> io::Result<()> {
    let forms = match (forms, &grid.affine) {
        (Some(forms), _) => *forms,
        (_, Some(affine)) => Forms::of(affine),
        (_, None) => {
            let [x, y, z] = grid.spacing.unwrap_or([1.0; 3]);
            let affine = Affine([[x, 0.0, 0.0, 0.0], [0.0, y, 0.0, 0.0], [0.0, 0.0, z, 0.0]]);
            Forms { qform_code: 0, sform_code: 0, ..Forms::of(&affine) }
        }
    };
    let wide = labels.iter().any(|&l| l > 255);
    let header = header(grid.size, &forms, wide, labels.len())?;
    let packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    write_atomically(path, |file| {
        if packed {
            let mut encoder = GzEncoder::new(file, Compression::new(6));
            body(&mut encoder, &header, labels, wide)?;
            encoder.finish().map(drop)
        } else {
            body(file, &header, labels, wide)
        }
    })
}

/// Whether [`write_labels`] wrote this file.
pub fn is_segmentation(path: &Path) -> bool {
    let mut bytes = [0; 348];
    let filled = Source::open(path).and_then(|mut source| {
        source.fill(&mut bytes, |actual| crate::read::Problem::Ended { part: "the header", expected: 348, actual })
    });
    filled.is_ok()
        && header::length([bytes[0], bytes[1], bytes[2], bytes[3]]) == Some((348, false))
        && bytes[148..228].strip_prefix(DESCRIPTION).is_some_and(|rest| rest[0] == 0)
}

fn body(file: &mut dyn Write, header: &[u8], labels: &[u16], wide: bool) -> io::Result<()> {
    file.write_all(header)?;
    write_values(file, labels, wide)
}

/// Writes labels as bytes, or as little-endian words.
pub(crate) fn write_values(file: &mut dyn Write, labels: &[u16], wide: bool) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(1 << 14);
    for piece in labels.chunks(1 << 13) {
        bytes.clear();
        if wide {
            bytes.extend(piece.iter().flat_map(|l| l.to_le_bytes()));
        } else {
            bytes.extend(piece.iter().map(|&l| l as u8));
        }
        file.write_all(&bytes)?;
    }
    Ok(())
}

fn header(size: VolumeSize, forms: &Forms, wide: bool, count: usize) -> io::Result<Vec<u8>> {
    let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
    let VolumeSize { depth, height, width } = size;
    if depth.checked_mul(height).and_then(|n| n.checked_mul(width)) != Some(count) {
        return Err(invalid(format!("{count} labels for {width}x{height}x{depth} voxels")));
    }
    let mut bytes = vec![0; usize::from(OFFSET)];
    let mut put = |offset: usize, field: &[u8]| bytes[offset..][..field.len()].copy_from_slice(field);
    put(0, &348i32.to_le_bytes());
    let sides = [width, height, depth].map(i16::try_from);
    for (i, side) in [Ok(3), sides[0], sides[1], sides[2], Ok(1), Ok(1), Ok(1), Ok(1)].into_iter().enumerate() {
        let side = side.map_err(|_| invalid(format!("{width}x{height}x{depth} voxels; NIfTI-1 has sides to 32767")))?;
        put(40 + 2 * i, &side.to_le_bytes());
    }
    let (datatype, bits) = if wide { (512i16, 16i16) } else { (2, 8) };
    put(70, &datatype.to_le_bytes());
    put(72, &bits.to_le_bytes());
    let mut floats = |offset: usize, values: &[f64]| {
        for (i, &value) in values.iter().enumerate() {
            put(offset + 4 * i, &(value as f32).to_le_bytes());
        }
    };
    floats(76, &forms.pixdim);
    floats(108, &[OFFSET.into(), 1.0, 0.0]);
    floats(256, &forms.quaternion);
    floats(268, &forms.offset);
    floats(280, forms.matrix.as_flattened());
    put(123, &[2]);
    put(148, DESCRIPTION);
    put(252, &forms.qform_code.to_le_bytes());
    put(254, &forms.sform_code.to_le_bytes());
    put(344, b"n+1\0");
    Ok(bytes)
}
