//! Volumes: an object through many slices, with word of how far it is.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use umedsam::volume::from_fn;
use umedsam::{Error, Session, VolumeOptions, VolumeSegmentation, VoxelBox};

use super::app::{App, full};
use super::held::Shown;
use super::pool::{Full, Kind, Pending};
use super::refusal::Refusal;

/// Reports that wait to be read; who is slow misses some.
const REPORTS: usize = 16;

/// Slices done, and slices in all.
pub(super) type Progress = (usize, usize);

/// Work that reports; in the end there are the labels, and the network's estimate of their quality.
type Started = (mpsc::Receiver<Progress>, Pending<Result<VolumeSegmentation, Error>>);

/// Segments a box in 3D. The work ends early where what is returned is dropped, and after `time`.
pub(super) fn start(app: &App, shown: Arc<Shown>, voxels: VoxelBox, time: Duration) -> Result<Started, Refusal> {
    let (sender, receiver) = mpsc::channel(REPORTS);
    let asked = Instant::now();
    let work = move |session: &mut Session, stop: &AtomicBool| {
        let slices = from_fn(|z| shown.slice(z));
        session.segment_volume(slices, shown.size, &[voxels], &VolumeOptions::new(), |done, total| {
            let _ = sender.try_send((done, total));
            match stop.load(Ordering::Relaxed) || asked.elapsed() > time {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
    };
    let pending = app.pool.submit(Kind::Volume, work).map_err(|Full| full())?;
    Ok((receiver, pending))
}
