//! What all requests share.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use futures_core::Stream;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use umedsam::{CacheOptions, EmbeddingCache, Model, Session, SessionOptions, errln, memory};

use umedsam_demo::shown::{Choice, Recent, describe_model};

use super::ServeArguments;
use super::held::{RECENT, Shared, no_room, room};
use super::image::Image;
use super::limits::{Budget, Limits, Room, STALL};
use super::nninteractive::{First, Leases};
use super::pool::{Full, Kind, Pool};
use super::refusal::Refusal;
use super::sessions::Sessions;
use crate::samples::SAMPLES;

/// Files that are read at the same time: each takes a multiple of its size.
const READERS: usize = 2;

/// Embeddings that all sessions share, in bytes.
const CACHE: usize = 512 << 20;

/// The state of the server.
pub(super) struct App {
    pub(super) limits: Limits,
    pub(super) shared: Shared,
    pub(super) pool: Pool,
    pub(super) sessions: Sessions,
    pub(super) leases: Leases,
    pub(super) first: First,
    /// A description of the model.
    pub(super) model: serde_json::Value,
    /// Files of the command line, by their place in it. Clients name no others.
    offered: Vec<PathBuf>,
    readers: Semaphore,
    folder: Mutex<Option<TempDir>>,
}

impl App {
    pub(super) fn new(arguments: &ServeArguments) -> anyhow::Result<Self> {
        for path in &arguments.files {
            std::fs::metadata(path).with_context(|| path.display().to_string())?;
        }
        let model = match &arguments.model.model {
            Some(path) => Model::load(path)?,
            None => Model::bundled()?,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // One more than there are cores: masks while a box is dragged are quick, and share them.
        let workers = arguments.workers.map_or(cores.clamp(1, 4) + 1, usize::from);
        let threads = arguments.model.threads.map_or((cores / (workers - 1)).max(1), usize::from);
        let mut options = SessionOptions::new().with_threads(threads);
        options.precision = arguments.model.precision;
        let cache = EmbeddingCache::new(&CacheOptions::new().with_memory_bytes(CACHE))?;
        let limits =
            Limits { sessions: usize::from(arguments.sessions), ..Limits::within(u64::from(arguments.memory) << 20) };
        let described = describe_model(&model);
        let pool = Pool::new(&Arc::new(model), &options, &cache, workers, limits.queue)?;
        Ok(Self {
            first: First::default(),
            shared: Shared { budget: Budget::new(limits.memory), recent: Arc::new(Recent::new(RECENT)) },
            pool,
            sessions: Sessions::new(limits.sessions, limits.idle),
            leases: Leases::new(limits.sessions, Duration::from_secs(u64::from(arguments.idle))),
            model: described,
            offered: arguments.files.clone(),
            readers: Semaphore::new(READERS),
            // Only this user can read it.
            folder: Mutex::new(Some(tempfile::Builder::new().prefix("umedsam-").tempdir()?)),
            limits,
        })
    }

    /// The names of what is offered: the files of the command line, then the samples.
    pub(super) fn offers(&self) -> Vec<String> {
        let name = |path: &PathBuf| {
            let whole = path.canonicalize().ok().filter(|_| path.is_dir());
            whole.as_deref().unwrap_or(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
        };
        self.offered.iter().map(name).chain(SAMPLES.iter().map(|sample| sample.file.to_string())).collect()
    }

    /// Reads what is offered.
    pub(super) fn read_offer(&self, id: usize, choice: &Choice) -> Result<Image, Refusal> {
        let names = self.offers();
        if let (Some(path), Some(name)) = (self.offered.get(id), names.get(id)) {
            return Image::of_file(name, path, choice, &self.shared);
        }
        let sample = id.checked_sub(self.offered.len()).and_then(|i| SAMPLES.get(i));
        let sample = sample.ok_or_else(|| Refusal::missing("this file"))?;
        let image = Image::of_bytes(sample.file, sample.bytes, &self.folder()?, choice, &self.shared)?;
        Ok(image.with_boxes(sample.boxes))
    }

    /// The folder for temporary files.
    pub(super) fn folder(&self) -> Result<PathBuf, Refusal> {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        folder.as_ref().map(|folder| Path::new(folder.path()).into()).ok_or_else(Refusal::failed)
    }

    pub(super) fn remove_folder(&self) {
        let folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = folder.map(TempDir::close) {
            errln!("umedsam: the folder of temporary files was not removed: {error}");
        }
    }

    /// Reads or writes a file on another thread; a few at a time, as each takes much memory.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let Ok(_place) = self.readers.acquire().await else { return Err(Refusal::failed()) };
        self.aside(work).await
    }

    /// Does work that would keep other requests waiting on another thread.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Refusal::failed()))
    }

    /// Runs the network for somebody who waits.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        kind: Kind,
        work: impl FnOnce(&mut Session) -> Result<T, umedsam::Error> + Send + 'static,
    ) -> Result<T, Refusal> {
        let pending = self.pool.submit(kind, |session, _| work(session)).map_err(|Full| full())?;
        match tokio::time::timeout(self.limits.masks, pending).await {
            Ok(Some(result)) => Ok(result?),
            Ok(None) => Err(Refusal::failed()),
            Err(_) => Err(Refusal::busy("not done in time", 5)),
        }
    }

    /// A request's body of at most `max` bytes, and the room that it takes.
    pub(super) async fn body(&self, headers: &HeaderMap, body: Body, max: u64) -> Result<(Vec<u8>, Room), Refusal> {
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let Some(length) = length else {
            return Err(Refusal::new(StatusCode::LENGTH_REQUIRED, "Content-Length is needed"));
        };
        if length > max {
            return Err(Refusal::too_large(format!("a body of {length} bytes; at most {max} are taken")));
        }
        if length > self.shared.budget.left() {
            return Err(no_room());
        }
        let whole = tokio::time::timeout(self.limits.upload, self.receive(body, length as usize));
        whole.await.unwrap_or_else(|_| Err(Refusal::late()))
    }

    /// Takes room as the bytes arrive, so that a client that only announces a large body keeps nobody out.
    async fn receive(&self, body: Body, length: usize) -> Result<(Vec<u8>, Room), Refusal> {
        let mut room = room(&self.shared.budget, 0)?;
        let mut bytes = memory::with_room(length)?;
        let mut parts = body.into_data_stream();
        loop {
            let next = poll_fn(|context| Pin::new(&mut parts).poll_next(context));
            match tokio::time::timeout(STALL, next).await {
                Ok(None) => return Ok((bytes, room)),
                Ok(Some(Ok(part))) if room.grow(part.len() as u64) => bytes.extend_from_slice(&part),
                Ok(Some(Ok(_))) => return Err(no_room()),
                Ok(Some(Err(error))) => return Err(Refusal::bad(format!("the body ended early: {error}"))),
                Err(_) => return Err(Refusal::late()),
            }
        }
    }
}

/// The queue is full.
pub(super) fn full() -> Refusal {
    Refusal::busy("the queue is full", 1)
}

/// A name that nobody can guess: 128 bits.
pub(super) fn secret() -> Result<String, Refusal> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Refusal::failed())?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
