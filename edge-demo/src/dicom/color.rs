//! Colours as RGB.

use dicom_dictionary_std::tags;

use super::elements::Elements;
use super::modality::Table;
use crate::read::Problem;

/// Y, Cb and Cr of the full range, interleaved, to RGB.
pub(super) fn from_ybr(values: &mut [i64], stored: u32) {
    let (middle, most) = ((1i64 << (stored - 1)) as f64, ((1i64 << stored) - 1) as f64);
    for pixel in values.chunks_exact_mut(3) {
        let [y, cb, cr] = [pixel[0] as f64, pixel[1] as f64 - middle, pixel[2] as f64 - middle];
        let rgb = [y + 1.402 * cr, y - 0.114 * 1.772 / 0.587 * cb - 0.299 * 1.402 / 0.587 * cr, y + 1.772 * cb];
        for (value, v) in pixel.iter_mut().zip(rgb) {
            *value = (v + 0.5).floor().clamp(0.0, most) as i64;
        }
    }
}

/// The three tables of a palette, in 8 bits.
pub(super) struct Palette([Table; 3]);

impl Palette {
    pub(super) fn read(elements: &Elements, signed: bool) -> Result<Self, Problem> {
        if elements.get(tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA).is_some() {
            return Err(Problem::Unsupported("a segmented palette is not read".into()));
        }
        let table = |descriptor, data| Table::of(elements, descriptor, data, signed);
        Ok(Self([
            table(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA)?,
            table(tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA)?,
            table(tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA)?,
        ]))
    }

    /// The colour of an index; of entries of 16 bits the high byte.
    pub(super) fn color(&self, index: i64) -> [i64; 3] {
        [&self.0[0], &self.0[1], &self.0[2]].map(|table| {
            let entry = table.look(index as f64);
            i64::from(if table.bits > 8 { entry >> (table.bits - 8) } else { entry } & 255)
        })
    }
}
