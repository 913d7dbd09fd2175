//! High-Throughput JPEG 2000, by a decoder that is not proof against hostile files.

use jpeg2k::{DecodeParameters, Image};

use super::super::image::Format;
use super::jpeg2000::check;
use super::{Decoded, same_size};
use crate::read::Problem;

pub(super) fn decode(data: &[u8], format: &Format) -> Result<Decoded, Problem> {
    let damaged = |reason: String| Problem::Damaged(format!("HTJ2K: {reason}"));
    let (stream, header) = check(data, format)?;
    // Strict: of data that end too early no image is made up.
    let image = Image::from_bytes_with(stream, DecodeParameters::new().strict(true))
        .map_err(|error| damaged(error.to_string()))?;
    let components = image.components();
    same_size("HTJ2K", [image.width() as usize, image.height() as usize, components.len()], format)?;
    let size = format.rows * format.columns;
    if components.iter().any(|c| c.data().len() != size) {
        return Err(damaged("components of other sizes than the image".into()));
    }
    let mut values = umedsam::memory::with_room(format.values())?;
    for i in 0..size {
        values.extend(components.iter().map(|c| i64::from(c.data()[i])));
    }
    Ok(Decoded { values, rgb: format.has_color_transform(), bits: header.iter().map(|c| c.bits).max() })
}
