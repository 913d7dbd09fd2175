//! Writing files so that nobody ever sees half of one.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::prelude::v1::*;

/// Writes `path` through a temporary file beside it, which is renamed when it is complete and removed on failure.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    let temporary = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let result = (|| {
        let mut file = io::BufWriter::new(fs::File::create(&temporary)?);
        write(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if result.is_err() {
        // The first failure is what matters; there may be nothing to remove.
        let _ = fs::remove_file(&temporary);
    }
    result
}
