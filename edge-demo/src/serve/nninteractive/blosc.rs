//! Chunks of blosc2 with zstd: decoding, and writing them stored.
//!
//! A chunk has a header of 32 bytes and, unless it is stored or all zeros, the places of its blocks. A block is one stream,
//! or one for each byte of an element. Lengths in a chunk are anybody's claim: nothing is read or taken beyond its bounds.

use std::io::Read;

use ruzstd::decoding::StreamingDecoder;

const HEADER: usize = 32;

/// A chunk that cannot be read, in words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("blosc2 chunk: {0}")]
pub(super) struct Damaged(String);

fn damaged<T>(what: impl Into<String>) -> Result<T, Damaged> {
    Err(Damaged(what.into()))
}

/// Four bytes at a place, as a number.
fn int(bytes: &[u8], at: usize) -> Result<i32, Damaged> {
    let four = at.checked_add(4).and_then(|end| bytes.get(at..end)).and_then(|four| four.try_into().ok());
    four.map(i32::from_le_bytes).ok_or_else(|| Damaged("ends early".into()))
}

fn length(value: i32, name: &str) -> Result<usize, Damaged> {
    usize::try_from(value).or_else(|_| damaged(format!("{name} is {value}")))
}

/// Decodes a chunk into `out`, whose length it must have.
pub(super) fn decode(chunk: &[u8], out: &mut [u8]) -> Result<(), Damaged> {
    let Some((header, _)) = chunk.split_at_checked(HEADER) else { return damaged("shorter than its header") };
    let (flags, element) = (header[2], usize::from(header[3]));
    if flags & 0b101 != 0b101 {
        return damaged("not of blosc2's extended kind");
    }
    let (bytes, block) = (length(int(header, 4)?, "nbytes")?, length(int(header, 8)?, "blocksize")?);
    let packed = length(int(header, 12)?, "cbytes")?;
    if bytes != out.len() {
        return damaged(format!("holds {bytes} bytes; {} expected", out.len()));
    }
    let Some(chunk) = chunk.get(..packed) else {
        return damaged(format!("of {packed} bytes {} are there", chunk.len()));
    };
    match header[31] >> 4 & 7 {
        0 => {}
        1 => {
            out.fill(0);
            return Ok(());
        }
        other => return damaged(format!("special value of kind {other}")),
    }
    if flags & 0b10 != 0 {
        let Some(stored) = chunk.get(HEADER..).filter(|stored| stored.len() == bytes) else {
            return damaged("stored bytes are not as many as it says");
        };
        out.copy_from_slice(stored);
        return Ok(());
    }
    if flags >> 5 != 4 {
        return damaged(format!("codec {}; zstd (4) is read", flags >> 5));
    }
    let filters = &header[16..22];
    if let Some(other) = filters.iter().find(|filter| **filter > 1) {
        return damaged(format!("filter {other}; none and shuffle are read"));
    }
    let shuffled = filters.contains(&1) && element > 1;
    if bytes == 0 {
        return Ok(());
    }
    if block == 0 || element == 0 {
        return damaged("blocks or elements of no bytes");
    }
    let mut plain = vec![0; if shuffled { block.min(bytes) } else { 0 }];
    for (number, part) in out.chunks_mut(block).enumerate() {
        let at = length(int(chunk, HEADER + 4 * number)?, "a block's place")?;
        let split = flags & 0x10 == 0 && part.len() == block;
        let streams = if split { element } else { 1 };
        if part.len() % streams != 0 {
            return damaged("a block that its streams do not share evenly");
        }
        if shuffled {
            let plain = &mut plain[..part.len()];
            streams_into(chunk, at, plain, streams)?;
            unshuffle(plain, part, element);
        } else {
            streams_into(chunk, at, part, streams)?;
        }
    }
    Ok(())
}

/// Decodes the streams of a block, which share it evenly.
fn streams_into(chunk: &[u8], mut at: usize, block: &mut [u8], streams: usize) -> Result<(), Damaged> {
    for part in block.chunks_exact_mut((block.len() / streams).max(1)) {
        let size = int(chunk, at)?;
        at += 4;
        match size {
            0 => part.fill(0),
            ..0 => {
                // One byte over and over.
                if chunk.get(at).is_none_or(|token| token & 1 == 0) {
                    return damaged("a run of an unknown kind");
                }
                part.fill(size.unsigned_abs() as u8);
                at += 1;
            }
            _ => {
                let end = at.checked_add(size as usize);
                let Some(stream) = end.and_then(|end| chunk.get(at..end)) else {
                    return damaged("a stream reaches beyond the chunk");
                };
                if stream.len() == part.len() {
                    part.copy_from_slice(stream);
                } else {
                    unpack(stream, part)?;
                }
                at += stream.len();
            }
        }
    }
    Ok(())
}

/// Unpacks a stream of zstd, which must give just as many bytes as there is room for.
fn unpack(stream: &[u8], part: &mut [u8]) -> Result<(), Damaged> {
    let failed = |error: &dyn std::fmt::Display| Damaged(format!("zstd: {error}"));
    let mut decoder = StreamingDecoder::new(stream).map_err(|e| failed(&e))?;
    decoder.read_exact(part).map_err(|e| failed(&e))?;
    match decoder.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => damaged("zstd: more bytes than the block has"),
        Err(error) => Err(failed(&error)),
    }
}

/// Brings bytes, which were grouped by their place in an element, back in order. What is no whole element stays.
fn unshuffle(grouped: &[u8], out: &mut [u8], element: usize) {
    let count = grouped.len() / element;
    if count > 0 {
        for (place, group) in grouped[..count * element].chunks_exact(count).enumerate() {
            out[place..].iter_mut().step_by(element).zip(group).for_each(|(out, byte)| *out = *byte);
        }
    }
    out[count * element..].copy_from_slice(&grouped[count * element..]);
}

/// Appends a stored chunk of at most 1 GiB.
pub(super) fn store(bytes: &[u8], element: u8, out: &mut Vec<u8>) {
    let size = |n: usize| (n as i32).to_le_bytes();
    out.extend_from_slice(&[5, 1, 0x97, element]);
    out.extend_from_slice(&size(bytes.len()));
    out.extend_from_slice(&size(bytes.len().max(1)));
    out.extend_from_slice(&size(bytes.len() + HEADER));
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut chunk = Vec::new();
        store(&bytes, 2, &mut chunk);
        let mut out = vec![0; 100];
        decode(&chunk, &mut out).unwrap();
        assert_eq!(out, bytes);
        assert!(decode(&chunk, &mut [0; 99]).is_err() && decode(&chunk[..131], &mut out).is_err());
    }

    #[test]
    fn shuffled_bytes_come_back() {
        let mut out = [0; 7];
        unshuffle(&[1, 3, 5, 2, 4, 6, 7], &mut out, 2);
        assert_eq!(out, [1, 2, 3, 4, 5, 6, 7]);
        let mut short = [0; 2];
        unshuffle(&[8, 9], &mut short, 4);
        assert_eq!(short, [8, 9]);
    }
}
