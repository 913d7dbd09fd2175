//! Files in memory, by their paths.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::prelude::v1::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An open file. It stays as it was when it was opened.
#[derive(Debug)]
pub struct File(Cursor<Bytes>);

#[derive(Debug)]
struct Bytes(Arc<Vec<u8>>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

type Files = BTreeMap<PathBuf, Arc<Vec<u8>>>;

static FILES: Mutex<Files> = Mutex::new(BTreeMap::new());

fn files() -> MutexGuard<'static, Files> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts a file into memory, in the place of what has its path.
pub fn put(path: &Path, bytes: Vec<u8>) {
    files().insert(path.into(), Arc::new(bytes));
}

/// Takes a file out of memory; nothing if there is none.
pub fn take(path: &Path) -> Option<Vec<u8>> {
    files().remove(path).map(|bytes| Arc::try_unwrap(bytes).unwrap_or_else(|shared| shared.to_vec()))
}

impl File {
    /// Opens a file to read it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        let bytes = files().get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self(Cursor::new(Bytes(bytes))))
    }
}

impl Read for File {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read(to)
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// Bytes of a file.
///
/// # Errors
/// None.
pub fn length(file: &File) -> io::Result<u64> {
    Ok(file.0.get_ref().as_ref().len() as u64)
}

/// Whether a file has this path.
pub fn is_file(path: &Path) -> bool {
    files().contains_key(path)
}

/// Whether this is a folder: there is a file in it.
pub fn is_dir(path: &Path) -> bool {
    files().keys().any(|file| file != path && file.starts_with(path))
}

/// The files and folders in a folder, by name.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if there is no such folder.
pub fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let files = files();
    let inside = files.keys().filter_map(|file| file.strip_prefix(folder).ok()?.components().next());
    let mut found: Vec<PathBuf> = inside.map(|name| folder.join(name)).collect();
    found.dedup();
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}

/// Puts what `write` writes into memory when it is done.
///
/// # Errors
/// Those of `write`.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut bytes = Vec::new();
    write(&mut bytes)?;
    put(path, bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_folders() {
        let at = |path: &str| Path::new("memory").join(path);
        put(&at("a/1"), vec![1, 2, 3]);
        put(&at("a/b/2"), vec![4]);
        put(&at("a1"), vec![5]);
        assert_eq!(entries(&at("")).unwrap(), [at("a"), at("a1")]);
        assert_eq!(entries(&at("a")).unwrap(), [at("a/1"), at("a/b")]);
        assert!(is_dir(&at("a")) && !is_file(&at("a")) && is_file(&at("a1")) && !is_dir(&at("a1")));
        let mut file = File::open(&at("a/1")).unwrap();
        // An open file does not change.
        write_atomically(&at("a/1"), |to| to.write_all(&[9])).unwrap();
        assert!(write_atomically(&at("a1"), |to| to.write_all(&[0]).and(Err(io::Error::other("no more")))).is_err());
        file.seek(SeekFrom::Start(1)).unwrap();
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).unwrap();
        assert_eq!((rest, length(&file).unwrap()), (vec![2, 3], 3));
        assert_eq!((take(&at("a/1")), take(&at("a1"))), (Some(vec![9]), Some(vec![5])));
        assert!(take(&at("a/1")).is_none() && take(&at("a/b/2")).is_some());
        assert!(File::open(&at("a/1")).is_err() && entries(&at("a")).is_err());
    }
}
