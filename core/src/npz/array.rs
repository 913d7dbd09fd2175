//! The arrays of an NPZ file, with every size checked before memory is taken for it.

use std::io::{BufReader, Read};
use std::path::Path;
use std::prelude::v1::*;

use zip::ZipArchive;
use zip::result::ZipError;

use super::decode::Npy;
use super::npy::Header;
use super::{Boxes, Limits, NpzError, Problem, boxes};
use crate::files::File;
use crate::intensity::Values;

/// Longest pickle of boxes that is read: 65535 of them, numbers of numpy among them, take less.
const PICKLE: u64 = 32 << 20;

/// An open NPZ file.
pub(super) struct Archive<'a> {
    path: &'a Path,
    zip: ZipArchive<BufReader<File>>,
    limit: u64,
    /// Bytes that the arrays read so far take.
    held: u64,
}

/// The values of an array in C order, and its shape.
#[derive(Debug)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Values,
}

impl<'a> Archive<'a> {
    pub(super) fn open(path: &'a Path, limits: &Limits) -> Result<Self, NpzError> {
        let error = |problem| NpzError { path: path.into(), array: None, problem };
        let file = File::open(path).map_err(|e| error(Problem::Io(e)))?;
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|e| error(Problem::Archive(e.to_string())))?;
        Ok(Self { path, zip, limit: limits.peak_bytes, held: 0 })
    }

    /// Reads an array in its own number type, or nothing if the file has none of this name.
    pub(super) fn read(&mut self, name: &'static str) -> Result<Option<Array>, NpzError> {
        // Other types than bytes are brought to bytes, beside themselves.
        self.decode(
            name,
            |size| size + usize::from(size > 1),
            |npy| {
                let shape = npy.shape().to_vec();
                Ok(Array { values: npy.values()?, shape })
            },
        )
    }

    /// As [`Self::read`], for an array that must be there.
    pub(super) fn require(&mut self, name: &'static str) -> Result<Array, NpzError> {
        self.read(name)?.ok_or_else(|| self.missing(name))
    }

    /// Reads a label map that must be there, (H,W) or (D,H,W), and its shape.
    pub(super) fn labels(&mut self, name: &'static str) -> Result<(Vec<u16>, Vec<usize>), NpzError> {
        let found = self.decode(
            name,
            |_| size_of::<u16>(),
            |npy| {
                let shape = npy.shape().to_vec();
                if !matches!(shape.len(), 2 | 3) {
                    return Err(Problem::Shape { found: shape, expected: "(H,W) or (D,H,W)".into() });
                }
                Ok((npy.labels()?, shape))
            },
        )?;
        found.ok_or_else(|| self.missing(name))
    }

    /// Reads `boxes`, of numbers or of dictionaries, or nothing if the file has none.
    pub(super) fn boxes(&mut self) -> Result<Option<Boxes>, NpzError> {
        const NAME: &str = "boxes";
        let fail = |problem| NpzError { path: self.path.into(), array: Some(NAME), problem };
        match self.read(NAME) {
            Ok(None) => Ok(None),
            Ok(Some(array)) => boxes::rows(&array).map(Some).map_err(fail),
            Err(NpzError { problem: Problem::ObjectArray, .. }) => {
                let mut entry = self.zip.by_name("boxes.npy").map_err(|e| fail(Problem::Archive(e.to_string())))?;
                let mut read = || {
                    let header = Header::read(&mut entry)?;
                    let mut pickle = Vec::new();
                    entry
                        .by_ref()
                        .take(PICKLE.min(self.limit) + 1)
                        .read_to_end(&mut pickle)
                        .map_err(Problem::reading)?;
                    if pickle.len() as u64 > PICKLE.min(self.limit) {
                        let reason = format!("more than {} bytes", PICKLE.min(self.limit));
                        return Err(Problem::Pickle { offset: 0, reason });
                    }
                    boxes::pickled(&pickle, &header.shape)
                };
                read().map(Some).map_err(fail)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens an array, checks that what it `takes` (bytes a value, given the bytes of one in the file) is within the
    /// limit, and reads it.
    fn decode<R>(
        &mut self,
        name: &'static str,
        takes: impl Fn(usize) -> usize,
        read: impl FnOnce(Npy<zip::read::ZipFile<'_, BufReader<File>>>) -> Result<R, Problem>,
    ) -> Result<Option<R>, NpzError> {
        let wrap = |problem| NpzError { path: self.path.into(), array: Some(name), problem };
        let entry = match self.zip.by_name(&format!("{name}.npy")) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(e) => return Err(wrap(Problem::Archive(e.to_string()))),
        };
        let declared = entry.size();
        let npy = Npy::open(entry, declared).map_err(wrap)?;
        let bytes = npy.peak(takes).saturating_add(self.held);
        if bytes > self.limit {
            let shape = npy.shape().to_vec();
            return Err(wrap(Problem::TooLarge { shape, stored: npy.number_type(), bytes, max: self.limit }));
        }
        self.held = bytes;
        read(npy).map(Some).map_err(wrap)
    }

    fn missing(&self, name: &'static str) -> NpzError {
        NpzError { path: self.path.into(), array: Some(name), problem: Problem::Missing }
    }
}
