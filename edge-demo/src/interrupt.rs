//! Ctrl-C: the work ends at the next slice or input, and what is done stays.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static SIGNAL: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

/// What ends a run that was asked to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted: {message}")]
pub(crate) struct Interrupted {
    pub(crate) message: String,
}

impl Interrupted {
    /// As shells tell of a process that a signal has ended: 130 for Ctrl-C.
    pub(crate) fn status() -> u8 {
        128 + SIGNAL.load(Ordering::Relaxed) as u8
    }
}

/// From now on SIGINT (Ctrl-C) and SIGTERM only ask; a second one ends the process at once.
pub(crate) fn listen() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag not set yet, and leaves its number before the flag is.
        flag::register_conditional_shutdown(signal, 128 + signal, ASKED.clone())?;
        flag::register_usize(signal, SIGNAL.clone(), signal as usize)?;
        flag::register(signal, ASKED.clone())?;
    }
    Ok(())
}

/// Whether the run was asked to end.
pub(crate) fn is_asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Break, if it was.
pub(crate) fn flow() -> ControlFlow<()> {
    if is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
