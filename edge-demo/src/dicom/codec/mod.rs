//! From the bytes of a frame to its stored values.

#[cfg(feature = "htj2k")]
mod htj2k;
mod jpeg;
mod jpeg2000;
mod jpeg_ls;
mod native;
mod rle;

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use flate2::read::DeflateDecoder;

use super::elements::Pixels;
use super::file::DicomFile;
use super::frames::frame;
use super::image::Format;
use crate::read::Problem;

/// How pixels are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Native,
    Deflate,
    Rle,
    /// Whether it is lossless.
    Jpeg(bool),
    Jpeg2000,
    JpegLs,
    #[cfg(feature = "htj2k")]
    Htj2k,
}

impl Codec {
    /// That of a transfer syntax.
    pub(super) fn of(file: &DicomFile) -> Result<Self, Problem> {
        let uid = file.syntax.as_str();
        if let Some(Pixels::Native { .. }) = file.pixels {
            return Ok(Self::Native);
        }
        Ok(match uid.strip_prefix("1.2.840.10008.1.2.").unwrap_or(uid) {
            "8.1" => Self::Deflate,
            "5" => Self::Rle,
            "4.50" | "4.51" => Self::Jpeg(false),
            "4.57" | "4.70" => Self::Jpeg(true),
            "4.80" | "4.81" => Self::JpegLs,
            "4.90" | "4.91" | "4.92" | "4.93" => Self::Jpeg2000,
            #[cfg(feature = "htj2k")]
            "4.201" | "4.202" | "4.203" => Self::Htj2k,
            rest => {
                let name = match rest {
                    "4.201" | "4.202" | "4.203" => "High-Throughput JPEG 2000, without the feature htj2k,",
                    "4.110" | "4.111" | "4.112" => "JPEG XL",
                    _ if rest.starts_with("4.9") => "JPIP",
                    _ if rest.starts_with("4.10") => "MPEG",
                    _ => "an unknown transfer syntax",
                };
                return Err(Problem::Unsupported(format!("pixels in {name} ({uid}) are not decoded")));
            }
        })
    }
}

/// Values of a frame as they are stored, pixel by pixel, and what is known of their colours.
pub(super) struct Decoded {
    pub(super) values: Vec<i64>,
    /// Whether the decoder has made RGB of whatever the colours were.
    pub(super) rgb: bool,
    /// Bits of a value, where the compressed frame tells others than the file.
    pub(super) bits: Option<u32>,
}

/// Decodes frame `index`. A decoder that panics is an error as any other.
pub(super) fn decode(bytes: &[u8], file: &DicomFile, format: &Format, index: usize) -> Result<Decoded, Problem> {
    let (data, bit) = frame(bytes, file, format, index)?;
    let codec = Codec::of(file)?;
    let decoded = match codec {
        Codec::Native => native::decode(&data, bit, file, format),
        Codec::Deflate => {
            let expected = format.native_bytes();
            let mut native = umedsam::memory::with_room(expected)?;
            let read = DeflateDecoder::new(&*data).take(expected as u64).read_to_end(&mut native);
            read.map_err(|error| Problem::Damaged(format!("frame {index}: {error}")))?;
            native::decode(&native, 0, file, format)
        }
        Codec::Rle => rle::decode(&data, format),
        Codec::Jpeg(lossless) => guarded(|| jpeg::decode(&data, format, lossless)),
        Codec::Jpeg2000 => guarded(|| jpeg2000::decode(&data, format)),
        Codec::JpegLs => guarded(|| jpeg_ls::decode(&data, format)),
        #[cfg(feature = "htj2k")]
        Codec::Htj2k => guarded(|| htj2k::decode(&data, format)),
    };
    let decoded = decoded.map_err(|problem| match problem {
        Problem::Damaged(reason) => Problem::Damaged(format!("frame {index}: {reason}")),
        other => other,
    })?;
    if decoded.values.len() != format.values() {
        let (found, expected) = (decoded.values.len(), format.values());
        return Err(Problem::Damaged(format!("frame {index} has {found} values of {expected}")));
    }
    Ok(decoded)
}

fn guarded(decode: impl FnOnce() -> Result<Decoded, Problem>) -> Result<Decoded, Problem> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err(Problem::Damaged("the decoder gave up".into())))
}

/// Refuses a compressed frame of another size than the file tells, before it is decoded.
fn same_size(what: &str, found: [usize; 3], format: &Format) -> Result<(), Problem> {
    let expected = [format.columns, format.rows, format.samples];
    if found == expected {
        return Ok(());
    }
    let [w, h, n] = found;
    let [columns, rows, samples] = expected;
    Err(Problem::Damaged(format!("{what} of {w}x{h}x{n} where the file tells {columns}x{rows}x{samples}")))
}
