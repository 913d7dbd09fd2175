//! Number types of intensities.

use std::fmt;

/// The number type that a file stores its intensities in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
#[allow(missing_docs, reason = "the types of the language")]
pub enum NumberType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl NumberType {
    /// Size of one number, in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

impl fmt::Display for NumberType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// A number as a file stores it: an integer of 8 to 64 bits, or a float of 32 or 64.
pub trait Number: Copy + sealed::Bits {
    /// Its number type.
    const TYPE: NumberType;

    /// The value; integers beyond 2^53 are rounded.
    fn to_f64(self) -> f64;

    /// Whether it is neither NaN nor infinite.
    fn is_finite(self) -> bool {
        self.to_f64().is_finite()
    }
}

pub(super) mod sealed {
    /// Numbers as keys of the same order.
    pub trait Bits {
        /// A key of the type's own bits that is larger for a larger number.
        fn key(self) -> u64;

        /// The number of a key.
        fn of_key(key: u64) -> Self;
    }
}

macro_rules! integer {
    ($($t:ident, $unsigned:ident, $kind:ident, $sign:expr;)*) => { $(
        impl sealed::Bits for $t {
            fn key(self) -> u64 {
                u64::from(self as $unsigned ^ $sign)
            }

            fn of_key(key: u64) -> Self {
                (key as $unsigned ^ $sign) as Self
            }
        }

        impl Number for $t {
            const TYPE: NumberType = NumberType::$kind;

            #[allow(clippy::cast_lossless, reason = "one macro for all types, of which some need the cast")]
            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    )* };
}

integer! {
    u8, u8, U8, 0;
    i8, u8, I8, 1 << 7;
    u16, u16, U16, 0;
    i16, u16, I16, 1 << 15;
    u32, u32, U32, 0;
    i32, u32, I32, 1 << 31;
    u64, u64, U64, 0;
    i64, u64, I64, 1 << 63;
}

macro_rules! float {
    ($($t:ident, $unsigned:ident, $kind:ident, $sign:expr;)*) => { $(
        impl sealed::Bits for $t {
            fn key(self) -> u64 {
                let bits = self.to_bits();
                // Larger bits are larger numbers, but smaller ones where the sign is set.
                u64::from(if bits & $sign == 0 { bits | $sign } else { !bits })
            }

            fn of_key(key: u64) -> Self {
                let key = key as $unsigned;
                Self::from_bits(if key & $sign == 0 { !key } else { key & !$sign })
            }
        }

        impl Number for $t {
            const TYPE: NumberType = NumberType::$kind;

            fn to_f64(self) -> f64 {
                f64::from(self)
            }
        }
    )* };
}

float! {
    f32, u32, F32, 1 << 31;
    f64, u64, F64, 1 << 63;
}

#[cfg(test)]
mod tests {
    use super::sealed::Bits;

    #[test]
    fn keys_have_the_order_of_the_numbers() {
        fn check<T: Bits + Copy + PartialEq + core::fmt::Debug>(ascending: &[T]) {
            assert!(ascending.is_sorted_by_key(|v| v.key()), "{ascending:?}");
            ascending.iter().for_each(|&v| assert_eq!(T::of_key(v.key()), v));
        }
        check(&[i8::MIN, -1, 0, 1, i8::MAX]);
        check(&[u16::MIN, 1, u16::MAX]);
        check(&[i64::MIN, -1, 0, i64::MAX]);
        check(&[f32::MIN, -1.0, -f32::MIN_POSITIVE, 0.0, 1e-40, 0.5, f32::MAX]);
        check(&[f64::MIN, -2.0, -1.0, 0.0, 1.0, f64::MAX]);
    }
}
