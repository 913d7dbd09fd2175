//! Whether a JPEG file is whole. Its decoder makes up what is missing at the end, and says nothing.

use std::io::{self, BufRead, Read};

use anyhow::bail;

/// Bytes that follow 0xFF. Those from `RST` on and `TEM` have nothing behind them.
const STUFFED: u8 = 0x00;
const TEM: u8 = 0x01;
const RST: std::ops::RangeInclusive<u8> = 0xd0..=0xd8;
const END: u8 = 0xd9;
const FILL: u8 = 0xff;

/// Reads a JPEG file up to its end marker.
///
/// # Errors
/// Those of the source; if it ends before the marker.
pub(crate) fn check(mut source: impl BufRead) -> anyhow::Result<()> {
    let ended = || bail!("a JPEG that ends before its end marker: a part of it is missing");
    let mut bytes = [0; 2];
    loop {
        source.skip_until(FILL)?;
        let mut marker = FILL;
        while marker == FILL {
            if source.read(std::slice::from_mut(&mut marker))? == 0 {
                return ended();
            }
        }
        if marker == END {
            return Ok(());
        } else if marker == STUFFED || marker == TEM || RST.contains(&marker) {
            continue;
        } else if source.read_exact(&mut bytes).is_err() {
            return ended();
        }
        let rest = u64::from(u16::from_be_bytes(bytes)).saturating_sub(2);
        if io::copy(&mut source.by_ref().take(rest), &mut io::sink())? < rest {
            return ended();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_looked_for_behind_segments() {
        // A comment that holds an end marker, a scan with a stuffed byte and a restart, a fill byte, the end.
        let whole = b"\xff\xd8\xff\xfe\x00\x04\xff\xd9\xff\xda\x00\x02\x12\xff\x00\xff\xd0\x34\xff\xff\xd9";
        check(&whole[..]).unwrap();
        check(&[&whole[..], b"behind it"].concat()[..]).unwrap();
        for length in 0..whole.len() {
            let error = check(&whole[..length]).unwrap_err();
            assert!(error.to_string().contains("end marker"), "{length}: {error}");
        }
    }
}
