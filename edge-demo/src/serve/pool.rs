//! A bounded pool of threads, each with a session of the same model.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use tokio::sync::oneshot;
use umedsam::{EmbeddingCache, Error, Model, Session, SessionOptions, errln};

/// What work is, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Masks of a slice that is encoded, such as while a box is dragged: a few milliseconds. One thread is always left to
    /// it.
    Decode,
    /// Masks of a slice that must be encoded first.
    Slice,
    /// A volume, which takes long. One thread more is left to the others.
    Volume,
    /// Encoding of what may be asked for next.
    Ahead,
}

type Work = Box<dyn FnOnce(&mut Session) + Send>;

struct Job {
    number: u64,
    kind: Kind,
    work: Work,
}

/// What the threads share.
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    threads: usize,
    queue: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    next: u64,
    /// Work of each kind that is running.
    running: [usize; 4],
    closed: bool,
}

impl State {
    fn running(&self) -> usize {
        self.running.iter().sum()
    }
}

impl Shared {
    /// Work is run outside of the lock, so a panic leaves the state whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most urgent job that may run now: of those alike the one that came first.
    fn pick(&self, state: &mut State) -> Option<Job> {
        let encodes = state.running() - state.running[Kind::Decode as usize] + 1 < self.threads;
        let volumes = state.running[Kind::Volume as usize] < self.threads.saturating_sub(2).max(1);
        let may = |kind| match kind {
            Kind::Decode => true,
            Kind::Slice | Kind::Ahead => encodes,
            Kind::Volume => encodes && volumes,
        };
        let first = |kind| state.jobs.iter().position(|job| job.kind == kind && may(kind));
        let found = [Kind::Decode, Kind::Slice, Kind::Volume, Kind::Ahead].into_iter().find_map(first)?;
        let job = state.jobs.remove(found)?;
        state.running[job.kind as usize] += 1;
        Some(job)
    }

    fn work(&self, session: &mut Session, renew: impl Fn() -> Result<Session, Error>) {
        let mut state = self.state();
        loop {
            if let Some(Job { kind, work, .. }) = self.pick(&mut state) {
                drop(state);
                if catch_unwind(AssertUnwindSafe(|| work(session))).is_err() {
                    match renew() {
                        Ok(fresh) => *session = fresh,
                        Err(error) => errln!("umedsam: a session could not be made anew: {error}"),
                    }
                }
                state = self.state();
                state.running[kind as usize] -= 1;
                self.wake.notify_all();
            } else if state.closed {
                return;
            } else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// The threads, which end when it is dropped.
pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// The queue is full.
#[derive(Debug)]
pub(super) struct Full;

/// What a pool is doing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) waiting: usize,
    pub(super) running: usize,
}

impl Pool {
    /// Starts `threads` threads, at least 2, whose queue holds `queue` jobs.
    pub(super) fn new(
        model: &Arc<Model>,
        options: &SessionOptions,
        cache: &EmbeddingCache,
        threads: usize,
        queue: usize,
    ) -> anyhow::Result<Self> {
        let threads = threads.max(2);
        let shared = Shared { state: Mutex::default(), wake: Condvar::new(), threads, queue };
        let mut pool = Self { shared: Arc::new(shared), threads: Vec::new() };
        for number in 0..threads {
            let (model, options, cache) = (model.clone(), options.clone(), cache.clone());
            let renew = move || {
                let mut session = model.session(&options)?;
                session.set_cache(Some(cache.clone()));
                Ok::<_, Error>(session)
            };
            let mut session = renew()?;
            let shared = pool.shared.clone();
            let thread = thread::Builder::new().name(format!("network {number}"));
            pool.threads.push(thread.spawn(move || shared.work(&mut session, renew)).context("start a thread")?);
        }
        Ok(pool)
    }

    pub(super) fn threads(&self) -> usize {
        self.shared.threads
    }

    pub(super) fn load(&self) -> Load {
        let state = self.shared.state();
        Load { waiting: state.jobs.len(), running: state.running() }
    }

    /// Puts work in the queue. It is taken out, or told by its flag to stop, when what is returned is dropped.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        kind: Kind,
        work: impl FnOnce(&mut Session, &AtomicBool) -> T + Send + 'static,
    ) -> Result<Pending<T>, Full> {
        let (sender, receiver) = oneshot::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let work: Work = Box::new(move |session| {
            let result = work(session, &flag);
            // Nobody may be left to take it.
            let _ = sender.send(result);
        });
        let mut state = self.shared.state();
        // Volumes and encodes ahead must not keep out the slices for which a person waits.
        let is_urgent = matches!(kind, Kind::Decode | Kind::Slice);
        let room = if is_urgent { self.shared.queue } else { self.shared.queue / 2 };
        if state.closed || state.jobs.len() >= room {
            return Err(Full);
        }
        let number = state.next;
        state.next += 1;
        state.jobs.push_back(Job { number, kind, work });
        drop(state);
        self.shared.wake.notify_all();
        Ok(Pending { receiver, place: Place { shared: self.shared.clone(), number, stop } })
    }

    /// Refuses what comes, and forgets what waits; returns how many jobs waited and run for which somebody waits.
    pub(super) fn close(&self) -> Load {
        let mut state = self.shared.state();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        let running = state.running() - state.running[Kind::Ahead as usize];
        drop(state);
        self.shared.wake.notify_all();
        Load { waiting: jobs.iter().filter(|job| job.kind != Kind::Ahead).count(), running }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// A job's place in the queue or on a thread.
struct Place {
    shared: Arc<Shared>,
    number: u64,
    stop: Arc<AtomicBool>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let mut state = self.shared.state();
        let found = state.jobs.iter().position(|job| job.number == self.number);
        let job = found.and_then(|at| state.jobs.remove(at));
        drop(state);
        // Outside of the lock: what it holds may be large.
        drop(job);
    }
}

/// The result to come; nothing if the work panicked or the pool closed.
pub(super) struct Pending<T> {
    receiver: oneshot::Receiver<T>,
    place: Place,
}

impl<T> Pending<T> {
    /// Lets the work go on without anybody waiting; the flag still stops it.
    pub(super) fn detach(self) -> Detached {
        Detached(self.place)
    }
}

/// Work that nobody waits for, which stops when this is dropped.
pub(super) struct Detached(#[allow(dead_code, reason = "dropped only")] Place);

impl<T> Future for Pending<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.receiver).poll(context).map(Result::ok)
    }
}
