//! Signals that ask a run to end: it saves after the step under way.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use umedsam_train::trainer::{Event, Observer};

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on SIGINT (Ctrl-C) and SIGTERM only ask; a second one ends the process at once.
pub(crate) fn listen() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag not set yet.
        flag::register_conditional_shutdown(signal, 128 + signal, ASKED.clone())?;
        flag::register(signal, ASKED.clone())?;
    }
    Ok(())
}

/// Break, if the run was asked to end.
pub(crate) fn asked() -> ControlFlow<()> {
    if ASKED.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// A rank that says nothing, and ends when it is asked to.
pub(crate) struct Quiet;

impl Observer for Quiet {
    fn observe(&mut self, _: Event<'_>) -> ControlFlow<()> {
        asked()
    }
}
