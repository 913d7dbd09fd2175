//! The threads of a session and their scratch memory.

use std::prelude::v1::*;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::kernels::{Buffer, Scratch};
use crate::Error;

/// Threads, each with scratch memory, and memory that all share.
#[derive(Debug)]
pub(crate) struct Workers {
    pool: Option<ThreadPool>,
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
            Some(pool.map_err(|e| Error::Engine { stage: "threads: start".into(), message: e.to_string() })?)
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
        match self.pool.take() {
            None => work(self),
            Some(pool) => {
                let result = pool.install(|| work(self));
                self.pool = Some(pool);
                result
            }
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
