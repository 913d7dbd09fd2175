//! JPEG-LS of gray images, lossless and near-lossless, of 2 to 16 bits.

use jpegls::CodecError;

use super::super::image::Format;
use super::{Decoded, same_size};
use crate::read::Problem;

pub(super) fn decode(data: &[u8], format: &Format) -> Result<Decoded, Problem> {
    if format.samples != 1 {
        return Err(Problem::Unsupported(format!("JPEG-LS of {} components is not decoded; 1 is", format.samples)));
    }
    // DICOM's sizes are of 16 bits.
    let [columns, rows] = [format.columns, format.rows].map(|side| side as u32);
    let failed = |error| match error {
        CodecError::Unsupported(reason) => Problem::Unsupported(format!("JPEG-LS: {reason}")),
        CodecError::DimensionMismatch { .. } => {
            Problem::Damaged(format!("JPEG-LS of another size than {columns}x{rows}, which the file tells"))
        }
        other => Problem::Damaged(format!("JPEG-LS: {other}")),
    };
    let (found, width, height) = jpegls::decode(data, columns, rows).map_err(failed)?;
    same_size("JPEG-LS", [width as usize, height as usize, 1], format)?;
    let mut values = umedsam::memory::with_room(format.values())?;
    values.extend(found.iter().map(|&value| i64::from(value)));
    Ok(Decoded { values, rgb: false, bits: None })
}
