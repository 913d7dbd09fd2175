//! Where the slices of a volume come from.

use core::marker::PhantomData;

use crate::{Error, ImageView};

/// Slices of a volume, lent one after another.
///
/// A slice is borrowed from `self`, so that a reader may decode every slice into one buffer. Volumes in memory become
/// slices by [`from_fn`].
///
/// ```
/// use umedsam::{Error, ImageView, volume::Slices};
///
/// /// Frames of a scanner, one in memory at a time.
/// struct Frames {
///     pixels: Vec<u8>,
/// }
///
/// impl Slices for Frames {
///     type Error = Error;
///
///     fn slice(&mut self, z: usize) -> Result<ImageView<'_>, Error> {
///         self.pixels.fill(z as u8); // read or decoded here
///         ImageView::gray8(&self.pixels, 64, 48)
///     }
/// }
/// ```
pub trait Slices {
    /// Why a slice cannot be provided: the caller's own error, which segmentation returns.
    type Error: From<Error>;

    /// Slice `z`, from 0. A slice may be asked for twice.
    ///
    /// # Errors
    /// Those of the source of the slices.
    fn slice(&mut self, z: usize) -> Result<ImageView<'_>, Self::Error>;
}

impl<S: Slices + ?Sized> Slices for &mut S {
    type Error = S::Error;

    fn slice(&mut self, z: usize) -> Result<ImageView<'_>, Self::Error> {
        (**self).slice(z)
    }
}

/// Slices that are all in memory: `slice` gives slice `z`.
pub fn from_fn<'a, E, F>(slice: F) -> impl Slices<Error = E>
where
    E: From<Error>,
    F: FnMut(usize) -> Result<ImageView<'a>, E>,
{
    FromFn { slice, result: PhantomData }
}

struct FromFn<F, R> {
    slice: F,
    result: PhantomData<fn() -> R>,
}

impl<'a, E, F> Slices for FromFn<F, Result<ImageView<'a>, E>>
where
    E: From<Error>,
    F: FnMut(usize) -> Result<ImageView<'a>, E>,
{
    type Error = E;

    fn slice(&mut self, z: usize) -> Result<ImageView<'_>, E> {
        (self.slice)(z)
    }
}
