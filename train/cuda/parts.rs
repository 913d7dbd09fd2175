//! Files in parts of a bounded size, which name each other by their digests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use umedsam::files::write_atomically;

/// Most parts of a file.
const MOST: usize = 1000;

/// What the parts make together.
#[derive(Debug, Deserialize, Serialize)]
struct List {
    bytes: usize,
    sha256: String,
    parts: usize,
}

/// Writes `NAME.json`, `NAME.000`, `NAME.001` ... into `folder`, each of `size` bytes at most; their paths, the list first.
pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8], size: usize) -> anyhow::Result<Vec<PathBuf>> {
    ensure!(size > 0 && bytes.len().div_ceil(size) <= MOST, "{} bytes in parts of {size}", bytes.len());
    let list = List { bytes: bytes.len(), sha256: digest(bytes), parts: bytes.len().div_ceil(size) };
    let json = serde_json::to_string(&list)?;
    let parts = bytes.chunks(size).zip(0..).map(|(part, i)| (format!("{name}.{i:03}"), part));
    let mut paths = Vec::new();
    for (file, bytes) in [(format!("{name}.json"), json.as_bytes())].into_iter().chain(parts) {
        let path = folder.join(file);
        write_atomically(&path, |out| out.write_all(bytes)).with_context(|| path.display().to_string())?;
        paths.push(path);
    }
    Ok(paths)
}

/// What was written in parts, which may lie in any of the folders; nothing if there is no list of them.
pub(crate) fn read(folders: &[PathBuf], name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let find = |file: &str| folders.iter().map(|folder| folder.join(file)).find(|path| path.exists());
    let Some(path) = find(&format!("{name}.json")) else { return Ok(None) };
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let list: List = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    ensure!(list.parts <= MOST, "{}: {} parts; at most {MOST} are read", path.display(), list.parts);
    let mut bytes = Vec::new();
    for i in 0..list.parts {
        let file = format!("{name}.{i:03}");
        let Some(path) = find(&file) else { bail!("{file}, of {} parts, is in none of the folders", list.parts) };
        bytes.extend(fs::read(&path).with_context(|| path.display().to_string())?);
        ensure!(bytes.len() <= list.bytes, "{}: more than the {} bytes of all parts", path.display(), list.bytes);
    }
    ensure!(digest(&bytes) == list.sha256, "{}: the parts are not those of one file, or damaged", path.display());
    Ok(Some(bytes))
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_several_folders_are_the_file_or_an_error() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = [one.path().to_path_buf(), two.path().to_path_buf()];
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i % 251) as u8).collect();
        assert!(read(&folders, "state").unwrap().is_none());
        let paths = write(one.path(), "state", &bytes, 300).unwrap();
        assert_eq!(paths.len(), 5);
        fs::rename(&paths[2], two.path().join("state.001")).unwrap();
        assert_eq!(read(&folders, "state").unwrap().unwrap(), bytes);
        fs::write(two.path().join("state.001"), [0; 300]).unwrap();
        assert!(read(&folders, "state").unwrap_err().to_string().contains("damaged"));
        fs::remove_file(two.path().join("state.001")).unwrap();
        assert!(read(&folders, "state").unwrap_err().to_string().contains("state.001"));
    }
}
