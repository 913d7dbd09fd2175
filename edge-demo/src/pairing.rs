//! Which label map belongs to which image or case: by their names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use umedsam::metrics::group;

/// Endings of files whose names mean something without them.
const ENDINGS: [&str; 20] = [
    ".nii.gz",
    ".nii",
    ".seg.nrrd",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".dcm.gz",
    ".dcm",
    ".npz",
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".bmp",
    ".webp",
    ".hdr",
    ".img",
    ".zip",
];
/// What names of label maps have more than those of their images.
const MARKS: [&str; 13] = [
    ".seg",
    ".mask",
    "_seg",
    "-seg",
    "_mask",
    "-mask",
    "_label",
    "-label",
    "_labels",
    "_gt",
    "_segmentation",
    "-segmentation",
    "_ground_truth",
];

/// The name of a file without its ending, or that of a folder.
pub(crate) fn stem(path: &Path) -> String {
    // A folder may be given as `.`, and names of files may have dots in them, such as UIDs.
    let whole = path.canonicalize().ok().filter(|_| path.is_dir());
    let name = whole.as_deref().unwrap_or(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let lower = name.to_ascii_lowercase();
    let ending = ENDINGS.iter().find(|e| lower.ends_with(*e) && !path.is_dir()).map_or(0, |e| e.len());
    name[..name.len() - ending].into()
}

/// The name of a case without what tells its dimensions and modality: of `3DBox_CT_liver-7` it is `liver-7`.
pub(crate) fn bare(stem: &str) -> &str {
    match group(stem) {
        ("other", "-") => stem,
        _ => stem.splitn(3, '_').nth(2).unwrap_or(stem),
    }
}

fn unmarked(stem: &str) -> &str {
    let mark = MARKS.iter().find(|mark| stem.len() > mark.len() && stem.ends_with(**mark));
    mark.map_or(stem, |mark| &stem[..stem.len() - mark.len()])
}

/// The label maps of a folder by their names.
#[derive(Debug)]
pub(crate) struct Maps {
    folder: PathBuf,
    by_stem: BTreeMap<String, Vec<PathBuf>>,
    unused: BTreeSet<PathBuf>,
}

impl Maps {
    pub(crate) fn list(folder: &Path) -> anyhow::Result<Self> {
        let entries =
            fs::read_dir(folder).and_then(|entries| entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>, _>>());
        let mut by_stem: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        let mut unused = BTreeSet::new();
        for path in entries.with_context(|| folder.display().to_string())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            if name.starts_with('.') || !path.is_file() || !ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                continue;
            }
            by_stem.entry(stem(&path)).or_default().push(path.clone());
            unused.insert(path);
        }
        Ok(Self { folder: folder.into(), by_stem, unused })
    }

    /// The label map of an image or case: of its name, or of its name with a mark such as `_seg`.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub(crate) fn of(&mut self, image: &Path) -> anyhow::Result<PathBuf> {
        let found = self.find(image)?;
        found.with_context(|| format!("{}: no label map of this name in {}", image.display(), self.folder.display()))
    }

    /// The same; nothing if there is none.
    ///
    /// # Errors
    /// If there is more than one.
    pub(crate) fn find(&mut self, image: &Path) -> anyhow::Result<Option<PathBuf>> {
        let own = stem(image);
        // nnU-Net numbers the channels of an image.
        let names = [own.as_str(), own.strip_suffix("_0000").unwrap_or(&own), bare(&own), unmarked(&own)];
        let exact = names.iter().find_map(|name| self.by_stem.get(*name)).cloned();
        let found = exact.unwrap_or_else(|| {
            let marked = self.by_stem.iter().filter(|(stem, _)| names.contains(&unmarked(stem)));
            marked.flat_map(|(_, paths)| paths.iter().cloned()).collect()
        });
        match &found[..] {
            [one] => {
                self.unused.remove(one);
                Ok(Some(one.clone()))
            }
            [] => Ok(None),
            [first, second, ..] => {
                bail!("{}: {} and {} have its name", image.display(), first.display(), second.display())
            }
        }
    }

    /// Label maps that belong to nothing that was asked for.
    pub(crate) fn unused(&self) -> impl Iterator<Item = &PathBuf> {
        self.unused.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_belongs_together() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["a.seg.dcm", "b_gt.nii.gz", "c.png", "d.nii", "d_mask.nii", "e.nii", "e.png", ".hidden.nii", "notes.txt"]
        {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let mut maps = Maps::list(folder.path()).unwrap();
        let mut of = |name: &str| maps.of(Path::new(name)).map(|path| path.file_name().unwrap().to_owned());
        for (image, map) in [
            ("a.nii.gz", "a.seg.dcm"),
            ("3DBox_CT_a.npz", "a.seg.dcm"),
            ("in/b_0000.nii.gz", "b_gt.nii.gz"),
            ("c.jpeg", "c.png"),
            ("d.nii", "d.nii"),
        ] {
            assert_eq!(of(image).unwrap(), map);
        }
        assert!(of("x.png").unwrap_err().to_string().contains("no label map of this name"));
        assert!(of("e.nii").unwrap_err().to_string().contains("have its name"));
        let unused: Vec<_> = maps.unused().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(unused, ["d_mask.nii", "e.nii", "e.png"]);
        assert_eq!(bare("3DBox_MR_x_y"), "x_y");
        assert_eq!(bare("x_y"), "x_y");
    }
}
