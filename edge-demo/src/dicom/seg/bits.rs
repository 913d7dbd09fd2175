//! Pixels of one bit.

use std::io::{self, Write};

/// Packs frames one after the other, the first pixel in the lowest bit; frames do not begin with a new byte.
pub(super) struct Packer<'a> {
    file: &'a mut dyn Write,
    /// Bits that fill no byte yet, and their number.
    rest: u8,
    count: u32,
    bytes: usize,
}

impl<'a> Packer<'a> {
    pub(super) fn new(file: &'a mut dyn Write) -> Self {
        Self { file, rest: 0, count: 0, bytes: 0 }
    }

    /// Adds a frame: where the labels are this one.
    pub(super) fn frame(&mut self, labels: &[u16], label: u16) -> io::Result<()> {
        let mut packed = Vec::with_capacity(labels.len() / 8 + 1);
        for &l in labels {
            self.rest |= u8::from(l == label) << self.count;
            self.count += 1;
            if self.count == 8 {
                packed.push(self.rest);
                (self.rest, self.count) = (0, 0);
            }
        }
        self.bytes += packed.len();
        self.file.write_all(&packed)
    }

    /// Ends with an even number of bytes.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.count > 0 {
            self.file.write_all(&[self.rest])?;
            self.bytes += 1;
        }
        if self.bytes % 2 == 1 {
            self.file.write_all(&[0])?;
        }
        Ok(())
    }
}
