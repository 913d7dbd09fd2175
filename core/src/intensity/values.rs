//! Intensities in the number type of their file.

use std::prelude::v1::*;

use super::{Intake, Number, NumberType, Step, Window, apply};
use crate::{Error, memory};

/// Intensities of an image or a volume in the number type of its file: slice by slice, row by row, channels
/// interleaved.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the types of the language")]
pub enum Values {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Does the same with the values of whichever type.
macro_rules! each {
    ($values:expr, $v:ident => $result:expr) => {
        match $values {
            Values::U8($v) => $result,
            Values::I8($v) => $result,
            Values::U16($v) => $result,
            Values::I16($v) => $result,
            Values::U32($v) => $result,
            Values::I32($v) => $result,
            Values::U64($v) => $result,
            Values::I64($v) => $result,
            Values::F32($v) => $result,
            Values::F64($v) => $result,
        }
    };
}

impl Values {
    /// Their number type.
    pub const fn number_type(&self) -> NumberType {
        match self {
            Self::U8(_) => NumberType::U8,
            Self::I8(_) => NumberType::I8,
            Self::U16(_) => NumberType::U16,
            Self::I16(_) => NumberType::I16,
            Self::U32(_) => NumberType::U32,
            Self::I32(_) => NumberType::I32,
            Self::U64(_) => NumberType::U64,
            Self::I64(_) => NumberType::I64,
            Self::F32(_) => NumberType::F32,
            Self::F64(_) => NumberType::F64,
        }
    }

    /// Number of values.
    pub const fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    /// Whether there is no value.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for `more` values.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is none.
    pub fn reserve(&mut self, more: usize) -> Result<(), Error> {
        each!(self, v => memory::reserve(v, more))
    }

    /// Adds values of the same number type; values of another one are given back.
    ///
    /// # Errors
    /// The values that were not added.
    pub fn append(&mut self, more: Self) -> Result<(), Self> {
        macro_rules! same {
            ($($kind:ident)*) => {
                match (self, more) {
                    $((Self::$kind(all), Self::$kind(more)) => all.extend(more),)*
                    (_, more) => return Err(more),
                }
            };
        }
        same!(U8 I8 U16 I16 U32 I32 U64 I64 F32 F64);
        Ok(())
    }

    /// The values as f64, for arrays that are not images. Integers beyond 2^53 are rounded.
    pub fn to_f64(&self) -> Vec<f64> {
        each!(self, v => v.iter().map(|&x| x.to_f64()).collect())
    }

    /// Maps the values to 8 bits by `window`, whatever they are, and says which window was found.
    ///
    /// # Errors
    /// Those of [`to_u8`](super::to_u8).
    pub fn to_u8(&self, window: Window) -> Result<(Vec<u8>, Step), Error> {
        each!(self, v => apply(v, window))
    }

    /// Maps the values to 8 bits, and says what was done. If all of them are whole numbers from 0 to 255, in whatever
    /// type, they are taken as they are; otherwise `window` is applied to all. The peak of memory is one byte a value
    /// more than the values themselves take.
    ///
    /// # Errors
    /// Those of [`to_u8`](super::to_u8).
    pub fn into_u8(self, window: Window) -> Result<(Vec<u8>, Intake), Error> {
        let number_type = self.number_type();
        let (pixels, steps) = match self {
            Self::U8(pixels) => (pixels, Vec::new()),
            other => each!(&other, v => bring(v, window))?,
        };
        Ok((pixels, Intake { number_type, steps }))
    }
}

fn bring<T: Number>(values: &[T], window: Window) -> Result<(Vec<u8>, Vec<Step>), Error> {
    let whole = |v: &T| v.to_f64() == f64::from(v.to_f64() as u8);
    if values.iter().all(whole) {
        let mut pixels = memory::with_room(values.len())?;
        pixels.extend(values.iter().map(|v| v.to_f64() as u8));
        return Ok((pixels, Vec::new()));
    }
    let (pixels, step) = apply(values, window)?;
    Ok((pixels, vec![step]))
}
