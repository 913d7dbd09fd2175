//! Data sets that are packed: all their slices in memory.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};
use umedsam::PixelBox;
use umedsam::metrics::on_all_cores;

use super::case::Slice;
use super::dataset::{Entry, source};
use super::pack::{Beside, Pack, PackError, PackProblem, PackSlice};
use crate::config::DataConfig;

/// Slices by position of the case, and position in it.
#[derive(Debug)]
pub(super) struct Packed {
    slices: HashMap<(usize, usize), (Arc<Slice>, Vec<Beside>)>,
}

/// The packs of a folder, in order of name, or `path` itself if it is one; none where it cannot be listed.
pub(super) fn packs(path: &Path) -> Vec<PathBuf> {
    let is_pack = |path: &Path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("pack"));
    if path.is_file() {
        return Some(path).filter(|path| is_pack(path)).map(PathBuf::from).into_iter().collect();
    }
    let listed = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut packs: Vec<PathBuf> = listed.filter(|path| is_pack(path)).collect();
    packs.sort();
    packs
}

impl Packed {
    /// Reads and decodes every slice of the packs, on all cores; `progress` is told of each.
    pub(super) fn read(
        paths: &[PathBuf],
        config: &DataConfig,
        progress: impl Fn(usize, usize) + Sync,
    ) -> Result<(Vec<Entry>, Self), PackError> {
        let packs = paths.iter().map(|path| Pack::read(path)).collect::<Result<Vec<Pack>, _>>()?;
        packs.iter().try_for_each(|pack| fits(pack, config))?;
        let total = packs.iter().map(Pack::len).sum();
        let done = AtomicUsize::new(0);
        let numbers = packs.iter().flat_map(|pack| (0..pack.len()).map(move |number| (pack, number)));
        let decoded = on_all_cores(numbers, |(pack, number)| -> Result<(&Pack, PackSlice), PackError> {
            let slice = pack.slice(number);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
            Ok((pack, slice?))
        });
        let mut cases: BTreeMap<String, BTreeMap<usize, (&Pack, PackSlice)>> = BTreeMap::new();
        for slice in decoded {
            let (pack, slice) = slice?;
            let (case, z) = (slice.case.clone(), slice.z);
            let field = format!("{case:?}, z {z}");
            if let Some((other, _)) = cases.entry(case).or_default().insert(z, (pack, slice)) {
                let problem = PackProblem::Twice(other.path().into());
                return Err(PackError { path: pack.path().into(), field, problem });
            }
        }
        let mut slices = HashMap::new();
        let mut entries = Vec::new();
        for (case, parts) in cases {
            let path = paths[0].with_file_name(case);
            let labels = parts.iter().map(|(&z, (_, slice))| (z, slice.usable.clone())).collect();
            let mut content = Sha256::new();
            parts.values().for_each(|(_, part)| part.slice.hash_into(&mut content));
            let content = content.finalize().into();
            let extents = parts.values().flat_map(|(_, part)| part.extents.clone()).collect();
            slices.extend(parts.into_iter().map(|(z, (_, s))| ((entries.len(), z), (s.slice, s.beside))));
            entries.push(Entry { path, slices: labels, extents, content });
        }
        Ok((entries, Self { slices }))
    }

    /// Without the cases of these sources.
    pub(super) fn without(mut self, entries: Vec<Entry>, sources: &[String]) -> (Vec<Entry>, Self) {
        let (mut kept, mut slices) = (Vec::new(), HashMap::new());
        for (index, entry) in entries.into_iter().enumerate() {
            if sources.iter().any(|left_out| source(&entry.name()) == left_out) {
                continue;
            }
            for &(z, _) in &entry.slices {
                slices.extend(self.slices.remove(&(index, z)).map(|slice| ((kept.len(), z), slice)));
            }
            kept.push(entry);
        }
        (kept, Self { slices })
    }

    pub(super) fn slice(&self, entry: usize, z: usize) -> Option<Arc<Slice>> {
        self.slices.get(&(entry, z)).map(|(slice, _)| slice.clone())
    }

    /// The slices beside this one where the label can be drawn, packed or not.
    pub(super) fn neighbours(&self, entry: usize, z: usize, label: u16) -> Vec<usize> {
        let beside = self.slices.get(&(entry, z)).into_iter().flat_map(|(_, beside)| beside);
        beside.filter(|b| b.label == label).map(|b| b.z).collect()
    }

    /// The label's box in slice `z`, which is packed or beside one that is.
    pub(super) fn label_box(&self, entry: usize, z: usize, label: u16) -> Option<PixelBox> {
        if let Some(slice) = self.slice(entry, z) {
            return slice.label_box(label);
        }
        let packed = [z.checked_sub(1), z.checked_add(1)].into_iter().flatten();
        let mut beside = packed.filter_map(|z| self.slices.get(&(entry, z))).flat_map(|(_, beside)| beside);
        beside.find(|b| b.z == z && b.label == label).map(|b| b.bounds)
    }
}

/// Refuses settings that ask for more than a pack has.
fn fits(pack: &Pack, config: &DataConfig) -> Result<(), PackError> {
    let fail = |field: &str, problem| Err(PackError { path: pack.path().into(), field: field.into(), problem });
    if config.zoom > 0.0 {
        return fail("data.zoom", PackProblem::value(config.zoom, "0, as packs hold no closer look at an object,"));
    }
    if config.min_area != pack.min_area() {
        let expected = format!("{}, as when it was packed,", pack.min_area());
        return fail("data.min-area", PackProblem::value(config.min_area, expected));
    }
    Ok(())
}
