//! Where results go, and how they are known again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use umedsam::npz;
use umedsam_demo::kind::Kind;
use umedsam_demo::label_file::Format;
use umedsam_demo::{dicom, nifti, nrrd, png_file, polygons, read};

use crate::formats::check_kind;
use crate::pairing::stem;

/// Where the results of one input go.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// The label map in each format that is written.
    pub(crate) labels: Vec<(Format, PathBuf)>,
    pub(crate) overlay: Option<PathBuf>,
    pub(crate) uncertainty: Option<Maps>,
}

/// Where the maps of `--uncertainty` go.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) probabilities: PathBuf,
    pub(crate) entropy: PathBuf,
}

/// What is written of an input beside its label map, and whether other files may be replaced.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) overlay: bool,
    pub(crate) uncertainty: bool,
    pub(crate) force: bool,
    /// The formats of label maps; if empty the input's own.
    pub(crate) formats: &'a [Format],
}

impl Outputs {
    fn new(input: &Path, kind: Kind, folder: &Path, wanted: Wanted<'_>) -> anyhow::Result<Self> {
        let scan = (kind == Kind::Scan).then(|| read::format_of(input).ok()).flatten();
        let dicom = matches!(scan, Some(read::Format::Dicom | read::Format::Zip));
        let own = match kind {
            Kind::Npz => Format::Npz,
            Kind::Picture => Format::Png,
            Kind::Scan if dicom => Format::Seg,
            Kind::Scan if scan == Some(read::Format::Nrrd) => Format::Nrrd,
            Kind::Scan => Format::Nifti,
        };
        let formats = if wanted.formats.is_empty() { &[own] } else { wanted.formats };
        formats.iter().try_for_each(|format| check_kind(*format, input, kind, dicom))?;
        let named = |ending: &str| folder.join(stem(input) + ending);
        let plain = input.extension().is_some_and(|e| e.eq_ignore_ascii_case("nii"));
        let path = |format: &Format| match format {
            Format::Npz if kind == Kind::Npz => folder.join(input.file_name().unwrap_or_default()),
            Format::Nifti if plain => named(".nii"),
            format => named(format.ending()),
        };
        let labels = formats.iter().map(|format| (*format, path(format))).collect();
        let maps = || Maps { probabilities: named(".probability.png"), entropy: named(".entropy.png") };
        let overlay = wanted.overlay.then(|| named(".overlay.png"));
        Ok(Self { labels, overlay, uncertainty: wanted.uncertainty.then(maps) })
    }

    /// All of them.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let labels = self.labels.iter().map(|(_, path)| path);
        let maps = self.uncertainty.iter().flat_map(|maps| [&maps.probabilities, &maps.entropy]);
        labels.chain(&self.overlay).chain(maps)
    }
}

/// Works out the results of all inputs, makes their folder, and refuses what would lose somebody's file: two results
/// of one name, and unless that is wanted, one in the place of an input or of a file that is no earlier result.
pub(crate) fn plan(inputs: &[(PathBuf, Kind)], folder: &Path, wanted: Wanted<'_>) -> anyhow::Result<Vec<Outputs>> {
    let outputs = inputs.iter().map(|(input, kind)| Outputs::new(input, *kind, folder, wanted));
    let outputs: Vec<Outputs> = outputs.collect::<anyhow::Result<_>>()?;
    let read: Vec<PathBuf> = inputs.iter().filter_map(|(input, _)| input.canonicalize().ok()).collect();
    let mut sources: BTreeMap<&Path, &Path> = BTreeMap::new();
    for (outputs, (input, _)) in outputs.iter().zip(inputs) {
        for path in outputs.paths() {
            if let Some(other) = sources.insert(path, input) {
                bail!("{} and {} would write the same result, {}", other.display(), input.display(), path.display());
            }
            let there = path.canonicalize();
            if path.is_dir() {
                bail!("{}: a folder is where the result of {} would be", path.display(), input.display());
            } else if wanted.force {
                continue;
            } else if there.is_ok_and(|path| read.contains(&path)) {
                bail!("{}: an input, which a result would replace; choose another --out, or --force", path.display());
            } else if path.symlink_metadata().is_ok() && !is_result(path) {
                bail!("{}: is there, and is no result of umedsam; --force replaces it", path.display());
            }
        }
    }
    fs::create_dir_all(folder).with_context(|| format!("{}: make folder", folder.display()))?;
    let names = outputs.iter().flat_map(Outputs::paths).filter_map(|path| path.file_name());
    if let Some(longest) = names.max_by_key(|name| name.len()) {
        probe(folder, longest).with_context(|| format!("{}: write", folder.join(longest).display()))?;
    }
    Ok(outputs)
}

/// Refuses tables and pages, each with what one begins with, in the place of a result, of each other, and unless `force` is
/// true, of a file that is none; and where none can be written.
pub(crate) fn check_tables<'a>(
    tables: &[(&'a Path, &str)],
    results: impl Iterator<Item = &'a PathBuf>,
    force: bool,
) -> anyhow::Result<()> {
    let mut taken: BTreeSet<PathBuf> = results.map(|path| place(path)).collect();
    for &(path, begin) in tables {
        let there = path.metadata();
        if there.as_ref().is_ok_and(fs::Metadata::is_dir) {
            bail!("{}: a folder", path.display());
        } else if there.as_ref().is_ok_and(|there| !there.is_file()) {
            // A pipe or a device takes what it is given.
            continue;
        } else if !taken.insert(place(path)) {
            bail!("{}: another result would be there, too", path.display());
        } else if !force && there.is_ok() && !begins(path, begin) {
            bail!("{}: is there, and is no result of umedsam; --force replaces it", path.display());
        }
        probe(folder_of(path), path.file_name().unwrap_or_default())
            .with_context(|| format!("{}: write", path.display()))?;
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Where a file would be, by whatever way it is named.
fn place(path: &Path) -> PathBuf {
    let folder = folder_of(path);
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.into());
    folder.join(path.file_name().unwrap_or_default())
}

/// Whether a file begins so; an empty one may be replaced, too.
fn begins(path: &Path, text: &str) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(text.len() as u64).read_to_end(&mut start));
    read.is_ok() && (start.is_empty() || start == text.as_bytes())
}

/// Finds out whether a file of this name can be written, with room for what a temporary file's name has more.
fn probe(folder: &Path, name: &OsStr) -> io::Result<()> {
    let mut name = name.to_owned();
    name.push(format!(".{:024}.tmp", std::process::id()));
    let path = folder.join(name);
    File::create(&path)?;
    fs::remove_file(path)
}

/// Whether a file was written by this command: by its content, whatever its name.
pub(crate) fn is_result(path: &Path) -> bool {
    let segmentations: [fn(&Path) -> bool; 5] = [
        npz::is_segmentation,
        nifti::is_segmentation,
        dicom::is_segmentation,
        nrrd::is_segmentation,
        polygons::is_segmentation,
    ];
    path.is_file() && (png_file::is_result(path) || segmentations.iter().any(|is| is(path)))
}
