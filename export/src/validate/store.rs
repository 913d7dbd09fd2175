//! Records that outlive a run.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use umedsam::files::write_atomically;
use umedsam::{Arithmetic, Model, hex_digest};

use super::{CaseRecord, ValidateError};

/// A folder with a file a case.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    models: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    key: String,
    record: CaseRecord,
}

impl Store {
    /// Makes the folder. Records of other models, arithmetics or threads don't count, nor those of another build of this
    /// program, whose kernels may round otherwise.
    pub(super) fn new(
        folder: &Path,
        models: [&Model; 2],
        arithmetics: [Arithmetic; 2],
        threads: usize,
    ) -> Result<Self, ValidateError> {
        fs::create_dir_all(folder).map_err(|source| ValidateError::Io { path: folder.into(), source })?;
        let graphs = models.map(|m| format!("{}{}", m.manifest().encoder_sha256, m.manifest().decoder_sha256));
        let models = format!("{} {graphs:?} {arithmetics:?} {threads}", env!("CARGO_PKG_VERSION"));
        Ok(Self { folder: folder.into(), models })
    }

    fn file(&self, case: &Path) -> PathBuf {
        self.folder.join(format!("{}.json", case.file_name().unwrap_or_default().to_string_lossy()))
    }

    fn key(&self, case: &Path) -> Result<String, ValidateError> {
        let bytes = fs::read(case).map_err(|source| ValidateError::Io { path: case.into(), source })?;
        Ok(hex_digest(format!("{} {}", self.models, hex_digest(&bytes)).as_bytes()))
    }

    /// The record of a case; nothing if there is none, or one of something else.
    pub(super) fn find(&self, case: &Path) -> Result<Option<CaseRecord>, ValidateError> {
        let Ok(text) = fs::read(self.file(case)) else { return Ok(None) };
        let Ok(kept) = serde_json::from_slice::<Kept>(&text) else { return Ok(None) };
        Ok((kept.key == self.key(case)?).then_some(kept.record))
    }

    /// Keeps the record of a case.
    pub(super) fn keep(&self, case: &Path, record: &CaseRecord) -> Result<(), ValidateError> {
        let kept = Kept { key: self.key(case)?, record: record.clone() };
        let path = self.file(case);
        let io = |source| ValidateError::Io { path: path.clone(), source };
        let json = serde_json::to_vec(&kept).map_err(|e| io(e.into()))?;
        write_atomically(&path, |file| file.write_all(&json)).map_err(io)
    }
}
