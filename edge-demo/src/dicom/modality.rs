//! From stored values to those of the modality (Hounsfield units and others).

use dicom_dictionary_std::tags;

use super::attributes::{array, group, item, number, numbers};
use super::elements::Elements;
use super::image::Format;
use crate::read::Problem;

/// A table that values are looked up in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// The value that has the first entry; lesser ones have it too.
    pub(super) first: f64,
    pub(super) bits: u32,
    pub(super) entries: Vec<u16>,
}

impl Table {
    /// The table that an item of a LUT sequence holds.
    pub(super) fn read(elements: &Elements, signed: bool) -> Result<Self, Problem> {
        use dicom_core::Tag;
        let (descriptor, data): (Tag, Tag) = (tags::LUT_DESCRIPTOR, tags::LUT_DATA);
        Self::of(elements, descriptor, data, signed)
    }

    /// The table of a descriptor and its data.
    pub(super) fn of(
        elements: &Elements,
        descriptor: dicom_core::Tag,
        data: dicom_core::Tag,
        signed: bool,
    ) -> Result<Self, Problem> {
        let wrong = |found: String| Problem::field("LUTDescriptor", found, "entries, first value, 8 to 16 bits");
        let described: Option<[f64; 3]> = array(elements, descriptor)?;
        let [count, first, bits] = described.ok_or_else(|| wrong("missing".into()))?;
        // A table of 65536 entries says 0, and a first value that is signed may be stored as if it were not.
        let count = if count == 0.0 { 65_536 } else { count as i64 as u16 as usize };
        let first = if signed && first > 32_767.0 { first - 65_536.0 } else { first };
        if !(8.0..=16.0).contains(&bits) {
            return Err(wrong(format!("{bits} bits")));
        }
        let found = numbers(elements, data)?.ok_or_else(|| Problem::field("LUTData", "missing", "a table"))?;
        let numbers: Vec<i64> = found.iter().map(|&v| v as i64).collect();
        let entries: Vec<u16> = match numbers.len() {
            n if n == count => numbers.iter().map(|&v| v as u16).collect(),
            // Bytes of words, or two entries of 8 bits in a word.
            n if n == 2 * count => numbers.chunks_exact(2).map(|v| (v[0] | v[1] << 8) as u16).collect(),
            n if 2 * n == count + count % 2 => {
                numbers.iter().flat_map(|v| [*v as u16 & 255, *v as u16 >> 8]).take(count).collect()
            }
            n => return Err(Problem::field("LUTData", format!("{n} numbers"), "as many as the descriptor tells")),
        };
        Ok(Self { first, bits: bits as u32, entries })
    }

    pub(super) fn look(&self, value: f64) -> u16 {
        let last = self.entries.len() - 1;
        self.entries[((value - self.first).max(0.0) as usize).min(last)]
    }
}

/// What is done to the stored values of a frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Modality {
    Linear(f64, f64),
    Table(Table),
}

impl Modality {
    /// That of a frame.
    pub(super) fn read(elements: &Elements, format: &Format, frame: usize) -> Result<Self, Problem> {
        if let Some(table) = item(elements, tags::MODALITY_LUT_SEQUENCE) {
            return Table::read(table, format.signed).map(Self::Table);
        }
        let groups = group(elements, frame, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        let slope = number(groups, tags::RESCALE_SLOPE)?.unwrap_or(1.0);
        let intercept = number(groups, tags::RESCALE_INTERCEPT)?.unwrap_or(0.0);
        if slope == 0.0 {
            return Err(Problem::field("RescaleSlope", slope, "a number other than 0"));
        }
        Ok(Self::Linear(slope, intercept))
    }

    pub(super) fn apply(&self, stored: i64) -> f64 {
        match self {
            Self::Linear(slope, intercept) => stored as f64 * slope + intercept,
            Self::Table(table) => table.look(stored as f64).into(),
        }
    }

    /// The least and greatest value it can give, and its slope and intercept if it is linear.
    pub(super) fn pair(&self) -> (f64, f64) {
        match self {
            Self::Linear(slope, intercept) => (*slope, *intercept),
            Self::Table(_) => (1.0, 0.0),
        }
    }
}

/// The least and the greatest number of the stored bits.
pub(super) fn stored_range(format: &Format) -> (f64, f64) {
    let all = 2f64.powi(format.stored as i32);
    if format.signed { (-all / 2.0, all / 2.0 - 1.0) } else { (0.0, all - 1.0) }
}

/// A stored value without what lies in its other bits, and with its sign.
pub(super) fn clean(raw: i64, format: &Format, bits: Option<u32>) -> i64 {
    let (shift, bits) = match bits {
        Some(bits) => (0, bits.min(format.stored)),
        None => (format.shift, format.stored),
    };
    let value = raw >> shift & ((1i64 << bits) - 1);
    if format.signed && value >> (bits - 1) & 1 == 1 { value - (1i64 << bits) } else { value }
}
