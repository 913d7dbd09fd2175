//! Data sets as bytes, in explicit VR, little-endian.

use std::collections::BTreeMap;
use std::io;

use dicom_core::{Tag, VR};

use super::attributes::name;
use super::elements::{LONG, standard};

/// Elements to be written. Each has the value representation of the standard.
#[derive(Clone, Debug, Default)]
pub(super) struct Dataset(BTreeMap<Tag, Value>);

#[derive(Clone, Debug)]
enum Value {
    Bytes(Vec<u8>),
    Items(Vec<Dataset>),
}

impl Dataset {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Sets an element to bytes, which are padded to an even number.
    #[must_use]
    pub(super) fn with(mut self, tag: Tag, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.insert(tag, Value::Bytes(bytes.into()));
        self
    }

    /// Sets an element of numbers of 16 bits.
    #[must_use]
    pub(super) fn words(self, tag: Tag, words: &[u16]) -> Self {
        self.with(tag, words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>())
    }

    /// Sets an element of numbers of 32 bits.
    #[must_use]
    pub(super) fn longs(self, tag: Tag, longs: &[u32]) -> Self {
        self.with(tag, longs.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>())
    }

    /// Sets an element to a tag.
    #[must_use]
    pub(super) fn points(self, tag: Tag, to: Tag) -> Self {
        self.words(tag, &[to.group(), to.element()])
    }

    /// Sets a sequence.
    #[must_use]
    pub(super) fn items(mut self, tag: Tag, items: Vec<Self>) -> Self {
        self.0.insert(tag, Value::Items(items));
        self
    }

    /// Appends all elements in order of their tags.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if a value has more bytes than its length can tell.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        for (&tag, value) in &self.0 {
            let vr = standard(tag);
            let start = bytes.len() + if LONG.contains(&vr) { 12 } else { 8 };
            head(tag, vr, 0, bytes)?;
            match value {
                Value::Bytes(value) => {
                    bytes.extend(value);
                    let padding = if matches!(vr, VR::UI | VR::OB | VR::OW) { 0 } else { b' ' };
                    bytes.extend((value.len() % 2 == 1).then_some(padding));
                }
                Value::Items(items) => {
                    for item in items {
                        let start = bytes.len() + 8;
                        bytes.extend([0xfe, 0xff, 0, 0xe0, 0, 0, 0, 0]);
                        item.encode(bytes)?;
                        let length = u32::try_from(bytes.len() - start).map_err(|_| long(tag, bytes.len() - start))?;
                        bytes[start - 4..start].copy_from_slice(&length.to_le_bytes());
                    }
                }
            }
            // The length is known now.
            let mut told = Vec::with_capacity(12);
            head(tag, vr, bytes.len() - start, &mut told)?;
            bytes[start - told.len()..start].copy_from_slice(&told);
        }
        Ok(())
    }
}

/// Appends what is before a value of this many bytes.
pub(super) fn head(tag: Tag, vr: VR, length: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.extend(tag.group().to_le_bytes());
    bytes.extend(tag.element().to_le_bytes());
    bytes.extend(vr.to_bytes());
    if LONG.contains(&vr) {
        // The greatest stands for a length that is not told.
        let told = u32::try_from(length).ok().filter(|l| *l < u32::MAX).ok_or_else(|| long(tag, length))?;
        bytes.extend([0, 0]);
        bytes.extend(told.to_le_bytes());
    } else {
        bytes.extend(u16::try_from(length).map_err(|_| long(tag, length))?.to_le_bytes());
    }
    Ok(())
}

fn long(tag: Tag, length: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} of {length} bytes is too long for DICOM", name(tag)))
}
