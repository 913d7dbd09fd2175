//! `--cache`: encoded images that are kept.

use std::path::PathBuf;

use clap::Args;
use umedsam::{CacheOptions, EmbeddingCache, Error, Session, errln};

#[derive(Args, Clone, Debug)]
pub(crate) struct CacheArguments {
    /// Folder in which encoded images and slices are kept, 4 MiB each, so that they are not encoded again; made if absent.
    /// Results are the same. What is kept tells of the images: the folder needs the protection that they need.
    #[arg(long = "cache", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Room in that folder, in MiB, 8 or more; what was used least recently is removed.
    #[arg(long = "cache-size", value_name = "MIB", default_value_t = 1024, requires = "folder",
        value_parser = clap::value_parser!(u32).range(8..))]
    room_mib: u32,
}

impl CacheArguments {
    /// The cache, if one is asked for. Nothing is kept in memory: an input is seldom named twice.
    pub(crate) fn open(&self) -> Result<Option<EmbeddingCache>, Error> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let options = CacheOptions::new().with_memory_bytes(0).with_folder(folder, u64::from(self.room_mib) << 20);
        EmbeddingCache::new(&options).map(Some)
    }
}

/// Tells of files of the cache that were of no use.
pub(crate) fn print_notes(session: &Session) {
    for note in session.cache().map(EmbeddingCache::take_notes).unwrap_or_default() {
        errln!("umedsam: cache: {note}");
    }
}
