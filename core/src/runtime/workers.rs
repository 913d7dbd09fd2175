//! The threads of a session and their scratch memory.

use std::prelude::v1::*;
use std::sync::Arc;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::kernels::{Buffer, Scratch};
use crate::Error;

/// Threads, each with scratch memory, and memory that all share.
#[derive(Debug)]
pub(crate) struct Workers {
    pool: Option<Arc<ThreadPool>>,
    scratch: Vec<Buffer>,
    shared: Buffer,
}

/// The threads, without the memory that they share.
#[derive(Debug)]
pub(crate) struct Team<'a> {
    scratch: &'a mut [Buffer],
}

impl Workers {
    /// One thread is the caller's own; more are a pool.
    pub(crate) fn new(threads: usize) -> Result<Self, Error> {
        let threads = threads.max(1);
        let pool = if threads == 1 {
            None
        } else {
            let name = |i| format!("umedsam-{i}");
            let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build();
            let pool = pool.map_err(|e| Error::Engine { stage: "threads: start".into(), message: e.to_string() })?;
            Some(Arc::new(pool))
        };
        Ok(Self { pool, scratch: vec![Buffer::default(); threads], shared: Buffer::default() })
    }

    /// Makes room: `scratch` values for each thread, `shared` for all.
    pub(crate) fn reserve(&mut self, scratch: usize, shared: usize) {
        self.scratch.iter_mut().for_each(|s| s.reserve(scratch));
        self.shared.reserve(shared);
    }

    /// Fills all of that with NaN.
    pub(super) fn poison(&mut self) {
        self.scratch.iter_mut().for_each(Buffer::poison);
        self.shared.poison();
    }

    /// Runs `work` where [`Team::each`] finds the threads.
    pub(crate) fn enter<R: Send>(&mut self, work: impl FnOnce(&mut Self) -> R + Send) -> R {
        // Entering takes a lock and a message to another thread: once a graph, not once a block.
        match self.pool.clone() {
            None => work(self),
            // The pool stays where it is, so that a panic in `work` does not lose it.
            Some(pool) => pool.install(|| work(self)),
        }
    }

    /// The shared memory, and the threads to fill it.
    pub(super) fn parts(&mut self) -> (Scratch<'_>, Team<'_>) {
        (Scratch::new(&mut self.shared), Team { scratch: &mut self.scratch })
    }

    /// The threads.
    pub(super) fn team(&mut self) -> Team<'_> {
        Team { scratch: &mut self.scratch }
    }
}

impl Team<'_> {
    /// Runs `work` on every thread, each with its own scratch; what there is to do they take from a common queue.
    pub(super) fn each(&mut self, work: impl Fn(Scratch<'_>) + Sync) {
        match &mut *self.scratch {
            [one] => work(Scratch::new(one)),
            all => all.par_iter_mut().for_each(|scratch| work(Scratch::new(scratch))),
        }
    }

    /// Number of threads.
    pub(super) const fn threads(&self) -> usize {
        self.scratch.len()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

    use super::*;

    #[test]
    fn a_panic_in_a_thread_leaves_the_threads() {
        let mut workers = Workers::new(2).unwrap();
        workers.reserve(16, 16);
        let names = |workers: &mut Workers| {
            workers.enter(|workers| {
                let names = std::sync::Mutex::new(Vec::new());
                workers.team().each(|_| names.lock().unwrap().push(std::thread::current().name().map(str::to_owned)));
                names.into_inner().unwrap()
            })
        };
        let provoked = catch_unwind(AssertUnwindSafe(|| workers.enter(|w| w.team().each(|_| panic_any("provoked")))));
        assert!(provoked.is_err());
        let names = names(&mut workers);
        assert_eq!(names.len(), 2);
        // The names of this pool's threads, not those of all programs' common one.
        assert!(names.iter().all(|n| n.as_deref().is_some_and(|n| n.starts_with("umedsam-"))), "{names:?}");
    }
}
