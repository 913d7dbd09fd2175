//! One array, decoded piece by piece into the type that is kept.

use std::io::{self, Read};
use std::prelude::v1::*;

use ndarray::{ArrayD, IxDyn, ShapeBuilder};

use super::Problem;
use super::npy::Header;
use crate::intensity::{Number, NumberType, Values};
use crate::memory;

/// Bytes that are decoded at a time.
const CHUNK: usize = 64 << 10;

/// An array whose header is read and whose values are to come.
pub(super) struct Npy<R> {
    reader: R,
    number_type: NumberType,
    header: Header,
    /// Number of values.
    count: usize,
}

/// Does something with the type `$t` that a number type stands for.
macro_rules! typed {
    ($number_type:expr, $t:ident => $result:expr) => {
        match $number_type {
            NumberType::U8 => typed!(u8, $t, $result),
            NumberType::I8 => typed!(i8, $t, $result),
            NumberType::U16 => typed!(u16, $t, $result),
            NumberType::I16 => typed!(i16, $t, $result),
            NumberType::U32 => typed!(u32, $t, $result),
            NumberType::I32 => typed!(i32, $t, $result),
            NumberType::U64 => typed!(u64, $t, $result),
            NumberType::I64 => typed!(i64, $t, $result),
            NumberType::F32 => typed!(f32, $t, $result),
            NumberType::F64 => typed!(f64, $t, $result),
        }
    };
    ($type:ty, $t:ident, $result:expr) => {{
        type $t = $type;
        $result
    }};
}

impl<R: Read> Npy<R> {
    /// Reads the header of an array of which the archive holds `declared` bytes in all.
    pub(super) fn open(reader: R, declared: u64) -> Result<Self, Problem> {
        let mut reader = reader.take(declared);
        let header = Header::read(&mut reader)?;
        if header.kind.starts_with('O') {
            return Err(Problem::ObjectArray);
        }
        let number_type = number_type(&header.kind).ok_or_else(|| Problem::Type(header.kind.clone()))?;
        let bytes = header.shape.iter().try_fold(number_type.size() as u64, |n, &d| n.checked_mul(d as u64));
        let actual = reader.limit();
        match bytes.filter(|&n| usize::try_from(n).is_ok()) {
            Some(expected) if expected > actual => Err(Problem::Truncated { expected, actual }),
            Some(expected) if expected < actual => {
                Err(Problem::Npy(format!("holds {actual} bytes, more than the {expected} of its shape")))
            }
            Some(expected) => {
                let count = expected as usize / number_type.size();
                Ok(Self { reader: reader.into_inner(), number_type, header, count })
            }
            None => Err(Problem::Truncated { expected: u64::MAX, actual }),
        }
    }

    pub(super) fn number_type(&self) -> NumberType {
        self.number_type
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// Bytes of memory that the array takes at the peak, if a value of so many bytes `takes` so many.
    pub(super) fn peak(&self, takes: impl Fn(usize) -> usize) -> u64 {
        let copies = if self.header.fortran_order { 2 } else { 1 };
        (self.count as u64).saturating_mul(copies * takes(self.number_type.size()) as u64)
    }

    /// The values as they are stored.
    pub(super) fn values(self) -> Result<Values, Problem> {
        typed!(self.number_type, T => Ok(T::wrap(self.decode(|_, value: T| Ok(value))?)))
    }

    /// The values as labels: whole numbers from 0 to 65535.
    pub(super) fn labels(self) -> Result<Vec<u16>, Problem> {
        typed!(self.number_type, T => self.decode(|index, value: T| {
            let value = value.to_f64();
            let label = value as u16;
            let expected = "a label from 0 to 65535";
            if f64::from(label) == value { Ok(label) } else { Err(Problem::Value { index, value, expected }) }
        }))
    }

    /// Decodes the values, and hands each with its position in the file to `keep`.
    fn decode<T: Stored, U: Copy>(mut self, keep: impl Fn(usize, T) -> Result<U, Problem>) -> Result<Vec<U>, Problem> {
        let mut values = memory::with_room(self.count).map_err(Problem::Image)?;
        let mut chunk = vec![0u8; CHUNK];
        while values.len() < self.count {
            let size = (self.count - values.len()).saturating_mul(size_of::<T>()).min(CHUNK);
            let raw = &mut chunk[..size];
            self.reader.read_exact(raw).map_err(Problem::reading)?;
            for bytes in raw.chunks_exact_mut(size_of::<T>()) {
                if self.header.big_endian {
                    bytes.reverse();
                }
                values.push(keep(values.len(), T::of_bytes(bytes))?);
            }
        }
        // Only at its end does the archive compare its checksum.
        match io::copy(&mut self.reader.take(1), &mut io::sink()) {
            Ok(0) => {}
            Ok(_) => return Err(Problem::Npy("more bytes than the archive declares".into())),
            Err(error) => return Err(Problem::reading(error)),
        }
        if self.header.fortran_order { to_c_order(values, &self.header.shape) } else { Ok(values) }
    }
}

/// The number type of numpy's letters; truth values are bytes of 0 and 1.
fn number_type(kind: &str) -> Option<NumberType> {
    Some(match kind {
        "u1" | "b1" => NumberType::U8,
        "i1" => NumberType::I8,
        "u2" => NumberType::U16,
        "i2" => NumberType::I16,
        "u4" => NumberType::U32,
        "i4" => NumberType::I32,
        "u8" => NumberType::U64,
        "i8" => NumberType::I64,
        "f4" => NumberType::F32,
        "f8" => NumberType::F64,
        _ => return None,
    })
}

/// A number that a file can store.
trait Stored: Number {
    /// Of its little-endian bytes.
    fn of_bytes(bytes: &[u8]) -> Self;

    fn wrap(values: Vec<Self>) -> Values;
}

macro_rules! stored {
    ($($t:ident $variant:ident)*) => { $(
        impl Stored for $t {
            fn of_bytes(bytes: &[u8]) -> Self {
                let mut raw = [0u8; size_of::<$t>()];
                raw.copy_from_slice(bytes);
                Self::from_le_bytes(raw)
            }

            fn wrap(values: Vec<Self>) -> Values {
                Values::$variant(values)
            }
        }
    )* };
}

stored!(u8 U8 i8 I8 u16 U16 i16 I16 u32 U32 i32 I32 u64 U64 i64 I64 f32 F32 f64 F64);

/// Values stored with the first axis running fastest, rearranged so that the last one does.
fn to_c_order<T: Copy>(values: Vec<T>, shape: &[usize]) -> Result<Vec<T>, Problem> {
    let mut ordered = memory::with_room(values.len()).map_err(Problem::Image)?;
    let array = ArrayD::from_shape_vec(IxDyn(shape).f(), values).map_err(|e| Problem::Npy(e.to_string()))?;
    ordered.extend(array.iter().copied());
    Ok(ordered)
}
