//! What the pixels of a DICOM object are.

use dicom_dictionary_std::tags;

use super::attributes::{name, text, whole};
use super::elements::Pixels;
use super::file::DicomFile;
use crate::read::Problem;
use crate::scan::Applied;

/// The Image Pixel module, checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Format {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) samples: usize,
    /// Photometric Interpretation.
    pub(super) photometric: String,
    pub(super) allocated: usize,
    pub(super) stored: u32,
    /// Bits below the stored ones.
    pub(super) shift: u32,
    pub(super) signed: bool,
    /// Samples lie plane by plane, not pixel by pixel.
    pub(super) planar: bool,
    pub(super) frames: usize,
}

impl Format {
    /// Reads what the pixels are; notes go to `notes`.
    pub(super) fn read(file: &DicomFile, notes: &mut Vec<Applied>) -> Result<Self, Problem> {
        let elements = &file.elements;
        let require = |tag, range, expected| {
            whole(elements, tag, range, expected)?.ok_or_else(|| Problem::field(name(tag), "missing", expected))
        };
        let rows = require(tags::ROWS, (1, 65_535), "1 to 65535")? as usize;
        let columns = require(tags::COLUMNS, (1, 65_535), "1 to 65535")? as usize;
        let samples = whole(elements, tags::SAMPLES_PER_PIXEL, (1, 4), "1 or 3")?.unwrap_or(1) as usize;
        let default = if samples == 1 { "MONOCHROME2" } else { "RGB" };
        let photometric = text(elements, tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_else(|| default.into());
        let known = ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"];
        let gray = ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"];
        if !(samples == 1 && gray.contains(&photometric.as_str())
            || samples == 3 && known.contains(&photometric.as_str()))
        {
            return Err(Problem::Unsupported(format!("pixels of {samples} samples in {photometric} are not read")));
        }
        let allocated = require(tags::BITS_ALLOCATED, (1, 64), "1, 8, 16 or 32")?;
        if !matches!(allocated, 1 | 8 | 16 | 32) {
            return Err(Problem::field("BitsAllocated", allocated, "1, 8, 16 or 32"));
        }
        let stored = whole(elements, tags::BITS_STORED, (1, allocated), "at most BitsAllocated")?.unwrap_or(allocated);
        let high = whole(elements, tags::HIGH_BIT, (0, 63), "below BitsAllocated")?.unwrap_or(stored - 1);
        if high + 1 < stored || high >= allocated {
            return Err(Problem::field("HighBit", high, "from BitsStored - 1 to BitsAllocated - 1"));
        }
        let signed = whole(elements, tags::PIXEL_REPRESENTATION, (0, 1), "0 or 1")? == Some(1);
        let planar = samples > 1 && whole(elements, tags::PLANAR_CONFIGURATION, (0, 1), "0 or 1")? == Some(1);
        let mut format = Self {
            rows,
            columns,
            samples,
            photometric,
            allocated: allocated as usize,
            stored,
            shift: high + 1 - stored,
            signed,
            planar,
            frames: 1,
        };
        format.frames = format.count(file, notes)?;
        Ok(format)
    }

    /// Number of frames: what the file says, or where that is no number what it holds.
    fn count(&self, file: &DicomFile, notes: &mut Vec<Applied>) -> Result<usize, Problem> {
        let Some(text) = text(&file.elements, tags::NUMBER_OF_FRAMES) else { return Ok(1) };
        let most = 1 << 20;
        let wrong = || Problem::field("NumberOfFrames", &text, "1 to 1048576");
        match text.parse::<usize>() {
            Ok(count) if (1..=most).contains(&count) => Ok(count),
            // Some writers say 0 of a single frame.
            Ok(0) => Ok(1),
            Ok(_) => Err(wrong()),
            Err(_) => {
                let count = match &file.pixels {
                    Some(Pixels::Native { range, .. }) => range.len() / self.native_bytes().max(1),
                    Some(Pixels::Encapsulated(fragments)) => fragments.len() - 1,
                    None => 0,
                };
                if !(1..=most).contains(&count) {
                    return Err(wrong());
                }
                notes.push(Applied::FramesCounted { text, frames: count });
                Ok(count)
            }
        }
    }

    /// Samples of a frame.
    pub(super) const fn values(&self) -> usize {
        self.rows * self.columns * self.samples
    }

    /// Whether colours went through JPEG 2000's transform, whose inverse is a part of decoding.
    pub(super) fn has_color_transform(&self) -> bool {
        matches!(self.photometric.as_str(), "YBR_RCT" | "YBR_ICT")
    }

    /// Bytes of a frame that is not compressed, rounded down where it is of single bits.
    pub(super) fn native_bytes(&self) -> usize {
        let pixels = self.rows * self.columns;
        match (self.allocated, self.photometric.as_str()) {
            (1, _) => self.values() / 8,
            (8, "YBR_FULL_422") => 2 * pixels,
            (bits, _) => self.values() * bits / 8,
        }
    }
}
