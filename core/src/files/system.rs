//! The system's files.

use std::fs;
pub use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::prelude::v1::*;
use std::sync::atomic::{AtomicU32, Ordering};

/// What names of temporary files begin and end with.
const PREFIX: &str = ".umedsam-";
const ENDING: &str = ".tmp";

/// Bytes of a file.
///
/// # Errors
/// The system's.
pub fn length(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

/// Whether a file has this path.
pub fn is_file(path: &Path) -> bool {
    path.is_file()
}

/// Whether a folder has this path.
pub fn is_dir(path: &Path) -> bool {
    path.is_dir()
}

/// Whether both paths lead to the same file or folder.
pub fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Refuses to write in the place of something that is read.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if one of `inputs` is the file `path`.
pub fn check_output(path: &Path, inputs: &[&Path]) -> io::Result<()> {
    if inputs.iter().any(|input| same(path, input)) {
        let message = format!("{}: an input, which the result would replace", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

/// Whether there is something that is neither a file nor a folder: a device, a pipe.
fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// The files and folders in a folder, by name.
///
/// # Errors
/// The system's.
pub fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    found.sort();
    Ok(found)
}

/// Replaces the file `path` by the temporary file that `write` is given to fill.
///
/// The temporary file is in the same folder. It is synced to the disk and renamed when `write` is done, and removed
/// when anything fails; `path` then stays as it was.
///
/// # Errors
/// Those of `write`, and the system's; [`io::ErrorKind::InvalidInput`] if there is a device or a pipe.
pub fn replace<E: From<io::Error>>(path: &Path, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why).into());
    if path.file_name().is_none() {
        return refuse("not a file name");
    } else if is_special(path) {
        return refuse("neither a file nor a place for one");
    }
    let temporary = reserve(path)?;
    let result = write(&temporary).and_then(|()| {
        File::options().write(true).open(&temporary)?.sync_all()?;
        Ok(fs::rename(&temporary, path)?)
    });
    if result.is_err() {
        // The first failure is what matters; there may be nothing to remove.
        let _ = fs::remove_file(&temporary);
    } else {
        sync_folder(path);
    }
    result
}

/// As [`replace`], with a buffered writer. A device or a pipe, such as `/dev/stdout`, is written as it is.
///
/// # Errors
/// Those of `write`, and the system's.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let fill = |file: io::Result<File>| {
        let mut file = io::BufWriter::new(file?);
        write(&mut file)?;
        file.flush()
    };
    if is_special(path) {
        return fill(File::options().write(true).open(path));
    }
    replace(path, |temporary| fill(File::create(temporary)))
}

/// Whether a file is a temporary one by its name: of a program that is writing, or that was killed while it was.
#[cfg(feature = "runtime")]
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(ENDING)
}

/// Makes an empty file beside `path`, of a name that no other thread or process has.
fn reserve(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Short, whatever the length of the file's own name.
        let temporary = path.with_file_name(format!("{PREFIX}{}-{number}{ENDING}", std::process::id()));
        match File::create_new(&temporary) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(|_| temporary),
        }
    }
}

/// Makes a rename last, where the system can.
fn sync_folder(path: &Path) {
    if cfg!(unix) {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Some file systems refuse it, and some folders may be written but not read. The file is in its place all the same.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "syncs a folder, which Miri cannot")]
    fn a_file_is_whole_or_as_it_was() {
        let folder = std::env::temp_dir().join(format!("umedsam-files-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("n".repeat(255));
        write_atomically(&path, |file| file.write_all(b"first")).unwrap();
        let failed = write_atomically(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no more");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        // Threads that write the same file take turns, whoever comes last.
        std::thread::scope(|scope| {
            for i in 0..8u8 {
                let path = &path;
                scope.spawn(move || write_atomically(path, |file| file.write_all(&[i; 10_000])).unwrap());
            }
        });
        let last = fs::read(&path).unwrap();
        assert!(last.len() == 10_000 && last.iter().all(|b| *b == last[0]));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(write_atomically(Path::new("/"), |_| Ok(())).is_err());
        let null = Path::new("/dev/null");
        if cfg!(unix) {
            write_atomically(null, |file| file.write_all(b"nothing")).unwrap();
            assert!(is_special(null), "replaced by a file");
            assert!(replace(null, |_| Ok::<_, io::Error>(())).is_err());
        }
        assert!(
            check_output(&path, &[&folder.join("..").join(folder.file_name().unwrap()).join("n".repeat(255))]).is_err()
        );
        check_output(&folder.join("new"), &[&path]).unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
