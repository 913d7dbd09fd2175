//! The cases of a run: which slices and labels they have, and their images, kept or read again.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use umedsam::PixelBox;
use umedsam::metrics::{group, on_all_cores};
use umedsam::npz::{self, Labelled, Limits, NpzError};
use umedsam::resize::Resizer;

use super::case::{CaseProblem, Picture, Slice, usable_labels};
use super::crop::crop;
use super::modality::Modality;
use super::pack::PackError;
use super::packed::{Packed, packs};
use crate::config::{BadCases, DataConfig};

/// One case.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The file; of a packed case, the one it was packed from, in the folder of the packs.
    pub path: PathBuf,
    /// The slices with usable labels, and these, in order; of a packed case, those that were packed.
    pub slices: Vec<(usize, Vec<u16>)>,
    /// The extents of these labels, in a volume.
    pub extents: BTreeMap<u16, Extent>,
    /// Digest of these slices' pictures and labels on the network's grid.
    pub content: [u8; 32],
}

/// Where a label lies in a volume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    /// The box of all of its slices, in pixels of the network's grid, both ends within.
    pub bounds: PixelBox,
    /// Its first slice.
    pub first: usize,
    /// Its last slice.
    pub last: usize,
}

impl Extent {
    /// With the box of one more slice.
    fn with(self, z: usize, other: PixelBox) -> Self {
        let Self { bounds: b, first, last } = self;
        let (x0, y0) = (b.x0.min(other.x0), b.y0.min(other.y0));
        let (x1, y1) = (b.x1.max(other.x1), b.y1.max(other.y1));
        Self { bounds: PixelBox::new(x0, y0, x1, y1), first: first.min(z), last: last.max(z) }
    }
}

/// The data set that a case comes from: `2DBox_CT_Aorta_10002.npz` is of `Aorta`.
pub fn source(name: &str) -> &str {
    name.split('_').nth(2).unwrap_or_default()
}

