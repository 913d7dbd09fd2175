//! What a result of this program was made by, and the digests of the files that it was made from.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use umedsam::ContentKey;
use umedsam::runtime::Kernels;

use crate::checkpoint::hex;

/// The key of the running program's bytes and of the kernels that [`Kernels::detect`] finds on this CPU, to which inputs
/// and options are added.
///
/// # Errors
/// If the program's file cannot be read.
pub fn program_key() -> io::Result<ContentKey> {
    Ok(ContentKey::new().with("program", sha256(&program()?)?).with("kernels", Kernels::detect().name()))
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
    fn another_program_or_other_kernels_give_another_key() {
        let key = |program: &str, kernels| ContentKey::new().with("program", program).with("kernels", kernels).hex();
        let (here, kernels) = (sha256(&program().unwrap()).unwrap(), Kernels::detect().name());
        assert_eq!(program_key().unwrap().hex(), key(&here, kernels));
        assert_ne!(key(&here, kernels), key(&here, "others"));
        assert_ne!(key(&here, kernels), key("other", kernels));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        assert_eq!(sha256(&path).unwrap(), umedsam::hex_digest(&[7; 100_000]));
        assert!(sha256(&folder.path().join("absent")).is_err());
    }
}
