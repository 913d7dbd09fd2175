//! A file's bytes in order, unpacked where they are packed by gzip, and never more than asked for.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::Problem;

/// What deflate can pack at most: 258 bytes in 2 bits.
const DEFLATE: u64 = 1032;

/// A file that is read once from its start.
pub(crate) struct Source {
    reader: Box<dyn Read>,
    /// Bytes of the file, and whether they are packed.
    length: u64,
    packed: bool,
    position: u64,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut magic = [0; 2];
        let packed = file.read(&mut magic)? == 2 && magic == [0x1f, 0x8b];
        file.rewind()?;
        let file = BufReader::with_capacity(1 << 16, file);
        let reader: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        Ok(Self { reader, length, packed, position: 0 })
    }

    /// Refuses what the file is too short for, from here on; of a packed file what no packing can hold.
    pub(crate) fn expect(&self, part: &'static str, bytes: u64) -> Result<(), Problem> {
        let holds = if self.packed { self.length.saturating_mul(DEFLATE) } else { self.length };
        let actual = holds.saturating_sub(self.position);
        if bytes > actual { Err(Problem::Ended { part, expected: bytes, actual }) } else { Ok(()) }
    }

    /// Fills `bytes`, or makes an error of the number of bytes that there are.
    pub(crate) fn fill(&mut self, bytes: &mut [u8], short: impl FnOnce(u64) -> Problem) -> Result<(), Problem> {
        let mut done = 0;
        while done < bytes.len() {
            match self.reader.read(&mut bytes[done..]) {
                Ok(0) => return Err(short(done as u64)),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.packed && error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(short(done as u64));
                }
                Err(error) if self.packed => return Err(Problem::Damaged(format!("gzip: {error}"))),
                Err(error) => return Err(error.into()),
            }
        }
        self.position += done as u64;
        Ok(())
    }

    /// Passes over so many bytes.
    pub(crate) fn skip(&mut self, bytes: u64) -> Result<(), Problem> {
        let mut buffer = [0; 1 << 12];
        let mut left = bytes;
        while left > 0 {
            let piece = &mut buffer[..left.min(1 << 12) as usize];
            let done = bytes - left;
            self.fill(piece, |actual| Problem::Ended {
                part: "what is before the voxels",
                expected: bytes,
                actual: done + actual,
            })?;
            left -= piece.len() as u64;
        }
        Ok(())
    }

    /// The whole rest, if it is at most `max` bytes.
    pub(crate) fn rest(mut self, max: u64) -> Result<Vec<u8>, Problem> {
        let length = self.length - self.position.min(self.length);
        let mut bytes = Vec::new();
        if !self.packed {
            super::within(length, max)?;
            bytes = umedsam::memory::with_room(length as usize)?;
        }
        let packed = self.packed;
        (&mut self.reader).take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| match packed {
            true => Problem::Damaged(format!("gzip: {error}")),
            false => Problem::Io(error),
        })?;
        super::within(bytes.len() as u64, max)?;
        Ok(bytes)
    }
}
