//! Volumes: an object through many slices, with word of how far it is.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use umedsam::{Error, Session, VolumeSize};
use umedsam_demo::shown::{Object, Prompt, Shown, segment};

use super::app::{App, full};
use super::pool::{Full, Kind, Pending};
use super::refusal::Refusal;

/// Reports that wait to be read; who is slow misses some.
const REPORTS: usize = 16;

/// Slices done, and slices in all.
pub(super) type Progress = (usize, usize);

/// Work that reports; in the end there is what was made of the object.
type Started<T> = (mpsc::Receiver<Progress>, Pending<Result<T, Error>>);

/// Segments an object. The work ends early where what is returned is dropped; after `time` it ends with what was found.
/// `finish` is called on the thread that did the work.
pub(super) fn start<T: Send + 'static>(
    app: &App,
    shown: Arc<Shown>,
    prompt: Prompt,
    time: Duration,
    finish: impl FnOnce(Object, VolumeSize) -> T + Send + 'static,
) -> Result<Started<T>, Refusal> {
    let (sender, receiver) = mpsc::channel(REPORTS);
    let asked = Instant::now();
    let kind = match &prompt {
        Prompt::Slice(_, _, range) if range.len() == 1 => Kind::Slice,
        _ => Kind::Volume,
    };
    let work = move |session: &mut Session, stop: &AtomicBool| {
        let progress = |done, total| {
            let _ = sender.try_send((done, total));
            if stop.load(Ordering::Relaxed) || asked.elapsed() > time {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let found = segment(session, &shown, prompt, progress);
        found.map(|object| finish(object, shown.size))
    };
    let pending = app.pool.submit(kind, work).map_err(|Full| full())?;
    Ok((receiver, pending))
}
