//! Run lengths: each byte of each sample is a plane, the high bytes first, packed as PackBits.

use super::super::image::Format;
use super::{Decoded, native};
use crate::read::Problem;

pub(super) fn decode(data: &[u8], format: &Format) -> Result<Decoded, Problem> {
    let size = format.rows * format.columns;
    let bytes = format.allocated.div_ceil(8);
    let segments = format.samples * bytes;
    let damaged = |reason: String| Problem::Damaged(format!("RLE: {reason}"));
    let header: Vec<usize> =
        data.chunks_exact(4).take(16).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    if header.first() != Some(&segments) || header.len() < 16 {
        return Err(damaged(format!("{:?} segments of {segments}", header.first())));
    }
    let mut planes = umedsam::memory::filled(format.values(), 0i64)?;
    for segment in 0..segments {
        let start = header[1 + segment];
        let end = if segment + 1 < segments { header[2 + segment] } else { data.len() };
        let packed = data.get(start..end).ok_or_else(|| damaged(format!("segment {segment} is beyond the frame")))?;
        let shift = 8 * (bytes - 1 - segment % bytes);
        let plane = &mut planes[segment / bytes * size..][..size];
        let filled = unpack(packed, |i, byte| {
            if let Some(value) = plane.get_mut(i) {
                *value |= i64::from(byte) << shift;
            }
            i + 1 < size
        });
        if filled < size {
            return Err(damaged(format!("segment {segment} holds {filled} of {size} bytes")));
        }
    }
    let values = if format.samples > 1 { native::interleave(&planes, format.samples) } else { planes };
    Ok(Decoded { values, rgb: false, bits: None })
}

/// Hands on bytes with their places until `take` says that it has enough; returns their number.
fn unpack(packed: &[u8], mut take: impl FnMut(usize, u8) -> bool) -> usize {
    let mut rest = packed;
    let mut count = 0;
    let mut put = |byte| {
        count += 1;
        take(count - 1, byte)
    };
    while let [control, tail @ ..] = rest {
        match *control {
            128 => rest = tail,
            n @ 0..128 => {
                let run = &tail[..tail.len().min(usize::from(n) + 1)];
                if !run.iter().all(|&byte| put(byte)) {
                    return count;
                }
                rest = &tail[run.len()..];
            }
            n => {
                let [byte, after @ ..] = tail else { return count };
                if !(0..257 - usize::from(n)).all(|_| put(*byte)) {
                    return count;
                }
                rest = after;
            }
        }
    }
    count
}
