//! Frames that are not compressed.

use super::super::elements::Pixels;
use super::super::file::DicomFile;
use super::super::image::Format;
use super::Decoded;
use crate::read::Problem;

pub(super) fn decode(data: &[u8], bit: usize, file: &DicomFile, format: &Format) -> Result<Decoded, Problem> {
    let big = file.big;
    let words = matches!(file.pixels, Some(Pixels::Native { words: true, .. }));
    let mut values = umedsam::memory::with_room(format.values())?;
    match format.allocated {
        1 => values.extend((bit..).take(format.values()).map(|i| i64::from(data[i / 8] >> (i % 8) & 1))),
        // Words of big-endian files hold two bytes, the first of which is the high one.
        8 if big && words => {
            values
                .extend(data.chunks(2).flat_map(|pair| pair.iter().rev()).map(|&b| i64::from(b)).take(format.values()));
        }
        8 => values.extend(data.iter().map(|&b| i64::from(b))),
        16 => values.extend(data.chunks_exact(2).map(|b| {
            let pair = [b[0], b[1]];
            i64::from(if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
        })),
        _ => values.extend(data.chunks_exact(4).map(|b| {
            let four = [b[0], b[1], b[2], b[3]];
            i64::from(if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
        })),
    }
    if format.photometric == "YBR_FULL_422" && format.allocated == 8 {
        values = spread(&values);
    } else if format.planar {
        values = interleave(&values, format.samples);
    }
    Ok(Decoded { values, rgb: false, bits: None })
}

/// Two pixels share their colour: Y Y Cb Cr.
fn spread(values: &[i64]) -> Vec<i64> {
    values.chunks_exact(4).flat_map(|v| [v[0], v[2], v[3], v[1], v[2], v[3]]).collect()
}

/// Planes to pixels.
pub(super) fn interleave(planes: &[i64], samples: usize) -> Vec<i64> {
    let size = planes.len() / samples;
    (0..size).flat_map(|i| (0..samples).map(move |s| planes[s * size + i])).collect()
}
