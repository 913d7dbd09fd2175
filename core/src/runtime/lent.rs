//! Threads in a browser, where Rust can start none: the page starts workers, which lend themselves.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};

use rayon::ThreadBuilder;

static WANTED: Mutex<VecDeque<ThreadBuilder>> = Mutex::new(VecDeque::new());
static ANY: Condvar = Condvar::new();

/// Asks for a thread. What is given to it waits until one is lent.
#[allow(clippy::unnecessary_wraps, reason = "what a pool calls may fail")]
pub(super) fn ask(thread: ThreadBuilder) -> io::Result<()> {
    WANTED.lock().unwrap_or_else(PoisonError::into_inner).push_back(thread);
    ANY.notify_one();
    Ok(())
}

/// Lends the calling thread: waits until a session needs one, and returns after the last of the sessions that share it.
///
/// A session with `threads` threads, 2 or more, waits for as many of these. It blocks, which a browser allows to workers
/// only.
pub fn lend_thread() {
    let wanted = WANTED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut wanted = ANY.wait_while(wanted, |wanted| wanted.is_empty()).unwrap_or_else(PoisonError::into_inner);
    let thread = wanted.pop_front();
    drop(wanted);
    thread.into_iter().for_each(ThreadBuilder::run);
}
