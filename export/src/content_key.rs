//! One key over everything that a result was made of.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use umedsam::runtime::Kernels;

use crate::checkpoint::hex;

/// A digest of the running program, the kernels that it computes with on this CPU, and all inputs and options that are
/// added. A result that is kept under its key is taken again only by a run that would make the same.
///
/// Every part is named, and its length goes before it, so that no two lists of parts are digested alike.
#[derive(Clone, Debug)]
pub struct ContentKey(Sha256);

impl ContentKey {
    /// The key of this program's bytes and of the kernels that [`Kernels::detect`] finds.
    ///
    /// # Errors
    /// If the program's file cannot be read.
    pub fn of_program() -> io::Result<Self> {
        let empty = Self(Sha256::new());
        Ok(empty.with_file("program", &program()?)?.with("kernels", Kernels::detect().name()))
    }

    /// With an input or an option.
    #[must_use]
    pub fn with(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        for part in [name.as_bytes(), content.as_ref()] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// With the content of a file, whatever its name.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn with_file(self, name: &str, path: &Path) -> io::Result<Self> {
        Ok(self.with(name, sha256(path)?))
    }

    /// The key, 64 digits in hexadecimal.
    pub fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The file of the running program. On Linux it is read as it was started, even if another has taken its place since.
fn program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

/// SHA-256 of a file in hexadecimal, read piece by piece.
pub(crate) fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_counts_with_its_name_and_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let file = |content: &str| {
            let path = folder.path().join("input");
            std::fs::write(&path, content).unwrap();
            path
        };
        let begun = || ContentKey::of_program().unwrap();
        let parts = |parts: &[(&str, &str)]| parts.iter().fold(begun(), |key, (name, part)| key.with(name, part)).hex();
        let keys = [
            begun().hex(),
            parts(&[("a", "bc")]),
            parts(&[("ab", "c")]),
            parts(&[("a", "b"), ("c", "")]),
            parts(&[("c", ""), ("a", "b")]),
            begun().with_file("a", &file("bc")).unwrap().hex(),
            begun().with_file("a", &file("bd")).unwrap().hex(),
            // Another program, or other kernels.
            ContentKey(Sha256::new()).hex(),
            ContentKey(Sha256::new())
                .with_file("program", &program().unwrap())
                .unwrap()
                .with("kernels", "others")
                .hex(),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(key.len() == 64 && !keys[..i].contains(key), "{i}: {key}");
        }
        assert_eq!(parts(&[("a", "bc")]), keys[1]);
        assert!(begun().with_file("a", &folder.path().join("absent")).is_err());
    }
}
