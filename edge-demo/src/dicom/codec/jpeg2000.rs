//! JPEG 2000.

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::super::image::Format;
use super::{Decoded, same_size};
use crate::read::Problem;

/// Fewer tiles than the decoder would make tables for.
const TILES: u64 = 1 << 16;

/// The decoder computes in f32, which holds all numbers on the way to values of so many bits.
const BITS: u32 = 20;

pub(super) fn decode(data: &[u8], format: &Format) -> Result<Decoded, Problem> {
    let damaged = |error: hayro_jpeg2000::DecodeError| Problem::Damaged(format!("JPEG 2000: {error}"));
    let (stream, components) = check(data, format)?;
    if let Some(deep) = components.iter().find(|c| c.bits > BITS) {
        return Err(Problem::Unsupported(format!(
            "JPEG 2000 of {} bits is not decoded; at most {BITS} are",
            deep.bits
        )));
    }
    // Strict: of data that end too early no image is made up.
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let image = Image::new(stream, &settings).map_err(damaged)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(damaged)?;
    let found = decoded.components();
    same_size("JPEG 2000", [image.width() as usize, image.height() as usize, found.len()], format)?;
    if found.iter().any(|c| c.samples().len() != format.rows * format.columns) {
        return Err(Problem::Damaged("JPEG 2000: components of other sizes than the image".into()));
    }
    let mut values = umedsam::memory::with_room(format.values())?;
    for i in 0..format.rows * format.columns {
        values.extend(found.iter().zip(&components).map(|(c, component)| component.value(c.samples()[i])));
    }
    Ok(Decoded { values, rgb: format.has_color_transform(), bits: components.iter().map(|c| c.bits).max() })
}

/// Of a codestream one component.
#[derive(Clone, Copy, Debug)]
pub(super) struct Component {
    pub(super) bits: u32,
    signed: bool,
}

impl Component {
    /// The value of a sample, which the decoder shifts as if it were unsigned.
    fn value(self, sample: f32) -> i64 {
        let (half, most) = (1i64 << (self.bits - 1), (1i64 << self.bits) - 1);
        let unsigned = (sample.round_ties_even() as i64).clamp(0, most);
        if self.signed { unsigned - half } else { unsigned }
    }
}

/// Looks at the codestream's header, from which a decoder allocates; returns the codestream and its components.
pub(super) fn check<'a>(data: &'a [u8], format: &Format) -> Result<(&'a [u8], Vec<Component>), Problem> {
    let damaged = |reason: &str| Problem::Damaged(format!("JPEG 2000: {reason}"));
    let start = data.windows(4).position(|w| w == b"\xff\x4f\xff\x51").ok_or_else(|| damaged("no header"))?;
    let header = data.get(start + 4..start + 42).ok_or_else(|| damaged("the header is cut"))?;
    let word = |at: usize| u64::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
    let [x1, y1, x0, y0] = [4, 8, 12, 16].map(word);
    let [tile_width, tile_height, tile_x, tile_y] = [20, 24, 28, 32].map(word);
    let count = usize::from(u16::from_be_bytes([header[36], header[37]]));
    if x1 <= x0 || y1 <= y0 || tile_width == 0 || tile_height == 0 || tile_x > x0 || tile_y > y0 {
        return Err(damaged("the header's sizes contradict each other"));
    }
    same_size("JPEG 2000", [(x1 - x0) as usize, (y1 - y0) as usize, count], format)?;
    let tiles = (x1 - tile_x).div_ceil(tile_width).saturating_mul((y1 - tile_y).div_ceil(tile_height));
    if tiles > TILES {
        return Err(damaged("more than 65536 tiles"));
    }
    let sizes = data.get(start + 42..start + 42 + 3 * count).ok_or_else(|| damaged("the header is cut"))?;
    if sizes.chunks_exact(3).any(|size| size[1..] != [1, 1]) {
        return Err(damaged("components of other sizes than the image"));
    }
    let component = |size: &[u8]| Component { bits: u32::from(size[0] & 127) + 1, signed: size[0] & 128 != 0 };
    Ok((&data[start..], sizes.chunks_exact(3).map(component).collect()))
}
