//! Values on their way from a file into the number type that holds them.

use umedsam::intensity::{Number, NumberType, Values};
use umedsam::memory;

/// A number as it lies in a file.
pub(crate) trait Stored: Number {
    /// The number in its bytes, the most significant first if `big`.
    fn of(bytes: &[u8], big: bool) -> Self;

    /// Values of this type.
    fn values(numbers: Vec<Self>) -> Values;
}

macro_rules! stored {
    ($($t:ident $kind:ident),*) => { $(
        impl Stored for $t {
            fn of(bytes: &[u8], big: bool) -> Self {
                let mut raw = [0; size_of::<Self>()];
                raw.copy_from_slice(bytes);
                if big { Self::from_be_bytes(raw) } else { Self::from_le_bytes(raw) }
            }

            fn values(numbers: Vec<Self>) -> Values {
                Values::$kind(numbers)
            }
        }
    )* };
}

stored!(u8 U8, i8 I8, u16 U16, i16 I16, u32 U32, i32 I32, u64 U64, i64 I64, f32 F32, f64 F64);

/// Collects values of one number type.
pub(crate) struct Sink {
    values: Values,
    /// Where values may not fit: how many there will be.
    narrow: Option<usize>,
}

impl Sink {
    /// Room for `count` values of a type.
    pub(crate) fn new(kind: NumberType, count: usize) -> Result<Self, umedsam::Error> {
        let values = match kind {
            NumberType::U8 => Values::U8(memory::with_room(count)?),
            NumberType::I8 => Values::I8(memory::with_room(count)?),
            NumberType::U16 => Values::U16(memory::with_room(count)?),
            NumberType::I16 => Values::I16(memory::with_room(count)?),
            NumberType::U32 => Values::U32(memory::with_room(count)?),
            NumberType::I32 => Values::I32(memory::with_room(count)?),
            NumberType::U64 => Values::U64(memory::with_room(count)?),
            NumberType::I64 => Values::I64(memory::with_room(count)?),
            NumberType::F32 => Values::F32(memory::with_room(count)?),
            NumberType::F64 => Values::F64(memory::with_room(count)?),
        };
        Ok(Self { values, narrow: None })
    }

    /// As [`Self::new`], but of numbers that need 32 bits by their type, and rarely by their values, in 16 bits until one
    /// needs more: CT in 16 bits without a sign, less 1024.
    pub(crate) fn narrow(kind: NumberType, count: usize) -> Result<Self, umedsam::Error> {
        match kind {
            NumberType::I32 => Ok(Self { narrow: Some(count), ..Self::new(NumberType::I16, count)? }),
            kind => Self::new(kind, count),
        }
    }

    /// Makes these values fit, which come next.
    pub(crate) fn fit(&mut self, mut values: impl Iterator<Item = f64>) -> Result<(), umedsam::Error> {
        let fits = |v: f64| v >= f64::from(i16::MIN) && v <= f64::from(i16::MAX);
        if let (Some(count), Values::I16(short)) = (self.narrow, &self.values)
            && !values.all(fits)
        {
            let mut wide = memory::with_room(count)?;
            wide.extend(short.iter().map(|&v| i32::from(v)));
            *self = Self { values: Values::I32(wide), narrow: None };
        }
        Ok(())
    }

    /// The type that holds `slope * v + intercept` for all v from `low` to `high`, by each of the pairs: the smallest
    /// integer where they are whole numbers, else f32, or f64 where f32 is too short for the stored numbers.
    pub(crate) fn kind(low: f64, high: f64, pairs: impl IntoIterator<Item = (f64, f64)>) -> NumberType {
        let (mut least, mut greatest, mut whole) = (f64::INFINITY, f64::NEG_INFINITY, true);
        for (slope, intercept) in pairs {
            whole &= slope.fract() == 0.0 && intercept.fract() == 0.0;
            for v in [low, high] {
                least = least.min(slope * v + intercept);
                greatest = greatest.max(slope * v + intercept);
            }
        }
        let fits = |low: f64, high: f64| least >= low && greatest <= high;
        match whole {
            true if fits(0.0, 255.0) => NumberType::U8,
            true if fits(-128.0, 127.0) => NumberType::I8,
            true if fits(0.0, 65_535.0) => NumberType::U16,
            true if fits(-32_768.0, 32_767.0) => NumberType::I16,
            true if fits(0.0, f64::from(u32::MAX)) => NumberType::U32,
            true if fits(f64::from(i32::MIN), f64::from(i32::MAX)) => NumberType::I32,
            _ if high - low < 65_536.0 => NumberType::F32,
            _ => NumberType::F64,
        }
    }

    /// Adds values, which [`Self::kind`] found to fit.
    pub(crate) fn extend(&mut self, values: impl Iterator<Item = f64>) {
        match &mut self.values {
            Values::U8(v) => v.extend(values.map(|x| x as u8)),
            Values::I8(v) => v.extend(values.map(|x| x as i8)),
            Values::U16(v) => v.extend(values.map(|x| x as u16)),
            Values::I16(v) => v.extend(values.map(|x| x as i16)),
            Values::U32(v) => v.extend(values.map(|x| x as u32)),
            Values::I32(v) => v.extend(values.map(|x| x as i32)),
            Values::U64(v) => v.extend(values.map(|x| x as u64)),
            Values::I64(v) => v.extend(values.map(|x| x as i64)),
            Values::F32(v) => v.extend(values.map(|x| x as f32)),
            Values::F64(v) => v.extend(values),
        }
    }

    pub(crate) fn finish(self) -> Values {
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_type_that_holds_what_is_meant() {
        let kind = |low, high, slope, intercept| Sink::kind(low, high, [(slope, intercept)]);
        assert_eq!(kind(0.0, 4095.0, 1.0, -1024.0), NumberType::I16);
        assert_eq!(kind(0.0, 65_535.0, 1.0, -1024.0), NumberType::I32);
        assert_eq!(kind(0.0, 255.0, 1.0, 0.0), NumberType::U8);
        assert_eq!(kind(-32_768.0, 32_767.0, -1.0, 0.0), NumberType::I32);
        assert_eq!(kind(0.0, 4095.0, 0.5, 0.0), NumberType::F32);
        assert_eq!(kind(0.0, 4e9, 0.5, 0.0), NumberType::F64);
    }

    #[test]
    fn numbers_are_widened_when_one_needs_it() {
        let mut sink = Sink::narrow(NumberType::I32, 4).unwrap();
        let mut take = |values: [f64; 2]| {
            sink.fit(values.into_iter()).unwrap();
            sink.extend(values.into_iter());
            sink.values.clone()
        };
        assert_eq!(take([-32_768.0, 32_767.0]), Values::I16(vec![-32_768, 32_767]));
        assert_eq!(take([0.0, 64_511.0]), Values::I32(vec![-32_768, 32_767, 0, 64_511]));
        assert_eq!(Sink::narrow(NumberType::U16, 4).unwrap().finish().number_type(), NumberType::U16);
    }
}
