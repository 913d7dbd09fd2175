//! A look at a file's structure before anything is built of it: every length is within the file, and sequences are not
//! nested without end. What is read of it afterwards allocates no more than the file holds.

use std::ops::Range;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

use crate::read::Problem;

/// Greatest depth of nested sequences; real files have less than ten.
const DEPTH: usize = 32;
const UNDEFINED: u32 = u32::MAX;

/// How elements lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) explicit: bool,
    pub(super) big: bool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// Where the elements before the pixels end.
    pub(super) end: usize,
    pub(super) pixels: Option<Pixels>,
    /// The offsets of frames that the element Extended Offset Table tells.
    pub(super) extended: Option<Range<usize>>,
}

/// Where the pixels are.
#[derive(Clone, Debug)]
pub(super) enum Pixels {
    /// As they are, to where the file ends if that is sooner; and whether in words of 16 bits.
    Native { range: Range<usize>, words: bool },
    /// In fragments, of which the first is the Basic Offset Table.
    Encapsulated(Vec<Range<usize>>),
}

/// The head of an element.
struct Head {
    tag: Tag,
    vr: VR,
    length: u32,
    value: usize,
}

/// Reads a number of 2 or 4 bytes.
fn number(bytes: &[u8], big: bool) -> u32 {
    let fold = |n: u32, b: &u8| n << 8 | u32::from(*b);
    if big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) }
}

fn tag(bytes: &[u8], big: bool) -> Tag {
    Tag(number(&bytes[..2], big) as u16, number(&bytes[2..4], big) as u16)
}

/// The part of a file, or that it ends too early.
fn part(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], Problem> {
    let end = at.saturating_add(length);
    bytes.get(at..end).ok_or(Problem::Ended {
        part: "an element",
        expected: end as u64,
        actual: bytes.len() as u64,
    })
}

fn head(bytes: &[u8], at: usize, encoding: Encoding) -> Result<Head, Problem> {
    let Encoding { explicit, big } = encoding;
    let first = part(bytes, at, 8)?;
    let tag = tag(first, big);
    if tag.group() == 0xfffe || !explicit {
        let vr = StandardDataDictionary.by_tag(tag).map_or(VR::UN, |entry| entry.vr().relaxed());
        return Ok(Head { tag, vr, length: number(&first[4..8], big), value: at + 8 });
    }
    let Some(vr) = VR::from_binary([first[4], first[5]]) else {
        let letters = first[4..6].escape_ascii();
        return Err(Problem::Damaged(format!("element {tag} has the value representation '{letters}'")));
    };
    if LONG.contains(&vr) {
        Ok(Head { tag, vr, length: number(part(bytes, at + 8, 4)?, big), value: at + 12 })
    } else {
        Ok(Head { tag, vr, length: number(&first[6..8], big), value: at + 8 })
    }
}

/// Value representations whose length takes four bytes.
const LONG: [VR; 13] = [
    VR::OB,
    VR::OD,
    VR::OF,
    VR::OL,
    VR::OV,
    VR::OW,
    VR::SQ,
    VR::SV,
    VR::UC,
    VR::UN,
    VR::UR,
    VR::UT,
    VR::UV,
];

/// What is open while its elements are passed.
struct Open {
    /// Where it ends; `None` for what a delimiter ends.
    end: Option<usize>,
    /// A sequence, of items; else an item, of elements.
    sequence: bool,
    encoding: Encoding,
}

/// Passes over the elements of `bytes` from `at` until the pixels.
pub(super) fn walk(bytes: &[u8], at: usize, encoding: Encoding) -> Result<Layout, Problem> {
    let mut layout = Layout::default();
    let mut open: Vec<Open> = Vec::new();
    let mut at = at;
    loop {
        while open.last().is_some_and(|o| o.end.is_some_and(|end| at >= end)) {
            open.pop();
        }
        // Zeros behind the last element, fewer than an element has.
        if bytes.len().saturating_sub(at) < 8 && open.is_empty() {
            layout.end = at.min(bytes.len());
            return Ok(layout);
        }
        let encoding = open.last().map_or(encoding, |o| o.encoding);
        let Head { tag, vr, length, value } = head(bytes, at, encoding)?;
        if tag.group() == 0xfffe {
            at = value;
            match (tag.element(), open.last().map(|o| o.sequence)) {
                (0xe000, Some(true)) => open.push(Open { end: end(bytes, value, length)?, sequence: false, encoding }),
                (0xe00d, Some(false)) | (0xe0dd, Some(true)) => _ = open.pop(),
                // A delimiter behind an item or sequence of defined length.
                (0xe00d | 0xe0dd, _) => {}
                _ => return Err(Problem::Damaged(format!("{tag} at byte {at} is in no sequence"))),
            }
        } else if open.last().is_some_and(|o| o.sequence) {
            return Err(Problem::Damaged(format!("element {tag} at byte {at} stands between the items of a sequence")));
        } else if open.is_empty() && tag == Tag(0x7fe0, 0x0010) {
            layout.end = at;
            let words = vr != VR::OB && vr != VR::UN;
            layout.pixels = Some(pixels(bytes, value, length, words, encoding)?);
            return Ok(layout);
        } else if vr == VR::SQ || length == UNDEFINED {
            // Of an unknown sequence the items are in implicit VR.
            let explicit = encoding.explicit && vr != VR::UN;
            let encoding = Encoding { explicit, ..encoding };
            open.push(Open { end: end(bytes, value, length)?, sequence: true, encoding });
            at = value;
        } else {
            let next = value.saturating_add(length as usize);
            part(bytes, value, length as usize)?;
            if open.is_empty() && tag == Tag(0x7fe0, 0x0001) {
                layout.extended = Some(value..next);
            }
            at = next;
        }
        if open.len() > 2 * DEPTH {
            return Err(Problem::Damaged(format!("sequences are nested more than {DEPTH} deep")));
        }
    }
}

fn end(bytes: &[u8], value: usize, length: u32) -> Result<Option<usize>, Problem> {
    if length == UNDEFINED {
        return Ok(None);
    }
    part(bytes, value, length as usize)?;
    Ok(Some(value + length as usize))
}

fn pixels(bytes: &[u8], value: usize, length: u32, words: bool, encoding: Encoding) -> Result<Pixels, Problem> {
    if length != UNDEFINED {
        let end = value.saturating_add(length as usize).min(bytes.len());
        return Ok(Pixels::Native { range: value.min(end)..end, words });
    }
    let mut fragments = Vec::new();
    let mut at = value;
    while at < bytes.len() {
        let Head { tag, length, value, .. } = head(bytes, at, encoding)?;
        match (tag.group(), tag.element()) {
            (0xfffe, 0xe0dd) => break,
            (0xfffe, 0xe000) => part(bytes, value, length as usize)?,
            _ => return Err(Problem::Damaged(format!("{tag} at byte {at}, among the fragments of the pixels"))),
        };
        at = value + length as usize;
        fragments.push(value..at);
    }
    Ok(Pixels::Encapsulated(fragments))
}
