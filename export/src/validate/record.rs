//! What was found in one case, and the folder in which it is kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use umedsam::ContentKey;
use umedsam::files::write_atomically;
use umedsam::npz::{Limits, read_segs, write_segs};

use super::ValidateError;

/// Bytes of the largest record that is read: one of 65535 objects stays below.
const MAX_BYTES: u64 = 32 << 20;

/// What was found in one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The [`ContentKey`] of what the record depends on: the program and its kernels, both models' graphs and how they are
    /// computed, the case.
    pub key: String,
    /// The case's file name.
    pub case: String,
    /// (H,W) or (D,H,W).
    pub shape: Vec<usize>,
    /// Why the model could not segment the case; there are no objects and no time then.
    pub failure: Option<String>,
    /// The labels of the truth, from 1 to the largest.
    pub objects: Vec<Object>,
    /// How long it took.
    pub time: Option<CaseTime>,
}

/// One object of a case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// Its value in the label map.
    pub label: u16,
    /// Scores of the reference's mask.
    pub reference: Scores,
    /// Scores of the model's mask.
    pub model: Scores,
    /// DSC of the two masks, 0 to 1; nothing where both are empty.
    pub agreement: Option<f64>,
}

/// Scores against the truth, 0 to 1; nothing where mask and truth are empty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Dice similarity coefficient.
    pub dsc: Option<f64>,
    /// NSD of the true boundary, 2 px or 2 mm.
    pub nsd: Option<f64>,
    /// The network's own estimate of the IoU; in a volume the mean over the object's slices.
    pub predicted_iou: Option<f64>,
}

/// How long a case took both models, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseTime {
    /// Whether the reference was run before the model; it changes from case to case.
    pub reference_first: bool,
    /// The reference's time.
    pub reference: Spent,
    /// The model's time.
    pub model: Spent,
}

/// Time of one model in one case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// Images or slices encoded.
    pub encodes: usize,
    /// Milliseconds in the encoder, all images together.
    pub encode_ms: f64,
    /// Milliseconds from the pixels to the labels.
    pub total_ms: f64,
}

impl Object {
    /// What the DSC changes from reference to model, -1 to 1.
    pub fn change(&self) -> Option<f64> {
        Some(self.model.dsc? - self.reference.dsc?)
    }
}

/// The two label maps of a case, label `i` of the `i`-th box.
pub(super) struct Masks {
    pub(super) reference: Vec<u16>,
    pub(super) model: Vec<u16>,
}

/// The folder of records: for each case a record `KEY.json` and, beside it, both label maps.
pub(super) struct Work<'a> {
    folder: &'a Path,
}

impl<'a> Work<'a> {
    pub(super) fn new(folder: &'a Path) -> Result<Self, ValidateError> {
        fs::create_dir_all(folder).map_err(|source| ValidateError::File { path: folder.into(), source })?;
        Ok(Self { folder })
    }

    /// The record of this key, if a whole one is there.
    pub(super) fn find(&self, key: &str) -> Option<Record> {
        let path = self.path(key, "json");
        if fs::metadata(&path).ok()?.len() > MAX_BYTES {
            return None;
        }
        let record: Record = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let whole = record.failure.is_some() || ["reference", "model"].iter().all(|who| self.segs(key, who).is_file());
        (record.key == key && whole).then_some(record)
    }

    /// Keeps a record; the masks first, so that a record is never without them.
    pub(super) fn keep(&self, record: &Record, masks: Option<&Masks>) -> Result<(), ValidateError> {
        if let Some(masks) = masks {
            write_segs(&self.segs(&record.key, "reference"), &masks.reference, &record.shape)?;
            write_segs(&self.segs(&record.key, "model"), &masks.model, &record.shape)?;
        }
        let path = self.path(&record.key, "json");
        let json = serde_json::to_vec(record).map_err(io::Error::other);
        json.and_then(|json| write_atomically(&path, |file| file.write_all(&json)))
            .map_err(|source| ValidateError::File { path, source })
    }

    /// The label maps of a record that [`find`](Self::find) found.
    pub(super) fn masks(&self, key: &str) -> Result<Masks, ValidateError> {
        let read = |who| read_segs(&self.segs(key, who), &Limits::new());
        Ok(Masks { reference: read("reference")?.0, model: read("model")?.0 })
    }

    fn path(&self, key: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{key}.{extension}"))
    }

    fn segs(&self, key: &str, who: &str) -> PathBuf {
        self.path(key, &format!("{who}.npz"))
    }
}

/// The key of a case's record: `run` is what all cases of a run have in common.
pub(super) fn key(run: &ContentKey, name: &str, case_sha256: &str) -> String {
    run.clone().with("case's name", name).with("case", case_sha256).hex()
}
