use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use umedsam::MODEL_SIDE;
use umedsam::preprocess::PREPROCESSING_VERSION;

use super::error::{PackError, PackProblem};
use super::labels::{self, Labels};
use super::slice::PackSlice;
use super::{DIGEST, HEADER, Index, Item, MAGIC, VERSION, picture};
use crate::data::case::Slice;

/// Largest file: 256 MiB.
const MAX_BYTES: u64 = 256 << 20;
/// Longest index: 16 MiB.
const MAX_INDEX: usize = 16 << 20;
/// Most slices of a file.
const MAX_SLICES: usize = 1 << 15;
/// Most slices of a volume.
const MAX_DEPTH: usize = 1 << 16;
/// Longest name of a case, in bytes.
const MAX_NAME: usize = 255;

/// A pack in memory, its slices not decoded yet.
#[derive(Debug)]
pub struct Pack {
    path: PathBuf,
    bytes: Vec<u8>,
    min_area: usize,
    items: Vec<(Item, Range<usize>)>,
}

impl Pack {
    /// Reads a file and checks all of it that can be checked without decoding.
    ///
    /// # Errors
    /// [`PackError`] if it cannot be read, is not what was written, or goes beyond a bound.
    pub fn read(path: &Path) -> Result<Self, PackError> {
        let fail = |field: &str, problem| PackError { path: path.into(), field: field.into(), problem };
        let bytes = load(path).map_err(|problem| fail("file", problem))?;
        let index = index(&bytes).map_err(|(field, problem)| fail(field, problem))?;
        let mut start = HEADER + index.1;
        let mut items = Vec::with_capacity(index.0.slices.len());
        for (number, item) in index.0.slices.into_iter().enumerate() {
            let end = end(&item, start, bytes.len() - DIGEST)
                .map_err(|(field, problem)| fail(&format!("{}: {field}", name(number, &item)), problem))?;
            items.push((item, start..end));
            start = end;
        }
        if start != bytes.len() - DIGEST {
            let found = format!("{} bytes", bytes.len());
            return Err(fail("file", PackProblem::value(found, (start + DIGEST).to_string())));
        }
        Ok(Self { path: path.into(), bytes, min_area: index.0.min_area, items })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Labels of more pixels of the network's grid than these can be drawn.
    pub fn min_area(&self) -> usize {
        self.min_area
    }

    /// Number of slices.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Decodes a slice.
    ///
    /// # Errors
    /// [`PackError`] if its picture or its labels are damaged or of another size than the index says.
    ///
    /// # Panics
    /// If there are not so many slices.
    pub fn slice(&self, number: usize) -> Result<PackSlice, PackError> {
        let (item, range) = &self.items[number];
        let fail = |field: &str| {
            let field = format!("{}: {field}", name(number, item));
            move |problem| PackError { path: self.path.clone(), field, problem }
        };
        let (jxl, deflated) = self.bytes[range.clone()].split_at(item.picture);
        let picture = picture::decode(jxl, item).map_err(fail("picture"))?;
        let Labels { map, usable, beside, extents } =
            labels::decode(deflated, item, self.min_area).map_err(fail("labels"))?;
        let slice = Arc::new(Slice { picture, labels: map });
        Ok(PackSlice { case: item.case.clone(), z: item.z, usable, beside, extents, slice })
    }
}

fn name(number: usize, item: &Item) -> String {
    // A name from a damaged file may be of any length.
    let case: String = item.case.chars().take(MAX_NAME).collect();
    format!("slice {number} ({case:?}, z {})", item.z)
}

fn load(path: &Path) -> Result<Vec<u8>, PackProblem> {
    let length = fs::metadata(path)?.len();
    if length > MAX_BYTES {
        return Err(PackProblem::value(format!("{length} bytes"), format!("at most {MAX_BYTES}")));
    }
    if length < (HEADER + DIGEST) as u64 {
        return Err(PackProblem::value(format!("{length} bytes"), format!("at least {}", HEADER + DIGEST)));
    }
    Ok(fs::read(path)?)
}

/// What is wrong, and where.
type Fault = (&'static str, PackProblem);

/// The index and its length in bytes.
fn index(bytes: &[u8]) -> Result<(Index, usize), Fault> {
    let (content, digest) = bytes.split_at(bytes.len() - DIGEST);
    if content[..8] != MAGIC[..] {
        return Err(("magic", PackProblem::value(format!("{:?}", &content[..8]), format!("{MAGIC:?}"))));
    }
    let number = |at: usize| u32::from_le_bytes([content[at], content[at + 1], content[at + 2], content[at + 3]]);
    if number(8) != VERSION {
        return Err(("version", PackProblem::value(number(8), VERSION.to_string())));
    }
    if Sha256::digest(content)[..] != *digest {
        return Err(("file", PackProblem::Digest));
    }
    let (length, most) = (number(12) as usize, MAX_INDEX.min(content.len() - HEADER));
    if length > most {
        return Err(("index", PackProblem::value(format!("{length} bytes"), format!("at most {most}"))));
    }
    let index: Index =
        serde_json::from_slice(&content[HEADER..][..length]).map_err(|e| ("index", PackProblem::Index(e)))?;
    if index.preprocessing != PREPROCESSING_VERSION {
        return Err(("preprocessing", PackProblem::value(index.preprocessing, PREPROCESSING_VERSION.to_string())));
    }
    if index.slices.is_empty() || index.slices.len() > MAX_SLICES {
        return Err(("slices", PackProblem::value(index.slices.len(), format!("1 to {MAX_SLICES}"))));
    }
    Ok((index, length))
}

/// Where the bytes of a slice end that begin at `start`.
fn end(item: &Item, start: usize, most: usize) -> Result<usize, Fault> {
    let whole = |field, found: usize, good: bool, expected: &str| {
        if good { Ok(()) } else { Err((field, PackProblem::value(found, expected))) }
    };
    let Item { ref case, z, width, height, channels, depth, picture, labels } = *item;
    if case.is_empty() || case.len() > MAX_NAME || case.contains(['/', '\\', '\0']) {
        return Err(("case", PackProblem::value("this name", format!("a file name of at most {MAX_NAME} bytes"))));
    }
    whole("z", z, z < MAX_DEPTH, "less than 65536")?;
    whole("width", width, (1..=MODEL_SIDE).contains(&width), "1 to 256")?;
    whole("height", height, (1..=MODEL_SIDE).contains(&height), "1 to 256")?;
    whole("width and height", width.max(height), width.max(height) == MODEL_SIDE, "a longest side of 256")?;
    whole("channels", channels, matches!(channels, 1 | 3), "1 or 3")?;
    whole("depth", depth, matches!(depth, 1 | 2), "1 or 2")?;
    let end = start.checked_add(picture).and_then(|end| end.checked_add(labels)).filter(|&end| end <= most);
    end.ok_or_else(|| {
        let found = format!("{picture} and {labels} bytes");
        ("picture and labels", PackProblem::value(found, format!("at most {} in all", most - start)))
    })
}
