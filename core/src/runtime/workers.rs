//! The memory that a session's graphs run in, and the threads that work on it.

use std::prelude::v1::*;
use std::sync::Arc;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::kernels::{Buffer, Scratch, poison};

/// What graphs run in, one at a time.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Threads, which others may use at the same time; without them the caller's own works.
    pool: Option<Arc<ThreadPool>>,
    /// The memory of each thread.
    scratch: Vec<Buffer>,
    /// The results of a graph's blocks.
    arena: Buffer,
    /// Number of runs that began.
    runs: u64,
}

impl Workspace {
    pub(crate) fn new(pool: Option<Arc<ThreadPool>>) -> Self {
        let threads = pool.as_ref().map_or(1, |pool| pool.current_num_threads());
        let scratch = (0..threads).map(|_| Buffer::default()).collect();
        Self { pool, scratch, arena: Buffer::default(), runs: 0 }
    }

    /// Bytes of memory for `len` values.
    pub(crate) const fn arena_bytes(len: usize) -> usize {
        Buffer::bytes_of(len)
    }

    /// Bytes of all threads' own memory, `scratch` values for each.
    pub(crate) const fn scratch_bytes(&self, scratch: usize) -> usize {
        self.scratch.len() * Buffer::bytes_of(scratch)
    }

    /// Begins a run that needs `arena` values and `scratch` for each thread. Returns its number.
    pub(super) fn begin(&mut self, arena: usize, scratch: usize) -> u64 {
        self.runs += 1;
        self.arena.reserve(arena);
        self.scratch.iter_mut().for_each(|s| s.reserve(scratch));
        self.runs
    }

    /// Whether the results of this run are still there.
    pub(super) const fn holds(&self, run: u64) -> bool {
        self.runs == run
    }

    /// The results of this run, if they are still there.
    pub(super) fn results(&self, run: u64) -> Option<&[f32]> {
        self.holds(run).then_some(&self.arena)
    }

    /// Runs `work` with the memory, where [`Team::each`] finds the threads.
    pub(super) fn enter<R: Send>(&mut self, work: impl FnOnce(&mut [f32], &mut [Buffer]) -> R + Send) -> R {
        let Self { pool, scratch, arena, .. } = self;
        // Entering takes a lock and a message to another thread: once a graph, not once a block.
        match pool {
            None => work(arena, scratch),
            Some(pool) => pool.install(|| work(arena, scratch)),
        }
    }
}

/// The threads with their scratch memory, and memory that they share.
#[derive(Debug)]
pub(super) struct Workers<'a> {
    scratch: &'a mut [Buffer],
    shared: &'a mut [f32],
}

/// The threads, without the memory that they share.
#[derive(Debug)]
pub(super) struct Team<'a> {
    scratch: &'a mut [Buffer],
}

impl<'a> Workers<'a> {
    pub(super) const fn new(scratch: &'a mut [Buffer], shared: &'a mut [f32]) -> Self {
        Self { scratch, shared }
    }

    /// Fills all memory with NaN.
    pub(super) fn poison(&mut self) {
        self.scratch.iter_mut().for_each(|scratch| poison(scratch));
        poison(self.shared);
    }

    /// The shared memory, and the threads to fill it.
    pub(super) fn parts(&mut self) -> (Scratch<'_>, Team<'_>) {
        (Scratch::new(self.shared), Team { scratch: self.scratch })
    }

    /// The threads.
    pub(super) fn team(&mut self) -> Team<'_> {
        Team { scratch: self.scratch }
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
    use crate::runtime::shared::Shared;

    #[test]
    fn a_panic_in_a_thread_leaves_the_threads() {
        let mut workspace = Workspace::new(Shared::default().pool(2).unwrap());
        workspace.begin(16, 16);
        let each = |workspace: &mut Workspace, work: &(dyn Fn() + Sync)| {
            workspace.enter(|arena, scratch| Workers::new(scratch, arena).team().each(|_| work()));
        };
        let provoked = catch_unwind(AssertUnwindSafe(|| each(&mut workspace, &|| panic_any("provoked"))));
        assert!(provoked.is_err());
        let names = std::sync::Mutex::new(Vec::new());
        each(&mut workspace, &|| names.lock().unwrap().push(std::thread::current().name().map(str::to_owned)));
        let names = names.into_inner().unwrap();
        assert_eq!(names.len(), 2);
        // The names of this pool's threads, not those of all programs' common one.
        assert!(names.iter().all(|n| n.as_deref().is_some_and(|n| n.starts_with("umedsam-"))), "{names:?}");
    }
}
