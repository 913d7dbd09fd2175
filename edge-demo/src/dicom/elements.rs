//! A file's elements. Our own: `dicom-object` 0.10.1 takes items of unknown sequences for explicit ones, and then makes
//! room for whatever lengths it finds there (3.7 GB for pydicom's UN_sequence.dcm of 1 kB). Here every length is within
//! the file before anything is made of it, and sequences are not nested without end.

use std::collections::BTreeMap;
use std::ops::Range;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use crate::read::Problem;

/// Greatest depth of nested sequences; real files have less than ten.
const DEPTH: usize = 32;
/// Longer values are none that an image is described with; a table of 65536 words has 128 KiB.
const LONGEST: usize = 1 << 18;
const UNDEFINED: u32 = u32::MAX;

/// How elements lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) explicit: bool,
    pub(super) big: bool,
}

/// The value of an element.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// In the file's character set, without padding.
    Text(Vec<u8>),
    Numbers(Vec<f64>),
    Items(Vec<Elements>),
}

/// The elements of a file or an item, without private ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Elements(BTreeMap<Tag, Value>);

impl Elements {
    pub(super) fn get(&self, tag: Tag) -> Option<&Value> {
        self.0.get(&tag)
    }

    /// The items of a sequence.
    pub(super) fn items(&self, tag: Tag) -> &[Self] {
        match self.get(tag) {
            Some(Value::Items(items)) => items,
            _ => &[],
        }
    }
}

/// Where the pixels are.
#[derive(Clone, Debug)]
pub(super) enum Pixels {
    /// As they are, to where the file ends if that is sooner; and whether in words of 16 bits.
    Native { range: Range<usize>, words: bool },
    /// In fragments, of which the first is the Basic Offset Table.
    Encapsulated(Vec<Range<usize>>),
}

/// What a file holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub(super) elements: Elements,
    pub(super) pixels: Option<Pixels>,
    /// The offsets of frames that the element Extended Offset Table tells.
    pub(super) extended: Option<Range<usize>>,
}

/// Reads the elements from `at` until the pixels.
pub(super) fn read(bytes: &[u8], at: usize, encoding: Encoding) -> Result<Layout, Problem> {
    let mut reader = Reader { bytes, layout: Layout::default() };
    reader.layout.elements = reader.dataset(at, None, encoding, 0)?.0;
    Ok(reader.layout)
}

/// The head of an element.
struct Head {
    tag: Tag,
    vr: VR,
    length: u32,
    value: usize,
}

struct Reader<'a> {
    bytes: &'a [u8],
    layout: Layout,
}

