//! One array of an NPZ file, read with every size checked before it is trusted.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::prelude::v1::*;

use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use zip::ZipArchive;
use zip::result::ZipError;

use super::npy::Header;
use super::{NpzError, Problem};

/// An open NPZ file.
pub(super) struct Archive<'a> {
    path: &'a Path,
    zip: ZipArchive<BufReader<File>>,
    max_bytes: u64,
}

/// The values of an array in C order, and its shape.
#[derive(Debug)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Values,
}

/// Values by what they can become. Bytes are kept as they are; everything else is widened.
#[derive(Debug)]
pub(super) enum Values {
    U8(Vec<u8>),
    Number(Vec<f64>),
}

impl Values {
    /// All values as numbers.
    pub(super) fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::U8(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Self::Number(v) => v.clone(),
        }
    }
}

impl<'a> Archive<'a> {
    pub(super) fn open(path: &'a Path, max_bytes: u64) -> Result<Self, NpzError> {
        let error = |problem| NpzError { path: path.into(), array: None, problem };
        let file = File::open(path).map_err(|e| error(Problem::Io(e)))?;
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|e| error(Problem::Archive(e.to_string())))?;
        Ok(Self { path, zip, max_bytes })
    }

    /// Reads an array, or nothing if the file has none of this name.
    pub(super) fn read(&mut self, name: &'static str) -> Result<Option<Array>, NpzError> {
        let wrap = |problem| NpzError { path: self.path.into(), array: Some(name), problem };
        let entry = match self.zip.by_name(&format!("{name}.npy")) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(e) => return Err(wrap(Problem::Archive(e.to_string()))),
        };
        read_npy(entry, self.max_bytes).map(Some).map_err(wrap)
    }

    /// As [`Self::read`], for an array that must be there.
    pub(super) fn require(&mut self, name: &'static str) -> Result<Array, NpzError> {
        let path = self.path;
        self.read(name)?.ok_or_else(|| NpzError { path: path.into(), array: Some(name), problem: Problem::Missing })
    }
}

fn read_npy(mut reader: impl Read, max_bytes: u64) -> Result<Array, Problem> {
    let Header { kind, big_endian, fortran_order, shape } = Header::read(&mut reader)?;
    if kind.starts_with('O') {
        return Err(Problem::ObjectArray);
    }
    let decode = decoder(&kind).ok_or(Problem::Type(kind))?;
    let size = match decode {
        Decode::Bytes => 1,
        Decode::Numbers(size, _) => size,
    };
    let bytes = shape.iter().try_fold(size, |n, &d| n.checked_mul(d));
    let bytes = bytes
        .filter(|&n| n as u64 <= max_bytes)
        .ok_or_else(|| Problem::TooLarge { shape: shape.clone(), max: max_bytes })?;

    // Grows with what is really there, whatever the header claims. The byte beyond must be the end: only there does the
    // archive compare its checksum.
    let mut raw = Vec::new();
    reader.take(bytes as u64 + 1).read_to_end(&mut raw).map_err(Problem::reading)?;
    if raw.len() < bytes {
        return Err(Problem::Truncated { expected: bytes, actual: raw.len() });
    }
    if raw.len() > bytes {
        return Err(Problem::Npy(format!("more than the {bytes} bytes of its shape")));
    }
    if big_endian {
        raw.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    let values = match decode {
        Decode::Bytes => Values::U8(if fortran_order { to_c_order(raw, &shape)? } else { raw }),
        Decode::Numbers(size, f) => {
            let numbers: Vec<f64> = raw.chunks_exact(size).map(f).collect();
            Values::Number(if fortran_order { to_c_order(numbers, &shape)? } else { numbers })
        }
    };
    Ok(Array { shape, values })
}

enum Decode {
    Bytes,
    Numbers(usize, fn(&[u8]) -> f64),
}

#[allow(clippy::cast_lossless, reason = "one macro for all types, of which some need the cast")]
fn decoder(kind: &str) -> Option<Decode> {
    macro_rules! number {
        ($t:ty) => {
            Decode::Numbers(size_of::<$t>(), |b| {
                let mut raw = [0u8; size_of::<$t>()];
                raw.copy_from_slice(b);
                <$t>::from_le_bytes(raw) as f64
            })
        };
    }
    Some(match kind {
        "u1" | "b1" => Decode::Bytes,
        "u2" => number!(u16),
        "u4" => number!(u32),
        "u8" => number!(u64),
        "i1" => number!(i8),
        "i2" => number!(i16),
        "i4" => number!(i32),
        "i8" => number!(i64),
        "f4" => number!(f32),
        "f8" => number!(f64),
        _ => return None,
    })
}

/// Values stored with the first axis running fastest, rearranged so that the last one does.
fn to_c_order<T: Copy>(values: Vec<T>, shape: &[usize]) -> Result<Vec<T>, Problem> {
    let array = ArrayD::from_shape_vec(IxDyn(shape).f(), values).map_err(|e| Problem::Npy(e.to_string()))?;
    Ok(array.iter().copied().collect())
}