impl Entry {
    /// The file's name without its folder.
    pub fn name(&self) -> Cow<'_, str> {
        self.path.file_name().unwrap_or_default().to_string_lossy()
    }

    /// By the file's name.
    pub fn modality(&self) -> Modality {
        Modality::new(group(&self.name()).0)
    }

    /// Modality and dimensions: the row of the tables to which the case belongs.
    pub fn group(&self) -> String {
        let name = self.name();
        let (modality, dimensions) = group(&name);
        format!("{modality} {dimensions}")
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
    /// The folder cannot be listed, or has no NPZ file.
    #[error(transparent)]
    Folder(#[from] NpzError),
    /// No case in the folder can be used.
    #[error("{}: none of its {count} NPZ cases can be used; the first: {first}", path.display())]
    NoCases {
        /// The folder.
        path: PathBuf,
        /// Cases in it.
        count: usize,
        /// What is wrong with the first.
        first: Box<CaseProblem>,
    },
    /// A source that is to be left out has no case.
    #[error("{}: no case of the source '{name}', which data.without leaves out", path.display())]
    NoSource {
        /// The folder.
        path: PathBuf,
        /// The source.
        name: String,
    },
    /// Nothing is left.
    #[error("{}: data.without leaves out all cases", .0.display())]
    NothingLeft(PathBuf),
    /// Packs beside NPZ files.
    #[error("{}: has both packs and NPZ cases; either alone is a data set", .0.display())]
    Mixed(PathBuf),
    /// A pack that cannot be used, or not with these settings.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A case that cannot be used, or no longer.
    #[error("{}: {problem}", path.display())]
    Case {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<CaseProblem>,
    },
}

/// Cases with their labels, and as many of their slices in memory as the bound allows; of packs, all.
#[derive(Debug)]
pub struct Dataset {
    entries: Vec<Entry>,
    skipped: Vec<Skipped>,
    source: Source,
}

/// Where slices come from.
#[derive(Debug)]
enum Source {
    /// NPZ files, unless they are kept.
    Files(Mutex<Kept>),
    Packs(Packed),
}

#[derive(Debug)]
struct Kept {
    slices: HashMap<(usize, usize), Arc<Slice>>,
    bytes_left: usize,
}

impl Dataset {
    /// Reads every case of `folder` once, on all cores: of its NPZ files, or of its packs, which are taken together
    /// and kept whole, whatever [`DataConfig::memory_gib`] says.
    ///
    /// `progress` is told of every case, or every packed slice, from any thread.
    ///
    /// # Errors
    /// [`DatasetError`] if the folder cannot be listed or no case in it can be used. An NPZ case that cannot is among
    /// [`Self::skipped`], or an error by [`DataConfig::bad_cases`]; a pack that cannot is an error.
    pub fn read(
        folder: &Path,
        config: &DataConfig,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<Self, DatasetError> {
        let packs = packs(folder);
        if !packs.is_empty() {
            if folder.is_dir() && npz::cases(folder).is_ok() {
                return Err(DatasetError::Mixed(folder.into()));
            }
            let (entries, packed) = Packed::read(&packs, config, progress)?;
            let names: Vec<_> = entries.iter().map(Entry::name).collect();
            check_sources(folder, &config.without, names.iter().map(AsRef::as_ref))?;
            let (entries, packed) = packed.without(entries, &config.without);
            if entries.is_empty() {
                return Err(DatasetError::NothingLeft(folder.into()));
            }
            return Ok(Self { entries, skipped: Vec::new(), source: Source::Packs(packed) });
        }
        let min_area = config.min_area;
        let memory = (config.memory_gib * f64::from(1 << 30)) as usize;
        let mut files = npz::cases(folder)?;
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let names: Vec<String> = files.iter().map(name).collect();
        check_sources(folder, &config.without, names.iter().map(String::as_str))?;
        files.retain(|path| !config.without.iter().any(|left_out| source(&name(path)) == left_out));
        if files.is_empty() {
            return Err(DatasetError::NothingLeft(folder.into()));
        }
        let kept = Mutex::new(Kept { slices: HashMap::new(), bytes_left: memory });
        let done = AtomicUsize::new(0);
        let read = |(index, path): (usize, &PathBuf)| -> Result<Entry, CaseProblem> {
            let entry = read_case(path, min_area, |z, slice| keep(&kept, (index, z), &slice));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, files.len());
            entry
        };
        let found = on_all_cores(files.iter().enumerate(), read);
        let mut kept = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (mut entries, mut skipped) = (Vec::new(), Vec::new());
        let mut slices = HashMap::new();
        for ((index, path), result) in files.iter().enumerate().zip(found) {
            match result {
                Ok(entry) => {
                    // From the position among the files to that among the entries.
                    for &(z, _) in &entry.slices {
                        slices.extend(kept.slices.remove(&(index, z)).map(|slice| ((entries.len(), z), slice)));
                    }
                    entries.push(entry);
                }
                Err(problem) => skipped.push(Skipped { path: path.clone(), problem }),
            }
        }
        if !skipped.is_empty() && config.bad_cases == BadCases::Fail {
            let Skipped { path, problem } = skipped.swap_remove(0);
            return Err(DatasetError::Case { path, problem: problem.into() });
        }
        if entries.is_empty() {
            let first = skipped.swap_remove(0).problem.into();
            return Err(DatasetError::NoCases { path: folder.into(), count: files.len(), first });
        }
        Ok(Self { entries, skipped, source: Source::Files(Mutex::new(Kept { slices, ..kept })) })
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
    /// [`DatasetError::Case`] if the file can no longer be used, or the slice was not packed.
    pub(super) fn slice(&self, entry: usize, z: usize) -> Result<Arc<Slice>, DatasetError> {
        let kept = match &self.source {
            Source::Files(kept) => kept,
            Source::Packs(packed) => {
                return packed.slice(entry, z).ok_or_else(|| self.not_packed(entry, format!("slice {z}")));
            }
        };
        if let Some(slice) = kept.lock().unwrap_or_else(PoisonError::into_inner).slices.get(&(entry, z)) {
            return Ok(slice.clone());
        }
        let path = &self.entries[entry].path;
        let read = || -> Result<Slice, CaseProblem> {
            let case = Labelled::read(path, &Limits::new())?;
            Ok(Slice::new(&case, z, &mut Resizer::new())?)
        };
        let slice =
            Arc::new(read().map_err(|problem| DatasetError::Case { path: path.clone(), problem: problem.into() })?);
        keep(kept, (entry, z), &slice);
        Ok(slice)
    }

    /// The slices next to slice `z` where the label can be drawn, in order.
    pub(super) fn neighbours(&self, entry: usize, z: usize, label: u16) -> Vec<usize> {
        match &self.source {
            Source::Files(_) => {
                let beside = |other: &&(usize, Vec<u16>)| other.0.abs_diff(z) == 1 && other.1.contains(&label);
                self.entries[entry].slices.iter().filter(beside).map(|(z, _)| *z).collect()
            }
            Source::Packs(packed) => packed.neighbours(entry, z, label),
        }
    }

    /// The label's box in slice `z`, in pixels of the network's grid, both ends within; nothing where it isn't there.
    ///
    /// # Errors
    /// [`DatasetError::Case`] if the file can no longer be used, or neither the slice was packed nor one beside it.
    pub(super) fn label_box(&self, entry: usize, z: usize, label: u16) -> Result<Option<PixelBox>, DatasetError> {
        match &self.source {
            Source::Files(_) => Ok(self.slice(entry, z)?.label_box(label)),
            Source::Packs(packed) => match packed.label_box(entry, z, label) {
                None => Err(self.not_packed(entry, format!("label {label} in slice {z}"))),
                found => Ok(found),
            },
        }
    }

    fn not_packed(&self, entry: usize, what: String) -> DatasetError {
        DatasetError::Case { path: self.entries[entry].path.clone(), problem: CaseProblem::NotPacked(what).into() }
    }

    /// The crop around an object of an image and the object in it, out of the file; see [`crop`].
    ///
    /// # Errors
    /// [`DatasetError::Case`] if the file can no longer be used, or was packed.
    pub(super) fn crop(
        &self,
        entry: usize,
        label: u16,
        component: Option<u64>,
        margin: f64,
        min_area: usize,
    ) -> Result<Option<(Picture, Vec<bool>)>, DatasetError> {
        let Entry { path, slices, .. } = &self.entries[entry];
        if slices.len() > 1 {
            return Ok(None);
        }
        if matches!(self.source, Source::Packs(_)) {
            return Err(self.not_packed(entry, "a closer look at an object".into()));
        }
        let read = || -> Result<_, CaseProblem> {
            let case = Labelled::read(path, &Limits::new())?;
            Ok(crop(&case, label, component, margin, min_area)?)
        };
        read().map_err(|problem| DatasetError::Case { path: path.clone(), problem: problem.into() })
    }

    /// Digest of names, slices, pixels and labels: a run is resumed on the data that it was begun with.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for entry in &self.entries {
            hash.update(entry.name().as_bytes());
            for (z, labels) in &entry.slices {
                hash.update([0]);
                hash.update(z.to_le_bytes());
                labels.iter().for_each(|label| hash.update(label.to_le_bytes()));
            }
            hash.update([1]);
            hash.update(entry.content);
        }
        crate::hex(&hash.finalize())
    }
}