impl<'a> Reader<'a> {
    /// A part of the file, or that it ends too early.
    fn part(&self, at: usize, length: usize) -> Result<&'a [u8], Problem> {
        let actual = self.bytes.len().saturating_sub(at) as u64;
        let short = Problem::Ended { part: "an element", expected: length as u64, actual };
        self.bytes.get(at..at.saturating_add(length)).ok_or(short)
    }

    fn head(&self, at: usize, Encoding { explicit, big }: Encoding) -> Result<Head, Problem> {
        let first = self.part(at, 8)?;
        let tag = Tag(number(&first[..2], big) as u16, number(&first[2..4], big) as u16);
        if tag.group() == 0xfffe || !explicit {
            return Ok(Head { tag, vr: standard(tag), length: number(&first[4..8], big), value: at + 8 });
        }
        let letters = [first[4], first[5]];
        let vr = VR::from_binary(letters).ok_or_else(|| {
            let letters = letters.escape_ascii();
            Problem::Damaged(format!("element {tag} has the value representation '{letters}'"))
        })?;
        if LONG.contains(&vr) {
            Ok(Head { tag, vr, length: number(self.part(at + 8, 4)?, big), value: at + 12 })
        } else {
            Ok(Head { tag, vr, length: number(&first[6..8], big), value: at + 8 })
        }
    }

    /// The elements to `end`, or to an item's delimiter, or at the top to the pixels; and where that is.
    fn dataset(
        &mut self,
        mut at: usize,
        end: Option<usize>,
        encoding: Encoding,
        depth: usize,
    ) -> Result<(Elements, usize), Problem> {
        let mut found = Elements::default();
        loop {
            let over = end.map_or(depth == 0 && self.bytes.len().saturating_sub(at) < 8, |end| at >= end);
            if over {
                return Ok((found, at));
            }
            let Head { tag, vr, length, value } = self.head(at, encoding)?;
            if tag == Tag(0xfffe, 0xe00d) && depth > 0 {
                return Ok((found, value));
            } else if tag.group() == 0xfffe {
                return Err(Problem::Damaged(format!("{tag} at byte {at} is in no sequence")));
            } else if depth == 0 && tag == tags::PIXEL_DATA {
                let words = vr != VR::OB && vr != VR::UN;
                self.layout.pixels = Some(match length {
                    UNDEFINED => Pixels::Encapsulated(self.fragments(value, encoding)?.0),
                    _ => {
                        let end = value.saturating_add(length as usize).min(self.bytes.len());
                        Pixels::Native { range: value.min(end)..end, words }
                    }
                });
                return Ok((found, at));
            } else if length == UNDEFINED && matches!(vr, VR::OB | VR::OW) {
                // The pixels of an icon.
                at = self.fragments(value, encoding)?.1;
            } else if vr == VR::SQ || length == UNDEFINED {
                // Of an unknown sequence the items are in implicit VR.
                let encoding = Encoding { explicit: encoding.explicit && vr != VR::UN, ..encoding };
                let (items, next) = self.items(value, length, encoding, depth + 1)?;
                found.keep(tag, Value::Items(items));
                at = next;
            } else {
                let bytes = self.part(value, length as usize)?;
                at = value + bytes.len();
                if depth == 0 && tag == tags::EXTENDED_OFFSET_TABLE {
                    self.layout.extended = Some(value..at);
                } else if bytes.len() <= LONGEST {
                    found.keep(tag, decoded(tag, vr, bytes, encoding.big));
                }
            }
        }
    }

    fn items(
        &mut self,
        mut at: usize,
        length: u32,
        encoding: Encoding,
        depth: usize,
    ) -> Result<(Vec<Elements>, usize), Problem> {
        if depth > DEPTH {
            return Err(Problem::Damaged(format!("sequences are nested more than {DEPTH} deep")));
        }
        let end = self.end(at, length)?;
        let mut items = Vec::new();
        while end.is_none_or(|end| at < end) {
            let Head { tag, length, value, .. } = self.head(at, encoding)?;
            match (tag.group(), tag.element()) {
                (0xfffe, 0xe0dd) => return Ok((items, value)),
                (0xfffe, 0xe000) => {
                    let end = self.end(value, length)?;
                    let (item, next) = self.dataset(value, end, encoding, depth)?;
                    items.push(item);
                    at = next;
                }
                // The delimiter of an item that has a length, too.
                (0xfffe, 0xe00d) => at = value,
                _ => {
                    return Err(Problem::Damaged(format!("{tag} at byte {at} stands between the items of a sequence")));
                }
            }
        }
        Ok((items, at))
    }

    fn end(&self, at: usize, length: u32) -> Result<Option<usize>, Problem> {
        if length == UNDEFINED {
            return Ok(None);
        }
        self.part(at, length as usize)?;
        Ok(Some(at + length as usize))
    }

    /// The fragments of encapsulated pixels, and where they end.
    fn fragments(&self, value: usize, encoding: Encoding) -> Result<(Vec<Range<usize>>, usize), Problem> {
        let mut fragments = Vec::new();
        let mut at = value;
        while at < self.bytes.len() {
            let Head { tag, length, value, .. } = self.head(at, encoding)?;
            match (tag.group(), tag.element()) {
                (0xfffe, 0xe0dd) => return Ok((fragments, value)),
                (0xfffe, 0xe000) => self.part(value, length as usize)?,
                _ => return Err(Problem::Damaged(format!("{tag} at byte {at}, among the fragments of pixels"))),
            };
            at = value + length as usize;
            fragments.push(value..at);
        }
        Ok((fragments, at))
    }
}

impl Elements {
    /// Keeps a value, unless it is private or a part of an overlay.
    fn keep(&mut self, tag: Tag, value: Value) {
        if tag.group().is_multiple_of(2) && tag.group() & 0xff00 != 0x6000 {
            self.0.insert(tag, value);
        }
    }
}

/// Value representations whose length takes four bytes.
pub(super) const LONG: [VR; 13] =
    [VR::OB, VR::OD, VR::OF, VR::OL, VR::OV, VR::OW, VR::SQ, VR::SV, VR::UC, VR::UN, VR::UR, VR::UT, VR::UV];

/// Reads a number of 2 or 4 bytes.
fn number(bytes: &[u8], big: bool) -> u32 {
    let fold = |n: u32, b: &u8| n << 8 | u32::from(*b);
    if big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
}

/// The value representation that the standard gives a tag.
pub(super) fn standard(tag: Tag) -> VR {
    StandardDataDictionary.by_tag(tag).map_or(VR::UN, |entry| entry.vr().relaxed())
}

/// A value by its representation, or where that is unknown by the standard's.
fn decoded(tag: Tag, vr: VR, bytes: &[u8], big: bool) -> Value {
    use crate::scan::Stored;
    fn numbers<T: Stored>(bytes: &[u8], big: bool) -> Value {
        Value::Numbers(bytes.chunks_exact(size_of::<T>()).map(|b| T::of(b, big).to_f64()).collect())
    }
    match if vr == VR::UN { standard(tag) } else { vr } {
        VR::OB | VR::UN => numbers::<u8>(bytes, big),
        VR::US | VR::OW => numbers::<u16>(bytes, big),
        VR::SS => numbers::<i16>(bytes, big),
        VR::UL | VR::OL => numbers::<u32>(bytes, big),
        VR::SL => numbers::<i32>(bytes, big),
        VR::UV | VR::OV => numbers::<u64>(bytes, big),
        VR::SV => numbers::<i64>(bytes, big),
        VR::FL | VR::OF => numbers::<f32>(bytes, big),
        VR::FD | VR::OD => numbers::<f64>(bytes, big),
        _ => Value::Text(trimmed(bytes).into()),
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let inked = |b: &u8| !matches!(b, 0 | b' ');
    let start = bytes.iter().position(inked).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(inked).map_or(start, |last| last + 1);
    &bytes[start..end]
}
