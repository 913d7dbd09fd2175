//! Embeddings in a folder, each in a file of its own.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::prelude::v1::*;
use std::time::{Duration, SystemTime};

use super::stored::{MAX_FILE_BYTES, Stored};
use crate::Error;
use crate::files::{is_temporary, write_atomically};

const ENDING: &str = ".safetensors";

/// A file that somebody still writes is younger.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A folder that several programs may use at the same time: files appear whole, and one that is missing is made anew.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    max_bytes: u64,
}

impl Folder {
    /// Makes the folder, if there is none.
    pub(super) fn new(path: &Path, max_bytes: u64) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(|source| Error::CacheFolder { path: path.into(), source })?;
        Ok(Self { path: path.into(), max_bytes })
    }

    pub(super) fn file(&self, key: &str) -> PathBuf {
        self.path.join(format!("{key}{ENDING}"))
    }

    /// What is kept under `key`; nothing if there is no file, or what is wrong with the file.
    pub(super) fn read(&self, key: &str, half: bool) -> Result<Option<Stored>, String> {
        let path = self.file(key);
        let found = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(|e| e.to_string())?,
        };
        if !found.is_file() {
            return Err("not a regular file".into());
        }
        if found.len() > MAX_FILE_BYTES {
            return Err(format!("{} bytes; an embedding has at most {MAX_FILE_BYTES}", found.len()));
        }
        let mut bytes = Vec::new();
        let mut file = match File::open(&path) {
            // Another program made room since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|e| e.to_string())?,
        };
        file.by_ref().take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        let stored = Stored::from_file(&bytes, key, half)?;
        // Not in a folder of somebody else's: its files are then removed by the time when they were written.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(stored))
    }

    /// Keeps values under `key`. What is larger than the folder may be is not kept.
    pub(super) fn write(&self, key: &str, stored: &Stored) -> Result<(), String> {
        let bytes = stored.to_file(key)?;
        let Some(rest) = self.max_bytes.checked_sub(bytes.len() as u64) else { return Ok(()) };
        self.shrink_to(rest).map_err(|e| e.to_string())?;
        write_atomically(&self.file(key), |file| file.write_all(&bytes)).map_err(|e| e.to_string())
    }

    /// Removes the embeddings that were used least recently until the others have at most `max_bytes`.
    fn shrink_to(&self, max_bytes: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let (kept, temporary) = (is_key_file(name), is_temporary(name));
            if !kept && !temporary {
                continue;
            }
            // What another program has removed meanwhile is no more to be counted.
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            let used = found.modified()?;
            if kept && found.is_file() {
                files.push((used, found.len(), path));
            } else if temporary && used.elapsed().is_ok_and(|age| age > ABANDONED) {
                remove(&path)?;
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in files {
            if bytes <= max_bytes {
                break;
            }
            remove(&path)?;
            bytes -= size;
        }
        Ok(())
    }
}

/// Whether a file is kept under a key: nothing else in the folder is touched.
fn is_key_file(name: &str) -> bool {
    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    name.strip_suffix(ENDING).is_some_and(|key| key.len() == 64 && key.bytes().all(digit))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::EMBEDDING_BYTES;
    use crate::embedding::EMBEDDING_LEN;

    /// A folder that is removed again.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("umedsam-cache-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> =
                fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn key(n: usize) -> String {
        format!("{n:064x}")
    }

    fn stored(n: usize) -> Stored {
        Stored::F32(Arc::new(vec![n as f32; EMBEDDING_LEN]))
    }

    fn first(folder: &Folder, n: usize) -> Option<f32> {
        folder.read(&key(n), false).unwrap().map(|stored| stored.values()[0])
    }

    #[test]
    fn the_least_recently_used_file_goes_first() {
        let temporary = Temporary::new("bound");
        let old = SystemTime::now() - 2 * ABANDONED;
        for name in ["notes.txt", "0123.safetensors", ".umedsam-1-2.tmp", ".umedsam-1-3.tmp"] {
            fs::write(temporary.0.join(name), "not an embedding").unwrap();
        }
        File::options().write(true).open(temporary.0.join(".umedsam-1-2.tmp")).unwrap().set_modified(old).unwrap();
        let size = stored(0).to_file(&key(0)).unwrap().len() as u64;
        let folder = Folder::new(&temporary.0, 3 * size).unwrap();
        for n in 0..3 {
            folder.write(&key(n), &stored(n)).unwrap();
            let file = File::options().write(true).open(folder.file(&key(n))).unwrap();
            file.set_modified(old + Duration::from_secs(n as u64)).unwrap();
        }
        // Reading makes it the last.
        assert_eq!(first(&folder, 0), Some(0.0));
        folder.write(&key(3), &stored(3)).unwrap();
        assert_eq!([0, 1, 2, 3].map(|n| first(&folder, n)), [Some(0.0), None, Some(2.0), Some(3.0)]);
        // What is not the cache's stays, but for what a program that was killed has left.
        let others: Vec<String> = temporary.names().into_iter().filter(|name| !is_key_file(name)).collect();
        assert_eq!(others, [".umedsam-1-3.tmp", "0123.safetensors", "notes.txt"]);
        Folder::new(&temporary.0, size - 1).unwrap().write(&key(9), &stored(9)).unwrap();
        assert_eq!(temporary.names().iter().filter(|name| is_key_file(name)).count(), 3);
    }

    #[test]
    fn what_is_no_embedding_is_not_read() {
        let temporary = Temporary::new("foreign");
        let folder = Folder::new(&temporary.0, u64::MAX).unwrap();
        fs::create_dir(folder.file(&key(1))).unwrap();
        assert_eq!(folder.read(&key(1), false).unwrap_err(), "not a regular file");
        assert!(folder.write(&key(1), &stored(1)).is_err());
        File::create(folder.file(&key(2))).unwrap().set_len(1 << 40).unwrap();
        assert!(folder.read(&key(2), false).unwrap_err().contains("at most"));
        fs::rename(folder.file(&key(2)), folder.file(&key(3))).unwrap();
        folder.write(&key(2), &stored(2)).unwrap();
        fs::copy(folder.file(&key(2)), folder.file(&key(3))).unwrap();
        assert!(folder.read(&key(3), false).unwrap_err().contains("another image"));
        folder.write(&key(3), &stored(3)).unwrap();
        assert_eq!((first(&folder, 2), first(&folder, 3)), (Some(2.0), Some(3.0)));
        let error = Folder::new(&folder.file(&key(2)), 0).unwrap_err().to_string();
        assert!(error.contains(&key(2)), "{error}");
    }

    /// Each with a [`Folder`] of its own, as programs have.
    #[test]
    fn many_writers_and_readers_get_along() {
        let temporary = Temporary::new("many");
        std::thread::scope(|scope| {
            for t in 0..4 {
                let path = &temporary.0;
                scope.spawn(move || {
                    let folder = Folder::new(path, 3 * EMBEDDING_BYTES as u64).unwrap();
                    for i in 0..12 {
                        let n = (i * 7 + t) % 5;
                        match first(&folder, n) {
                            Some(value) => assert_eq!(value, n as f32),
                            None => folder.write(&key(n), &stored(n)).unwrap(),
                        }
                    }
                });
            }
        });
        assert!(temporary.names().iter().all(|name| is_key_file(name)));
    }
}
