//! Embeddings of images that were encoded before.
//!
//! An [`EmbeddingCache`] has a part in memory and, if a folder is named, a part on disk, each bounded in bytes. What was
//! used least recently goes first. A session that is given one ([`Session::set_cache`]) asks it before it encodes an image
//! or a slice, and puts what it has encoded in.
//!
//! An embedding is kept under a SHA-256 of all that decides its values: the pixels with the image's size and channels, the
//! version of this library and of its preprocessing, the encoder graph, the precision and the kernels that compute it, and
//! the format that it is kept in. Sessions of different models or precisions, on different computers, may therefore share
//! a cache. Masks are equal to the bit with and without one, unless embeddings are kept in f16
//! ([`CacheOptions::half`]). Builds of one version of the library count as the same: who changes how it computes empties
//! the folder.

mod folder;
mod key;
mod recent;
mod session;
mod stored;

use std::fmt;
use std::path::PathBuf;
use std::prelude::v1::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use folder::Folder;
pub(crate) use key::Recipe;
use recent::Recent;
use stored::Stored;

#[cfg(doc)]
use crate::Session;
use crate::{Embedding, Error};

/// Notes that nobody has taken yet are kept up to this number.
const MAX_NOTES: usize = 64;

/// How embeddings are kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CacheOptions {
    /// Memory for values, in bytes: 4 MiB an embedding, or 2 MiB in f16. 0 keeps nothing in memory.
    pub memory_bytes: usize,
    /// Folder for embeddings on disk, made if absent; `None` keeps nothing on disk. Embeddings tell of the images that they
    /// were made of: the folder needs the protection that the images need.
    pub folder: Option<PathBuf>,
    /// Bytes that the folder's embeddings may take.
    pub folder_bytes: u64,
    /// Whether embeddings are kept in f16, half the bytes. All embeddings of the session are rounded then, those that were
    /// not in the cache, too, so that no mask depends on what the cache held.
    ///
    /// Rounding moves the edges of masks: of 1364 objects in 135 images, with the built-in model in int8, 587 masks changed
    /// in some pixel. DSC with the mask in f32 is 0.9993 on average and 0.980 at the least; mean DSC with the truth is
    /// 0.9000 either way, and changes by 0.025 at the most.
    pub half: bool,
}

impl CacheOptions {
    /// 64 MiB of memory, which is 16 embeddings in f32, and no folder.
    pub const fn new() -> Self {
        Self { memory_bytes: 64 << 20, folder: None, folder_bytes: 1 << 30, half: false }
    }

    /// Sets the memory for values, in bytes.
    #[must_use]
    pub fn with_memory_bytes(self, memory_bytes: usize) -> Self {
        Self { memory_bytes, ..self }
    }

    /// Sets the folder, and the bytes that its embeddings may take.
    #[must_use]
    pub fn with_folder(self, folder: impl Into<PathBuf>, bytes: u64) -> Self {
        Self { folder: Some(folder.into()), folder_bytes: bytes, ..self }
    }

    /// Keeps embeddings in f16. Of 1364 objects of 135 labelled images 837 masks are the same to the pixel; their DSC with those of
    /// embeddings in f32 is 0.9994 on average and 0.985 at least, and that with the truth 0.9047 either way.
    #[must_use]
    pub fn with_half(self) -> Self {
        Self { half: true, ..self }
    }
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What a cache has done so far, and what its memory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Embeddings found in memory.
    pub memory_hits: usize,
    /// Embeddings found in the folder.
    pub folder_hits: usize,
    /// Embeddings asked for and not found.
    pub misses: usize,
    /// Embeddings in memory.
    pub entries: usize,
    /// Bytes of their values.
    pub bytes: usize,
}

/// A file of the cache that could not be used or written. It changes no result: the image was encoded instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheNote {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for CacheNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

/// Embeddings that are kept, in memory and on disk ([`cache`](self)). Clones share them, so that many sessions may use one.
#[derive(Clone, Debug)]
pub struct EmbeddingCache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    half: bool,
    folder: Option<Folder>,
    /// Whether the last file could not be written: said once, not for each that follows.
    failing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    memory: Recent<Stored>,
    stats: CacheStats,
    notes: Vec<CacheNote>,
}

impl EmbeddingCache {
    /// A cache, empty but for what its folder holds.
    ///
    /// # Errors
    /// [`Error::CacheFolder`] if the folder cannot be made.
    pub fn new(options: &CacheOptions) -> Result<Self, Error> {
        let folder = options.folder.as_ref().map(|path| Folder::new(path, options.folder_bytes)).transpose()?;
        let (memory, stats) = (Recent::new(options.memory_bytes), CacheStats::default());
        let state = Mutex::new(State { memory, stats, notes: Vec::new() });
        Ok(Self(Arc::new(Shared { half: options.half, folder, failing: AtomicBool::new(false), state })))
    }

    /// What it has done so far, and what its memory holds.
    pub fn stats(&self) -> CacheStats {
        let state = self.state();
        CacheStats { entries: state.memory.len(), bytes: state.memory.bytes(), ..state.stats }
    }

    /// The files that could not be used or written since the last call. A file that is damaged or of another origin is noted
    /// when it is found, and replaced. Of files that cannot be written, on a full disk for example, the first is noted.
    pub fn take_notes(&self) -> Vec<CacheNote> {
        std::mem::take(&mut self.state().notes)
    }

    /// The name of the format that embeddings are kept in.
    fn format(&self) -> &'static str {
        if self.0.half { "f16" } else { "f32" }
    }

    /// The values that are kept under `key`.
    fn find(&self, key: &str) -> Option<Stored> {
        let mut state = self.state();
        if let Some(found) = state.memory.get(key).cloned() {
            state.stats.memory_hits += 1;
            return Some(found);
        }
        // Others need not wait for the disk.
        drop(state);
        let read = self.0.folder.as_ref().map_or(Ok(None), |folder| {
            folder.read(key, self.0.half).map_err(|problem| CacheNote { path: folder.file(key), problem })
        });
        let mut state = self.state();
        let found = read.unwrap_or_else(|note| {
            state.note(note);
            None
        });
        match &found {
            Some(found) => {
                state.stats.folder_hits += 1;
                state.memory.put(key.into(), found.clone(), found.bytes());
            }
            None => state.stats.misses += 1,
        }
        found
    }

    /// Keeps an embedding under `key`, and rounds it to the format that it is kept in. One of NaN or infinity, which is of
    /// no use, is not kept.
    fn keep(&self, key: &str, embedding: &mut Embedding) {
        if !embedding.values().iter().all(|v| v.is_finite()) {
            return;
        }
        let stored = if self.0.half {
            let stored = Stored::halved(embedding.values());
            embedding.replace(stored.values());
            stored
        } else {
            Stored::F32(embedding.shared())
        };
        self.state().memory.put(key.into(), stored.clone(), stored.bytes());
        let Some(folder) = &self.0.folder else { return };
        let written = folder.write(key, &stored);
        let failed_before = self.0.failing.swap(written.is_err(), Ordering::Relaxed);
        if let (Err(problem), false) = (written, failed_before) {
            self.state().note(CacheNote { path: folder.file(key), problem: format!("not written: {problem}") });
        }
    }

    /// A panic elsewhere leaves the state whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, note: CacheNote) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        }
    }
}
