//! A file's bytes in order, unpacked where they are packed by gzip, and never more than asked for.

use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use umedsam::files::{self, File};

use super::{Problem, ReadOptions};
use crate::scan::Applied;

/// What deflate can pack at most: 258 bytes in 2 bits.
const DEFLATE: u64 = 1032;

/// Bytes that may follow the voxels, though no header tells of them.
const BEHIND: u64 = 1 << 20;

/// How a part of a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zlib,
}

fn damaged(error: io::Error) -> Problem {
    Problem::Damaged(format!("what is packed: {error}"))
}

/// A file that is read once from its start.
pub(crate) struct Source {
    reader: Box<dyn Read>,
    /// Bytes of the file from where they are packed, and whether they are.
    length: u64,
    packed: bool,
    position: u64,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let mut file = File::open(path)?;
        let length = files::length(&file)?;
        let mut magic = [0; 2];
        let packed = file.read(&mut magic)? == 2 && magic == [0x1f, 0x8b];
        file.rewind()?;
        let file = BufReader::with_capacity(1 << 16, file);
        let reader: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        Ok(Self { reader, length, packed, position: 0 })
    }

    /// Whether what is read was unpacked.
    pub(crate) fn is_packed(&self) -> bool {
        self.packed
    }

    /// The bytes that the rest unfolds to.
    pub(crate) fn unpacked(self, packing: Packing) -> Self {
        let length = self.length.saturating_sub(self.position);
        let rest = BufReader::with_capacity(1 << 16, self.reader);
        let reader: Box<dyn Read> = match packing {
            Packing::Gzip => Box::new(MultiGzDecoder::new(rest)),
            Packing::Zlib => Box::new(ZlibDecoder::new(rest)),
        };
        Self { reader, length, packed: true, position: 0 }
    }

    /// A line of text without its end, of at most so many bytes; nothing at the end of the file.
    pub(crate) fn line(&mut self, most: usize) -> Result<Option<String>, Problem> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        loop {
            let mut ended = false;
            let filled = self.fill(&mut byte, |_| {
                ended = true;
                Problem::Ended { part: "the header", expected: 1, actual: 0 }
            });
            match filled {
                Err(_) if ended && bytes.is_empty() => return Ok(None),
                Err(_) if ended => break,
                Err(problem) => return Err(problem),
                Ok(()) if byte[0] == b'\n' => break,
                Ok(()) if bytes.len() == most => {
                    return Err(Problem::Damaged(format!("a line of the header has more than {most} bytes")));
                }
                Ok(()) => bytes.push(byte[0]),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        Ok(Some(text.trim_end_matches('\r').into()))
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
                Err(error) if self.packed => return Err(damaged(error)),
                Err(error) => return Err(error.into()),
            }
        }
        self.position += done as u64;
        Ok(())
    }

    /// Reads what is packed to its end, `rest` bytes from here, where its checksum is: what was read before is only then
    /// known to be right. Of more bytes than memory may be taken it is told that they were not looked through.
    pub(crate) fn finish(mut self, rest: u64, options: &ReadOptions) -> Result<Option<Applied>, Problem> {
        if !self.packed {
            return Ok(None);
        } else if rest > options.memory {
            let note = format!("{rest} packed bytes behind the volume were not unpacked, and no checksum was compared");
            return Ok(Some(Applied::Note(note)));
        }
        let most = rest.saturating_add(BEHIND);
        let found = io::copy(&mut (&mut self.reader).take(most.saturating_add(1)), &mut io::sink()).map_err(damaged)?;
        if found > most {
            return Err(Problem::Damaged(format!(
                "what is packed goes on for more than {most} bytes behind the voxels"
            )));
        }
        Ok(None)
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

    /// Passes over all but the last bytes.
    pub(crate) fn skip_to_last(&mut self, bytes: u64) -> Result<(), Problem> {
        if self.packed {
            return Err(Problem::Unsupported("the last bytes of a packed file are not found".into()));
        }
        self.expect("the voxels", bytes)?;
        self.skip(self.length - self.position - bytes)
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
