//! JPEG 2000 and High-Throughput JPEG 2000.

use jpeg2k::{DecodeParameters, Image};

use super::super::image::Format;
use super::{Decoded, same_size};
use crate::read::Problem;

/// Fewer tiles than the decoder would make tables for.
const TILES: u64 = 1 << 16;

pub(super) fn decode(data: &[u8], format: &Format) -> Result<Decoded, Problem> {
    let damaged = |reason: String| Problem::Damaged(format!("JPEG 2000: {reason}"));
    check(data, format)?;
    // Strict: of data that end too early no image is made up.
    let image = Image::from_bytes_with(data, DecodeParameters::new().strict(true))
        .map_err(|error| damaged(error.to_string()))?;
    let components = image.components();
    same_size("JPEG 2000", [image.width() as usize, image.height() as usize, components.len()], format)?;
    let size = format.rows * format.columns;
    if components.iter().any(|c| c.data().len() != size) {
        return Err(damaged("components of other sizes than the image".into()));
    }
    let mut values = umedsam::memory::with_room(format.values())?;
    for i in 0..size {
        values.extend(components.iter().map(|c| i64::from(c.data()[i])));
    }
    // The inverse of the colour transform is a part of decoding.
    let rgb = format.photometric == "YBR_RCT" || format.photometric == "YBR_ICT";
    Ok(Decoded { values, rgb, bits: components.iter().map(|c| c.precision()).max() })
}

/// Looks at the codestream's header, from which the decoder allocates.
fn check(data: &[u8], format: &Format) -> Result<(), Problem> {
    let damaged = |reason: &str| Problem::Damaged(format!("JPEG 2000: {reason}"));
    let start = data.windows(4).position(|w| w == b"\xff\x4f\xff\x51").ok_or_else(|| damaged("no header"))?;
    let header = data.get(start + 4..start + 42).ok_or_else(|| damaged("the header is cut"))?;
    let word = |at: usize| u64::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
    let [x1, y1, x0, y0] = [4, 8, 12, 16].map(word);
    let [tile_width, tile_height, tile_x, tile_y] = [20, 24, 28, 32].map(word);
    let components = usize::from(u16::from_be_bytes([header[36], header[37]]));
    if x1 <= x0 || y1 <= y0 || tile_width == 0 || tile_height == 0 || tile_x > x0 || tile_y > y0 {
        return Err(damaged("the header's sizes contradict each other"));
    }
    same_size("JPEG 2000", [(x1 - x0) as usize, (y1 - y0) as usize, components], format)?;
    let tiles = (x1 - tile_x).div_ceil(tile_width).saturating_mul((y1 - tile_y).div_ceil(tile_height));
    if tiles > TILES { Err(damaged("more than 65536 tiles")) } else { Ok(()) }
}
