//! The cases of a run: which slices and labels they have, and their images, kept or read again.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use sha2::{Digest, Sha256};
use umedsam::npz::{Labelled, Limits};
use umedsam::resize::Resizer;

use super::case::{CaseProblem, Slice, usable_labels};
use super::modality::{Group, Modality, modality};
use crate::config::{BadCases, DataConfig};

/// One case.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The file.
    pub path: PathBuf,
    /// By the file's name.
    pub modality: Modality,
    /// A volume, not an image.
    pub volume: bool,
    /// The slices with usable labels, and these, in order.
    pub slices: Vec<(usize, Vec<u16>)>,
}

impl Entry {
    /// The row of the tables to which the case belongs.
    pub fn group(&self) -> Group {
        Group { modality: self.modality.to_string(), dimensions: if self.volume { 3 } else { 2 } }
    }
}

/// A case that was passed over.
#[derive(Debug)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub problem: CaseProblem,
}

/// Why there is nothing to train on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A folder cannot be listed.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's account.
        source: std::io::Error,
    },
    /// No case in the folder, or none that can be used.
    #[error("{}: no usable NPZ case ({skipped} passed over)", path.display())]
    NoCases {
        /// The folder.
        path: PathBuf,
        /// Cases that cannot be used.
        skipped: usize,
    },
    /// A case that cannot be used, or no longer.
    #[error("{}: {problem}", path.display())]
    Case {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: CaseProblem,
    },
}

/// Cases with their labels, and as many of their slices in memory as the bound allows.
#[derive(Debug)]
pub struct Dataset {
    entries: Vec<Entry>,
    skipped: Vec<Skipped>,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    slices: HashMap<(usize, usize), Arc<Slice>>,
    bytes_left: usize,
}

/// The NPZ files of a folder, in order of name; or the one file.
///
/// # Errors
/// [`DatasetError::Folder`] if it cannot be listed, [`DatasetError::NoCases`] if there is none.
pub fn npz_files(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    if folder.is_file() {
        return Ok(vec![folder.into()]);
    }
    let error = |source| DatasetError::Folder { path: folder.into(), source };
    let entries: Vec<PathBuf> =
        fs::read_dir(folder).and_then(|entries| entries.map(|e| Ok(e?.path())).collect()).map_err(error)?;
    let mut files: Vec<PathBuf> =
        entries.into_iter().filter(|p| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"))).collect();
    if files.is_empty() {
        return Err(DatasetError::NoCases { path: folder.into(), skipped: 0 });
    }
    files.sort();
    Ok(files)
}

impl Dataset {
    /// Reads every case of `folder` once, on all cores.
    ///
    /// `progress` is told of every case, from any thread.
    ///
    /// # Errors
    /// [`DatasetError`] if the folder cannot be listed or no case in it can be used. A case that cannot is among
    /// [`Self::skipped`], or an error by [`DataConfig::bad_cases`].
    pub fn read(
        folder: &Path,
        config: &DataConfig,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<Self, DatasetError> {
        let min_area = config.min_area;
        let memory = (config.memory_gib * f64::from(1 << 30)) as usize;
        let files = npz_files(folder)?;
        let kept = Mutex::new(Kept { slices: HashMap::new(), bytes_left: memory });
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let read = |index: usize| -> Result<Entry, CaseProblem> {
            let path: &PathBuf = &files[index];
            let case = Labelled::read(path, &Limits::new())?;
            let mut slices = Vec::new();
            for z in 0..case.depth() {
                let labels = usable_labels(&case, z, min_area)?;
                if !labels.is_empty() {
                    slices.push((z, labels));
                }
            }
            if slices.is_empty() {
                return Err(CaseProblem::Empty { min_area });
            }
            let mut resizer = Resizer::new();
            for &(z, _) in &slices {
                keep(&kept, (index, z), &Arc::new(Slice::new(&case, z, &mut resizer)?));
            }
            Ok(Entry { path: path.clone(), modality: modality(path), volume: case.shape.depth.is_some(), slices })
        };
        let found: Mutex<Vec<(usize, Result<Entry, CaseProblem>)>> = Mutex::default();
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= files.len() {
                            break;
                        }
                        let entry = read(index);
                        found.lock().unwrap_or_else(PoisonError::into_inner).push((index, entry));
                        progress(done.fetch_add(1, Ordering::Relaxed) + 1, files.len());
                    }
                });
            }
        });
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|(index, _)| *index);
        let mut kept = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (mut entries, mut skipped) = (Vec::new(), Vec::new());
        let mut renumbered = HashMap::new();
        for (index, result) in found {
            match result {
                Ok(entry) => {
                    for &(z, _) in &entry.slices {
                        if let Some(slice) = kept.slices.remove(&(index, z)) {
                            renumbered.insert((entries.len(), z), slice);
                        }
                    }
                    entries.push(entry);
                }
                Err(problem) => skipped.push(Skipped { path: files[index].clone(), problem }),
            }
        }
        if config.bad_cases == BadCases::Fail && !skipped.is_empty() {
            let Skipped { path, problem } = skipped.swap_remove(0);
            return Err(DatasetError::Case { path, problem });
        }
        if entries.is_empty() {
            return Err(DatasetError::NoCases { path: folder.into(), skipped: skipped.len() });
        }
        let kept = Mutex::new(Kept { slices: renumbered, bytes_left: kept.bytes_left });
        Ok(Self { entries, skipped, kept })
    }

    /// The usable cases, in order of their names.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The others.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Slice `z` of the case at this position, out of memory or the file.
    ///
    /// # Errors
    /// [`DatasetError::Case`] if the file can no longer be used.
    pub(super) fn slice(&self, entry: usize, z: usize) -> Result<Arc<Slice>, DatasetError> {
        if let Some(slice) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).slices.get(&(entry, z)) {
            return Ok(slice.clone());
        }
        let path = &self.entries[entry].path;
        let read = || -> Result<Slice, CaseProblem> {
            let case = Labelled::read(path, &Limits::new())?;
            Ok(Slice::new(&case, z, &mut Resizer::new())?)
        };
        let slice = Arc::new(read().map_err(|problem| DatasetError::Case { path: path.clone(), problem })?);
        keep(&self.kept, (entry, z), &slice);
        Ok(slice)
    }

    /// Digest of the names, slices and labels: a run is resumed on the data that it was begun with.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for entry in &self.entries {
            hash.update(entry.path.file_name().unwrap_or_default().as_encoded_bytes());
            for (z, labels) in &entry.slices {
                hash.update([0]);
                hash.update(z.to_le_bytes());
                labels.iter().for_each(|label| hash.update(label.to_le_bytes()));
            }
            hash.update([1]);
        }
        crate::hex(&hash.finalize())
    }
}

/// Keeps a slice, if there is room.
fn keep(kept: &Mutex<Kept>, key: (usize, usize), slice: &Arc<Slice>) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(left) = kept.bytes_left.checked_sub(slice.bytes())
        && kept.slices.insert(key, slice.clone()).is_none()
    {
        kept.bytes_left = left;
    }
}
