//! Numbers as they lie in a file.

use umedsam::intensity::{NumberType, Values};
use umedsam::memory;

use super::{Problem, Source};
use crate::scan::Stored;

/// Does the same for the Rust type of whichever number type.
macro_rules! with_type {
    ($kind:expr, $t:ident => $result:expr) => {
        $crate::read::with_type!($kind, $t => $result, U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64, F32 f32, F64 f64)
    };
    ($kind:expr, $t:ident => $result:expr, $($name:ident $number:ident),*) => {
        match $kind {
            $(NumberType::$name => {
                type $t = $number;
                $result
            })*
        }
    };
}

/// Reads so many numbers of a type.
pub(crate) fn plain(kind: NumberType, source: &mut Source, count: usize, big: bool) -> Result<Values, Problem> {
    with_type!(kind, T => {
        let mut values = memory::with_room::<T>(count)?;
        chunks::<T>(source, count, |bytes| values.extend(bytes.chunks_exact(size_of::<T>()).map(|b| T::of(b, big))))?;
        Ok(T::values(values))
    })
}

/// Of groups of so many numbers the one at a place in each.
pub(crate) fn picked(
    kind: NumberType,
    source: &mut Source,
    count: usize,
    big: bool,
    (index, of): (usize, usize),
) -> Result<Values, Problem> {
    with_type!(kind, T => {
        let mut values = memory::with_room::<T>(count)?;
        let mut place = 0;
        chunks::<T>(source, count * of, |bytes| {
            for number in bytes.chunks_exact(size_of::<T>()) {
                if place == index {
                    values.push(T::of(number, big));
                }
                place = (place + 1) % of;
            }
        })?;
        Ok(T::values(values))
    })
}

/// Hands `count` numbers on in pieces that fit a cache.
pub(crate) fn chunks<T>(source: &mut Source, count: usize, mut take: impl FnMut(&[u8])) -> Result<(), Problem> {
    const PIECE: usize = 1 << 16;
    let mut buffer = vec![0; PIECE];
    let mut left = count * size_of::<T>();
    let expected = left as u64;
    while left > 0 {
        let piece = &mut buffer[..left.min(PIECE)];
        let done = expected - left as u64;
        source.fill(piece, |actual| Problem::Ended { part: "the voxels", expected, actual: done + actual })?;
        take(piece);
        left -= piece.len();
    }
    Ok(())
}

pub(crate) use with_type;
