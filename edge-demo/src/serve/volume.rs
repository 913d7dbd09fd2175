//! Volumes: an object through many slices, with word of how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use umedsam::volume::{Propagation, Request};
use umedsam::{Error, ModelBox, Session, VoxelBox};

use super::app::{App, full};
use super::held::Shown;
use super::pool::{Full, Kind, Pending};
use super::refusal::Refusal;

/// Reports that wait to be read; who is slow misses some.
const REPORTS: usize = 16;

/// Slices done, and slices in all.
pub(super) type Progress = (usize, usize);

/// The label map of one object, and the network's estimate of its quality.
pub(super) struct Object {
    pub(super) labels: Vec<u16>,
    pub(super) predicted_iou: f32,
    /// How far it went, if it ended early.
    pub(super) stopped: Option<Progress>,
}

/// Work that reports.
type Started = (mpsc::Receiver<Progress>, Pending<Result<Object, Error>>);

/// Segments a box in 3D. The work ends early where what is returned is dropped, and after `time`.
pub(super) fn start(app: &App, shown: Arc<Shown>, voxels: VoxelBox, time: Duration) -> Result<Started, Refusal> {
    let (sender, receiver) = mpsc::channel(REPORTS);
    let asked = Instant::now();
    let work = move |session: &mut Session, stop: &AtomicBool| {
        segment(session, &shown, voxels, |progress| {
            let _ = sender.try_send(progress);
            stop.load(Ordering::Relaxed) || asked.elapsed() > time
        })
    };
    let pending = app.pool.submit(Kind::Volume, work).map_err(|Full| full())?;
    Ok((receiver, pending))
}

/// As `Session::segment_volume`, but what was done when `stop` says so is the result. Slices that are asked for twice
/// are in the cache that the session has.
fn segment(
    session: &mut Session,
    shown: &Shown,
    voxels: VoxelBox,
    mut stop: impl FnMut(Progress) -> bool,
) -> Result<Object, Error> {
    let mut propagation = Propagation::new(&[voxels], shown.size)?;
    let total = propagation.remaining();
    let (mut request, mut sum, mut stopped) = (Request::default(), 0.0, None);
    while propagation.next_request_into(&mut request)? {
        let embedding = session.encode(&shown.slice(request.z)?)?;
        let boxes: Vec<ModelBox> = request.prompts.iter().map(|prompt| prompt.model_box).collect();
        let mut supplied = Ok(());
        session.decode(&embedding, &boxes, |_, logits, predicted_iou| {
            sum += predicted_iou;
            supplied = propagation.supply(request.z, 0, &logits);
        })?;
        supplied?;
        let done = total - propagation.remaining();
        if stop((done, total)) && done < total {
            stopped = Some((done, total));
            break;
        }
    }
    let slices = stopped.map_or(total, |(done, _)| done).max(1);
    Ok(Object { labels: propagation.into_labels(), predicted_iou: sum / slices as f32, stopped })
}
