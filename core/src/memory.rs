//! Large buffers whose size an input decides: where there is no memory for one, the result is an error, not an abort.

use std::prelude::v1::*;

use crate::Error;

/// An empty vector with capacity for `count` values.
///
/// # Errors
/// [`Error::Memory`] if the system has no memory for them.
pub fn with_room<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut values = Vec::new();
    let bytes = (count as u64).saturating_mul(size_of::<T>() as u64);
    values.try_reserve_exact(count).map_err(|_| Error::Memory { bytes })?;
    Ok(values)
}

/// Makes room for `more` values in a vector that is kept and grows by parts of itself.
///
/// # Errors
/// As for [`with_room`].
pub fn reserve<T>(values: &mut Vec<T>, more: usize) -> Result<(), Error> {
    let bytes = (values.len() as u64).saturating_add(more as u64).saturating_mul(size_of::<T>() as u64);
    values.try_reserve(more).map_err(|_| Error::Memory { bytes })
}

/// A vector of `count` copies of `value`.
///
/// # Errors
/// As for [`with_room`].
pub fn filled<T: Clone>(count: usize, value: T) -> Result<Vec<T>, Error> {
    let mut values = with_room(count)?;
    values.resize(count, value);
    Ok(values)
}

/// A vector of `count` zeros. The system provides the memory page by page, when it is first written.
///
/// # Errors
/// As for [`with_room`].
pub fn zeros(count: usize) -> Result<Vec<u16>, Error> {
    // Asked for and given back before: asking for zeros themselves cannot fail in peace.
    with_room::<u16>(count)?;
    Ok(vec![0; count])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "asks for more than there is, which ends Miri")]
    fn more_than_there_is_gives_an_error() {
        assert_eq!(filled(3, 7u16).unwrap(), [7, 7, 7]);
        for count in [usize::MAX, usize::MAX / 4] {
            let error = with_room::<u16>(count).unwrap_err();
            assert!(matches!(error, Error::Memory { bytes } if bytes >= count as u64), "{error}");
        }
    }
}
