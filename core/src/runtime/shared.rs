//! What the sessions of a model share: programs with their weights, and threads.

use std::prelude::v1::*;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Result;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::program::Program;
use crate::{Error, Precision};

/// What is there, and may be taken up by another session. It is kept by the sessions alone, and goes with the last of
/// them.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// By graph and precision.
    programs: Known<(&'static str, Precision), Program>,
    /// By their number.
    pools: Known<usize, ThreadPool>,
}

type Known<K, T> = Mutex<Vec<(K, Weak<T>)>>;

impl Shared {
    /// The program of a graph in this precision.
    pub(super) fn program(
        &self,
        graph: &'static str,
        precision: Precision,
        build: impl FnOnce() -> Result<Program>,
    ) -> Result<Arc<Program>> {
        find_or_make(&self.programs, (graph, precision), build)
    }

    /// So many threads, at least one; that is the caller's own.
    ///
    /// # Errors
    /// [`Error::Engine`] if they cannot be started.
    pub(crate) fn pool(&self, threads: usize) -> Result<Option<Arc<ThreadPool>>, Error> {
        if threads <= 1 {
            return Ok(None);
        }
        let start = || {
            let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("umedsam-{i}"));
            #[cfg(all(target_os = "unknown", target_feature = "atomics"))]
            let pool = pool.spawn_handler(super::lent::ask);
            pool.build()
        };
        let pool = find_or_make(&self.pools, threads, start);
        Ok(Some(pool.map_err(|e| Error::Engine { stage: "threads: start".into(), message: e.to_string() })?))
    }
}

/// Who comes while another makes the same waits for it: made twice, it would take twice the memory.
fn find_or_make<K: PartialEq, T, E>(
    known: &Known<K, T>,
    key: K,
    make: impl FnOnce() -> Result<T, E>,
) -> Result<Arc<T>, E> {
    // The list is whole whenever it can panic here.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|(_, item)| item.strong_count() > 0);
    if let Some(item) = known.iter().filter(|(k, _)| *k == key).find_map(|(_, item)| item.upgrade()) {
        return Ok(item);
    }
    let item = Arc::new(make()?);
    known.push((key, Arc::downgrade(&item)));
    Ok(item)
}
