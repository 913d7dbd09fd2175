//! Where DICOM files are: in folders, or in a ZIP archive.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use umedsam::files::{File, entries, is_dir, is_file};
use zip::ZipArchive;

use crate::read::{Problem, ReadError, Source, within};

/// More files than a study has.
const FILES: usize = 200_000;
/// Folders in folders.
const DEPTH: usize = 16;

/// One file.
#[derive(Clone, Debug)]
pub(super) enum Place {
    File(PathBuf),
    /// An entry of the archive, with its name.
    Entry(usize, String),
}

impl Place {
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            Self::Entry(_, name) => name.clone(),
        }
    }

    /// The path for messages: of an entry the archive's with its name.
    pub(super) fn path(&self, archive: &Path) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Entry(_, name) => archive.join(name),
        }
    }
}

/// Reads files where they are.
pub(super) struct Loader {
    archive: Option<ZipArchive<BufReader<File>>>,
    /// Bytes that one file may unfold to, and those that all may, once.
    max: u64,
}

impl Loader {
    pub(super) const fn files(max: u64) -> Self {
        Self { archive: None, max }
    }

    pub(super) fn archive(path: &Path, max: u64) -> Result<Self, Problem> {
        let damaged = |error: zip::result::ZipError| Problem::Damaged(format!("ZIP: {error}"));
        let archive = ZipArchive::new(BufReader::new(File::open(path)?)).map_err(damaged)?;
        Ok(Self { archive: Some(archive), max })
    }

    pub(super) fn load(&mut self, place: &Place) -> Result<Vec<u8>, Problem> {
        match (place, &mut self.archive) {
            (Place::File(path), _) => Source::open(path)?.rest(self.max),
            (Place::Entry(index, _), Some(archive)) => {
                let damaged = |error: zip::result::ZipError| Problem::Damaged(format!("ZIP: {error}"));
                let entry = archive.by_index(*index).map_err(damaged)?;
                let mut bytes = Vec::new();
                let read = entry.take(self.max.saturating_add(1)).read_to_end(&mut bytes);
                read.map_err(|error| Problem::Damaged(format!("ZIP: {error}")))?;
                within(bytes.len() as u64, self.max)?;
                Ok(bytes)
            }
            (Place::Entry(..), None) => Err(Problem::Damaged("no archive".into())),
        }
    }

    /// The entries of the archive, in its order.
    pub(super) fn entries(&self) -> Result<Vec<Place>, Problem> {
        let Some(archive) = &self.archive else { return Ok(Vec::new()) };
        if archive.len() > FILES {
            return Err(too_many());
        }
        let named = (0..archive.len()).filter_map(|i| Some((i, archive.name_for_index(i)?.ok()?)));
        let files = named.filter(|(_, name)| !name.ends_with('/'));
        Ok(files.map(|(i, name)| Place::Entry(i, name.into_owned())).collect())
    }
}

fn too_many() -> Problem {
    Problem::Unsupported(format!("more than {FILES} files"))
}

/// The files in a folder and those in it, by name. Links to folders are followed, to a depth that ends circles.
pub(super) fn walk(folder: &Path) -> Result<Vec<Place>, ReadError> {
    fn list(folder: &Path, depth: usize, found: &mut Vec<Place>) -> Result<(), ReadError> {
        let io = |error| Problem::Io(error).at(folder);
        // Neither a pipe nor a link to nothing is an image.
        for path in entries(folder).map_err(io)? {
            if is_file(&path) {
                if found.len() >= FILES {
                    return Err(too_many().at(folder));
                }
                found.push(Place::File(path));
            } else if is_dir(&path) && depth < DEPTH {
                list(&path, depth + 1, found)?;
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    list(folder, 0, &mut found)?;
    Ok(found)
}
