//! Mapping intensities to the 0..=255 that the network was trained on.
//!
//! Pictures and volumes of every format pass through here: a reader provides [`Values`] in the number type of its file,
//! [`Values::into_u8`] maps them to 8 bits, and an [`Intake`] records what was done to them.
//!
//! The mapping follows the challenge's preparation: CT is clipped to a window in Hounsfield units (HU), other
//! modalities to the 0.5th and 99.5th percentile of their non-zero values, and zeros stay zero.

mod intake;
mod number;
mod percentile;
mod scale;
mod values;

use std::prelude::v1::*;

pub use intake::{Intake, Rule, Step};
pub use number::{Number, NumberType};
use scale::Scale;
pub use scale::to_u8_into;
pub use values::Values;

use crate::{Error, memory};

/// The intensities that become 0 and 255. Those between are mapped linearly, those beyond are clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Window {
    /// From `level - width / 2` to `level + width / 2`, in the units of the values (Hounsfield units for CT).
    Level {
        /// The centre, which must be finite.
        level: f32,
        /// The width, which must be finite and above 0.
        width: f32,
    },
    /// From the 0.5th to the 99.5th percentile of the non-zero values; if these two are equal, from the least to the
    /// greatest of all values.
    ///
    /// Zero is background and stays 0 unless a value is negative: among signed values, zero is a value like any other.
    Percentile,
}

impl Window {
    /// Abdomen: width 400, level 40 HU.
    pub const ABDOMEN: Self = Self::Level { level: 40.0, width: 400.0 };
    /// Lung: width 1500, level -600 HU.
    pub const LUNG: Self = Self::Level { level: -600.0, width: 1500.0 };
    /// Brain: width 80, level 40 HU.
    pub const BRAIN: Self = Self::Level { level: 40.0, width: 80.0 };
    /// Mediastinum: width 350, level 50 HU.
    pub const MEDIASTINUM: Self = Self::Level { level: 50.0, width: 350.0 };
    /// Bone: width 1800, level 400 HU.
    pub const BONE: Self = Self::Level { level: 400.0, width: 1800.0 };
}

/// Maps finite values to 0..=255 by `window`, which is found in all of them: those of a slice, an image or a volume.
///
/// # Errors
/// [`Error::PixelNotFinite`] if a value is NaN or infinite, [`Error::Window`] if the window's width is not above 0,
/// [`Error::Memory`] if there is none for the result.
pub fn to_u8<T: Number>(values: &[T], window: Window) -> Result<Vec<u8>, Error> {
    Ok(apply(values, window)?.0)
}

/// As [`to_u8`], with the step that says which window was found.
fn apply<T: Number>(values: &[T], window: Window) -> Result<(Vec<u8>, Step), Error> {
    let scale = Scale::find(values.iter().copied(), window, |index| index, || vec![0; 1 << 16])?;
    let mut pixels = memory::with_room(values.len())?;
    pixels.extend(values.iter().map(|&v| scale.pixel(v)));
    Ok((pixels, scale.step()))
}
