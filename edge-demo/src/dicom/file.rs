//! One DICOM file: its elements, and where its pixels are.

use std::io::Read;
use std::ops::Range;

use flate2::read::DeflateDecoder;

use super::elements::{self, Elements, Encoding, Layout, Pixels};
use crate::read::{Problem, within};

const IMPLICIT: &str = "1.2.840.10008.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const BIG: &str = "1.2.840.10008.1.2.2";
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

/// A file that was looked through.
#[derive(Clone, Debug)]
pub(super) struct DicomFile {
    /// The elements before the pixels.
    pub(super) elements: Elements,
    pub(super) pixels: Option<Pixels>,
    /// Where the Extended Offset Table is.
    pub(super) extended: Option<Range<usize>>,
    /// UID of the transfer syntax.
    pub(super) syntax: String,
    pub(super) big: bool,
    /// Something that was mended.
    pub(super) note: Option<&'static str>,
}

/// Whether a file that begins so is DICOM: by its magic, or by a first element of group 2 or 8 where the preamble is
/// missing.
pub(crate) fn is_dicom(head: &[u8]) -> bool {
    head.get(128..132) == Some(b"DICM") || bare(head).is_some()
}

/// How the first element of a file without a preamble lies.
fn bare(head: &[u8]) -> Option<Encoding> {
    let [a, b, c, d, rest @ ..] = head.first_chunk::<8>()?;
    let (group, element) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
    let explicit = rest[..2].iter().all(u8::is_ascii_uppercase);
    match (group, element) {
        (2 | 8, 0..0x200) if explicit || u32::from_le_bytes(*rest) < 256 => Some(Encoding { explicit, big: false }),
        (0x0200 | 0x0800, _) if u16::from_be_bytes([*c, *d]) < 0x200 && explicit => {
            Some(Encoding { explicit, big: true })
        }
        _ => None,
    }
}

/// A file's bytes with its elements unpacked, and the syntax.
pub(super) struct Unpacked {
    pub(super) bytes: Vec<u8>,
    syntax: String,
    start: usize,
    encoding: Encoding,
    note: Option<&'static str>,
}

impl Unpacked {
    /// Finds the file's syntax, and unpacks deflated elements, to at most `max` bytes.
    pub(super) fn new(bytes: Vec<u8>, max: u64) -> Result<Self, Problem> {
        let preamble = bytes.get(128..132) == Some(b"DICM");
        let mut start = if preamble { 132 } else { 0 };
        let mut syntax = None;
        // The group of file meta information, in explicit VR whatever follows; its own length is not always right.
        while let Some((element, value)) = meta_element(&bytes, start) {
            if element == 0x0010 {
                let text = String::from_utf8_lossy(&bytes[value.clone()]);
                syntax = Some(text.trim_end_matches(['\0', ' ']).trim().to_string());
            }
            start = value.end;
        }
        let mut note = None;
        let (syntax, encoding) = match syntax {
            Some(syntax) => {
                let encoding = Encoding { explicit: syntax != IMPLICIT, big: syntax == BIG };
                (syntax, encoding)
            }
            None => {
                note = Some("no transfer syntax in the file; it was recognised from the first element");
                let head = &bytes[start..];
                let encoding = bare(head).ok_or_else(|| Problem::Kind("no DICOM file".into()))?;
                let syntax = match encoding {
                    Encoding { big: true, .. } => BIG,
                    Encoding { explicit: true, .. } => EXPLICIT,
                    _ => IMPLICIT,
                };
                (syntax.to_string(), encoding)
            }
        };
        if syntax == DEFLATED {
            let mut unpacked = bytes[..start].to_vec();
            let mut decoder = DeflateDecoder::new(&bytes[start..]).take(max.saturating_add(1));
            let read = decoder.read_to_end(&mut unpacked);
            within((unpacked.len() - start) as u64, max)?;
            read.map_err(|error| Problem::Damaged(format!("deflated elements: {error}")))?;
            return Ok(Self { bytes: unpacked, syntax, start, encoding, note });
        }
        Ok(Self { bytes, syntax, start, encoding, note })
    }

    /// Reads the elements.
    pub(super) fn elements(&self) -> Result<DicomFile, Problem> {
        let (mut encoding, mut note) = (self.encoding, self.note);
        // Files that say they are explicit and are not, or the other way, are not rare.
        if let Some(first) = bare(&self.bytes[self.start..]).filter(|e| e.explicit != encoding.explicit && !e.big) {
            encoding = first;
            note = Some("the file's elements are not in the transfer syntax that it names");
        }
        let Layout { elements, pixels, extended } = elements::read(&self.bytes, self.start, encoding)?;
        Ok(DicomFile { elements, pixels, extended, syntax: self.syntax.clone(), big: encoding.big, note })
    }
}

/// The element of group 2 at `start`, and where its value is.
pub(super) fn meta_element(bytes: &[u8], start: usize) -> Option<(u16, Range<usize>)> {
    let head = bytes.get(start..start + 8)?;
    if head[..2] != [2, 0] {
        return None;
    }
    let long = matches!(&head[4..6], b"OB" | b"OW" | b"UN" | b"UT" | b"SQ");
    let (at, length) = if long {
        (start + 12, u32::from_le_bytes(*bytes.get(start + 8..start + 12)?.first_chunk()?) as usize)
    } else {
        (start + 8, usize::from(u16::from_le_bytes([head[6], head[7]])))
    };
    bytes.get(at..at.checked_add(length)?)?;
    Some((u16::from_le_bytes([head[2], head[3]]), at..at + length))
}
