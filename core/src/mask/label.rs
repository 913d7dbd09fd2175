//! Values of label maps, and the stretches of equal ones in a row.

use core::iter::from_fn;

/// A value of a label map: `bool`, `u8` or `u16`. `false` and 0 are background.
pub trait Label: Copy + PartialEq + sealed::Number {}

mod sealed {
    pub trait Number {
        fn to_number(self) -> u16;
        fn from_number(number: u16) -> Self;
    }
}

macro_rules! label {
    ($($t:ty, $from:expr;)*) => { $(
        impl Label for $t {}

        impl sealed::Number for $t {
            fn to_number(self) -> u16 {
                self.into()
            }

            fn from_number(number: u16) -> Self {
                $from(number)
            }
        }
    )* };
}

label! {
    bool, |number| number != 0;
    u8, |number| number as u8;
    u16, |number| number;
}

/// Pixels of one label side by side in a row of at most [`MAX_SIDE`](crate::geometry::MAX_SIDE) pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    first: u16,
    last: u16,
    pub(super) label: u16,
}

impl Run {
    pub(super) const fn first(&self) -> usize {
        self.first as usize
    }

    /// The last pixel, which belongs to the run.
    pub(super) const fn last(&self) -> usize {
        self.last as usize
    }

    pub(super) const fn len(&self) -> usize {
        self.last() - self.first() + 1
    }
}

/// The runs of a row, background included, from left to right.
pub(super) fn runs<T: Label>(row: &[T]) -> impl Iterator<Item = Run> {
    let mut start = 0;
    from_fn(move || {
        let rest = row.get(start..)?;
        let value = *rest.first()?;
        let end = start + equal(rest, value);
        let run = Run { first: start as u16, last: (end - 1) as u16, label: value.to_number() };
        start = end;
        Some(run)
    })
}

/// How many values at the start are `value`.
fn equal<T: Label>(values: &[T], value: T) -> usize {
    const BLOCK: usize = 32;
    let differs = |v: &T| *v != value;
    // Short runs are settled before whole blocks, which are compared without a branch for each value.
    if let Some(end) = values.iter().take(4).position(differs) {
        return end;
    }
    let blocks = values.chunks_exact(BLOCK).take_while(|block| !block.iter().fold(false, |any, v| any | differs(v)));
    let start = blocks.count() * BLOCK;
    values[start..].iter().position(differs).map_or(values.len(), |end| start + end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::prelude::v1::*;

    #[test]
    fn runs_are_the_row() {
        let lengths = [1, 3, 4, 5, 31, 32, 33, 64, 100, 2];
        let row: Vec<u16> =
            lengths.iter().zip([0, 7, 65535, 0, 1, 0, 2, 3, 0, 1]).flat_map(|(&n, l)| vec![l; n]).collect();
        let found: Vec<Run> = runs(&row).collect();
        assert_eq!(found.iter().map(Run::len).collect::<Vec<_>>(), lengths);
        assert!(found.iter().all(|r| row[r.first()..=r.last()].iter().all(|&l| l == r.label)));
        assert_eq!(runs::<u8>(&[]).count(), 0);
        let widest = vec![true; 1 << 16];
        assert_eq!(runs(&widest).map(|r| r.len()).collect::<Vec<_>>(), [1 << 16]);
    }
}
