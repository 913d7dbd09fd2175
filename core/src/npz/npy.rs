//! The header of a .npy array (numpy's format 1 to 3), read and written.

use std::io::Read;
use std::prelude::v1::*;

use super::Problem;

/// Header text beyond this length is damage or malice: numpy writes about 100 bytes.
const MAX_HEADER: usize = 64 << 10;

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Type in numpy's letters without the byte order: `u1`, `f8`, ...
    pub(super) kind: String,
    pub(super) big_endian: bool,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<usize>,
}

impl Header {
    /// Reads the header and leaves `reader` at the data.
    pub(super) fn read(reader: &mut impl Read) -> Result<Self, Problem> {
        let mut start = [0u8; 8];
        reader.read_exact(&mut start).map_err(Problem::reading)?;
        if &start[..6] != MAGIC || !(1..=3).contains(&start[6]) {
            return Err(Problem::Npy("not a .npy file of version 1 to 3".into()));
        }
        let mut length = [0u8; 4];
        let width = if start[6] == 1 { 2 } else { 4 };
        reader.read_exact(&mut length[..width]).map_err(Problem::reading)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_HEADER {
            return Err(Problem::Npy(format!("header of {length} bytes, at most {MAX_HEADER} accepted")));
        }
        let mut text = vec![0u8; length];
        reader.read_exact(&mut text).map_err(Problem::reading)?;
        let text = String::from_utf8(text).map_err(|_| Problem::Npy("header is no text".into()))?;
        Self::parse(&text)
    }

    /// Parses the Python dictionary of a header: its three keys, in any order.
    fn parse(text: &str) -> Result<Self, Problem> {
        let damaged = |what: &str| Problem::Npy(format!("header without a readable {what}"));
        let value = |key: &str| {
            let quoted = [format!("'{key}'"), format!("\"{key}\"")];
            let after = quoted.iter().find_map(|q| text.split_once(q.as_str()))?.1;
            after.trim_start().strip_prefix(':').map(str::trim_start)
        };
        let descr = value("descr").ok_or_else(|| damaged("'descr'"))?;
        let quote = descr.chars().next().filter(|c| matches!(c, '\'' | '"'));
        // A type of several fields is a list.
        let quote = quote.ok_or_else(|| Problem::Type("a structured type".into()))?;
        let descr = descr[1..].split_once(quote).ok_or_else(|| damaged("'descr'"))?.0;
        let kind = descr.trim_start_matches(['<', '>', '|', '=']);
        let order = value("fortran_order").ok_or_else(|| damaged("'fortran_order'"))?;
        let fortran_order = match (order.starts_with("True"), order.starts_with("False")) {
            (true, false) => true,
            (false, true) => false,
            _ => return Err(damaged("'fortran_order'")),
        };
        let shape =
            value("shape").and_then(|v| v.strip_prefix('(')?.split_once(')')).ok_or_else(|| damaged("'shape'"))?;
        let shape = shape.0.split(',').map(str::trim).filter(|d| !d.is_empty());
        let shape = shape.map(|d| d.parse().map_err(|_| damaged("'shape'"))).collect::<Result<_, _>>()?;
        Ok(Self { kind: kind.into(), big_endian: descr.starts_with('>'), fortran_order, shape })
    }

    /// The bytes of a header of little-endian values in C order, padded to 64 as numpy pads it.
    pub(super) fn bytes(kind: &str, shape: &[usize]) -> Vec<u8> {
        let sizes: String = shape.iter().map(|d| format!("{d}, ")).collect();
        let mut text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({sizes}), }}");
        let unpadded = MAGIC.len() + 4 + text.len() + 1;
        text.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
        text.push('\n');
        let length = text.len() as u16;
        MAGIC.iter().copied().chain([1, 0]).chain(length.to_le_bytes()).chain(text.bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bytes = Header::bytes("<u2", &[3, 40]);
        assert_eq!(bytes.len() % 64, 0);
        let header = Header::read(&mut bytes.as_slice()).unwrap();
        let expected = Header { kind: "u2".into(), big_endian: false, fortran_order: false, shape: vec![3, 40] };
        assert_eq!(header, expected);
    }

    #[test]
    fn a_scalar_and_odd_spacing_are_read() {
        let header = Header::parse("{ \"shape\" :(), 'fortran_order':True,'descr': '>f8'}").unwrap();
        let expected = Header { kind: "f8".into(), big_endian: true, fortran_order: true, shape: vec![] };
        assert_eq!(header, expected);
        assert!(Header::parse("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}").is_err());
        assert!(Header::parse("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}").is_err());
    }
}