/// Sources that are left out must be there: a name that is none leaves out nothing.
fn check_sources<'n>(
    folder: &Path,
    left_out: &[String],
    names: impl Iterator<Item = &'n str>,
) -> Result<(), DatasetError> {
    let there: BTreeSet<&str> = names.map(source).collect();
    match left_out.iter().find(|name| !there.contains(name.as_str())) {
        Some(name) => Err(DatasetError::NoSource { path: folder.into(), name: name.clone() }),
        None => Ok(()),
    }
}

/// Reads a case; its slices on the network's grid go to `keep`.
fn read_case(path: &Path, min_area: usize, keep: impl Fn(usize, Arc<Slice>)) -> Result<Entry, CaseProblem> {
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
    let mut content = Sha256::new();
    let mut extents = BTreeMap::new();
    for (z, labels) in &slices {
        let slice = Slice::new(&case, *z, &mut resizer)?;
        slice.hash_into(&mut content);
        for &label in labels.iter().filter(|_| case.shape.depth.is_some()) {
            if let Some(bounds) = slice.label_box(label) {
                let own = Extent { bounds, first: *z, last: *z };
                extents.entry(label).and_modify(|extent: &mut Extent| *extent = extent.with(*z, bounds)).or_insert(own);
            }
        }
        keep(*z, Arc::new(slice));
    }
    Ok(Entry { path: path.into(), slices, extents, content: content.finalize().into() })
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
