//! The bytes of one frame.

use std::borrow::Cow;
use std::ops::Range;

use super::elements::Pixels;
use super::file::DicomFile;
use super::image::Format;
use crate::read::Problem;

/// The bytes of frame `index`, still compressed if they are. Of single bits the frame's first is at the returned bit.
pub(super) fn frame<'a>(
    bytes: &'a [u8],
    file: &DicomFile,
    format: &Format,
    index: usize,
) -> Result<(Cow<'a, [u8]>, usize), Problem> {
    match &file.pixels {
        None => Err(Problem::Unsupported("no image: it has no pixels".into())),
        Some(Pixels::Native { range, words }) => {
            let (start, mut end, bit) = if format.allocated == 1 {
                let first = index * format.values();
                (first / 8, (first + format.values()).div_ceil(8), first % 8)
            } else {
                (index * format.native_bytes(), (index + 1) * format.native_bytes(), 0)
            };
            // Bytes in words come in pairs, of which a frame may want half.
            end += usize::from(file.big && *words && format.allocated == 8 && end % 2 == 1);
            let pixels = &bytes[range.clone()];
            let short = Problem::Ended { part: "the pixels", expected: end as u64, actual: pixels.len() as u64 };
            Ok((Cow::Borrowed(pixels.get(start..end).ok_or(short)?), bit))
        }
        Some(Pixels::Encapsulated(fragments)) => {
            let parts = parts(bytes, fragments, file.extended.clone(), format.frames, index)?;
            if let [only] = parts {
                return Ok((Cow::Borrowed(&bytes[only.clone()]), 0));
            }
            Ok((Cow::Owned(parts.iter().flat_map(|part| &bytes[part.clone()]).copied().collect()), 0))
        }
    }
}

/// The fragments that make a frame. Without a table of offsets each fragment is one, or each that starts an image.
fn parts<'a>(
    bytes: &[u8],
    fragments: &'a [Range<usize>],
    extended: Option<Range<usize>>,
    frames: usize,
    index: usize,
) -> Result<&'a [Range<usize>], Problem> {
    let (table, fragments) = fragments.split_first().ok_or_else(|| Problem::Damaged("no fragment of pixels".into()))?;
    if frames == 1 {
        return Ok(fragments);
    }
    if fragments.len() == frames {
        return Ok(&fragments[index..=index]);
    }
    let wrong = || Problem::Damaged(format!("{} fragments of pixels for {frames} frames", fragments.len()));
    let basic = bytes[table.clone()].chunks_exact(4).map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    let mut offsets: Vec<u64> = basic.collect();
    if let Some(extended) = extended {
        let wide = bytes[extended].chunks_exact(8).filter_map(|b| b.first_chunk().map(|b| u64::from_le_bytes(*b)));
        offsets = wide.collect();
    }
    let starts: Vec<usize> = if offsets.len() == frames {
        let base = fragments.first().ok_or_else(wrong)?.start as u64;
        let at = |offset: &u64| fragments.iter().position(|f| Some(f.start as u64) == base.checked_add(*offset));
        offsets.iter().map(at).collect::<Option<_>>().ok_or_else(wrong)?
    } else {
        let begins = |f: &Range<usize>| matches!(bytes.get(f.start..f.start + 2), Some([0xff, 0xd8 | 0x4f]));
        fragments.iter().enumerate().filter(|(_, f)| begins(f)).map(|(i, _)| i).collect()
    };
    if starts.len() != frames {
        return Err(wrong());
    }
    let end = starts.get(index + 1).copied().unwrap_or(fragments.len());
    fragments.get(starts[index]..end).filter(|parts| !parts.is_empty()).ok_or_else(wrong)
}
