//! One array of an NPZ file, read with every size checked before it is trusted.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::prelude::v1::*;

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use zip::ZipArchive;
use zip::result::ZipError;

use super::{NpzError, Problem};

/// Header text of a .npy beyond this length is damage or malice: numpy writes about 100 bytes.
const MAX_HEADER: usize = 64 << 10;

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
    let header = read_header(&mut reader)?;
    let DType::Plain(kind) = header.dtype() else {
        return Err(Problem::Type("a structured type".into()));
    };
    let type_name = kind.to_string();
    if kind.type_char() == TypeChar::Object {
        return Err(Problem::ObjectArray);
    }
    let decode = decoder(kind.type_char(), kind.size_field()).ok_or(Problem::Type(type_name))?;
    let shape: Vec<usize> = header.shape().iter().map(|&d| usize::try_from(d).unwrap_or(usize::MAX)).collect();
    let bytes = shape.iter().try_fold(kind.size_field() as usize, |n, &d| n.checked_mul(d));
    let bytes = bytes
        .filter(|&n| n as u64 <= max_bytes)
        .ok_or_else(|| Problem::TooLarge { shape: shape.clone(), max: max_bytes })?;

    // Grows with what is really there, whatever the header claims; one byte more than the data lets the archive
    // notice its end, where it checks the checksum.
    let mut raw = Vec::new();
    reader.take(bytes as u64 + 1).read_to_end(&mut raw).map_err(broken)?;
    if raw.len() < bytes {
        return Err(Problem::Truncated { expected: bytes, actual: raw.len() });
    }
    raw.truncate(bytes);
    if kind.endianness() == Endianness::Big {
        raw.chunks_exact_mut(kind.size_field() as usize).for_each(<[u8]>::reverse);
    }
    let fortran = header.order() == Order::Fortran;
    let values = match decode {
        Decode::Bytes => Values::U8(if fortran { to_c_order(&raw, &shape) } else { raw }),
        Decode::Numbers(size, f) => {
            let numbers: Vec<f64> = raw.chunks_exact(size).map(f).collect();
            Values::Number(if fortran { to_c_order(&numbers, &shape) } else { numbers })
        }
    };
    Ok(Array { shape, values })
}

fn read_header(reader: &mut impl Read) -> Result<NpyHeader, Problem> {
    // Magic, version and length: the length is judged before the parser allocates it.
    let mut start = [0u8; 12];
    reader.read_exact(&mut start).map_err(broken)?;
    if &start[..6] != b"\x93NUMPY" {
        return Err(Problem::Npy("not a .npy file".into()));
    }
    let length = match start[6] {
        1 => usize::from(u16::from_le_bytes([start[8], start[9]])),
        _ => u32::from_le_bytes([start[8], start[9], start[10], start[11]]) as usize,
    };
    if length > MAX_HEADER {
        return Err(Problem::Npy(format!("header of {length} bytes, at most {MAX_HEADER} accepted")));
    }
    NpyHeader::from_reader(start.as_slice().chain(reader)).map_err(broken)
}

fn broken(error: io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Problem::Npy("ends too early".into()),
        _ => Problem::Npy(error.to_string()),
    }
}

enum Decode {
    Bytes,
    Numbers(usize, fn(&[u8]) -> f64),
}

fn decoder(kind: TypeChar, size: u64) -> Option<Decode> {
    macro_rules! number {
        ($t:ty) => {
            Decode::Numbers(size_of::<$t>(), |b| {
                let mut raw = [0u8; size_of::<$t>()];
                raw.copy_from_slice(b);
                <$t>::from_le_bytes(raw) as f64
            })
        };
    }
    Some(match (kind, size) {
        (TypeChar::Uint | TypeChar::Bool, 1) => Decode::Bytes,
        (TypeChar::Uint, 2) => number!(u16),
        (TypeChar::Uint, 4) => number!(u32),
        (TypeChar::Uint, 8) => number!(u64),
        (TypeChar::Int, 1) => number!(i8),
        (TypeChar::Int, 2) => number!(i16),
        (TypeChar::Int, 4) => number!(i32),
        (TypeChar::Int, 8) => number!(i64),
        (TypeChar::Float, 4) => number!(f32),
        (TypeChar::Float, 8) => number!(f64),
        _ => return None,
    })
}

/// Values stored with the first axis running fastest, rearranged so that the last one does.
fn to_c_order<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut index = vec![0usize; shape.len()];
    let strides: Vec<usize> = shape.iter().scan(1, |stride, &d| Some(std::mem::replace(stride, *stride * d))).collect();
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        out.push(values[index.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>()]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}
