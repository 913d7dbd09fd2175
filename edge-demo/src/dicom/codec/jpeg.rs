//! JPEG: baseline and extended of 8 bits, lossless to 16.

use jpeg_decoder::{ColorTransform, Decoder, Error, PixelFormat, UnsupportedFeature};

use super::super::image::Format;
use super::{Decoded, same_size};
use crate::read::Problem;

pub(super) fn decode(data: &[u8], format: &Format, lossless: bool) -> Result<Decoded, Problem> {
    let failed = |error: Error| match error {
        Error::Unsupported(UnsupportedFeature::SamplePrecision(bits)) => {
            Problem::Unsupported(format!("JPEG of {bits} bits that is not lossless is not decoded"))
        }
        Error::Unsupported(feature) => Problem::Unsupported(format!("JPEG with {feature:?} is not decoded")),
        other => Problem::Damaged(other.to_string()),
    };
    let mut decoder = Decoder::new(data);
    decoder.read_info().map_err(failed)?;
    let info = decoder.info().ok_or_else(|| Problem::Damaged("JPEG without a header".into()))?;
    let (samples, wide) = match info.pixel_format {
        PixelFormat::L8 => (1, false),
        PixelFormat::L16 => (1, true),
        PixelFormat::RGB24 => (3, false),
        PixelFormat::CMYK32 => (4, false),
    };
    same_size("JPEG", [info.width.into(), info.height.into(), samples], format)?;
    decoder.set_max_decoding_buffer_size(format.values() * if wide { 2 } else { 1 });
    // The file's own marker tells the colours; without one the photometric interpretation does.
    let ybr = format.photometric.starts_with("YBR");
    let marked = data.windows(7).take(4096).any(|w| w == b"\xff\xee\x00\x0eAdo");
    if samples == 3 && lossless {
        decoder.set_color_transform(ColorTransform::None);
    } else if samples == 3 && !marked {
        decoder.set_color_transform(if ybr { ColorTransform::YCbCr } else { ColorTransform::None });
    }
    let bytes = decoder.decode().map_err(failed)?;
    let mut values = umedsam::memory::with_room(format.values())?;
    if wide {
        values.extend(bytes.chunks_exact(2).map(|b| i64::from(u16::from_ne_bytes([b[0], b[1]]))));
    } else {
        values.extend(bytes.iter().map(|&b| i64::from(b)));
    }
    Ok(Decoded { values, rgb: !lossless, bits: None })
}
