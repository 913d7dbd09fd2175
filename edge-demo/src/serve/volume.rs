//! Volumes: an object through many slices, with word of how far it is.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use umedsam::volume::{End, FollowOptions, Slices};
use umedsam::{Error, ImageView, PixelBox, Session, VolumeOptions, VolumeSize, VoxelBox};

use super::app::{App, full};
use super::held::Shown;
use super::planes::{Plane, Region, paste, sides};
use super::pool::{Full, Kind, Pending};
use super::refusal::Refusal;

/// Reports that wait to be read; who is slow misses some.
const REPORTS: usize = 16;

/// Slices done, and slices in all.
pub(super) type Progress = (usize, usize);

/// What an object is found from.
pub(super) enum Prompt {
    /// A box in 3D that holds it.
    Solid(VoxelBox),
    /// A box in one slice, from which the object is followed both ways, in these slices of the axis.
    Slice(Plane, PixelBox, Range<usize>),
}

/// An object in a volume.
pub(super) struct Object {
    /// The slices that were looked at, whole.
    pub(super) region: Region,
    /// The voxels of the region, 1 for the object.
    pub(super) mask: Vec<u8>,
    pub(super) predicted_iou: f32,
    /// Why an object that was followed ends before its first slice and after its last.
    pub(super) ends: Option<[End; 2]>,
    /// Whether the time sufficed.
    pub(super) is_whole: bool,
}

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
        let mut is_whole = true;
        let progress = |done, total| {
            let _ = sender.try_send((done, total));
            if stop.load(Ordering::Relaxed) || asked.elapsed() > time {
                is_whole = done == total;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let found = match prompt {
            Prompt::Solid(voxels) => solid(session, &shown, voxels, progress),
            Prompt::Slice(plane, one, range) => follow(session, &shown, plane, one, range, progress),
        };
        found.map(|object| finish(Object { is_whole, ..object }, shown.size))
    };
    let pending = app.pool.submit(kind, work).map_err(|Full| full())?;
    Ok((receiver, pending))
}

fn solid(
    session: &mut Session,
    shown: &Shown,
    voxels: VoxelBox,
    progress: impl FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Object, Error> {
    let size = shown.size;
    let slices = Along::new(shown, 0, 0);
    let options = VolumeOptions::new().with_partial();
    let found = session.segment_volume(slices, size, &[voxels], &options, progress)?;
    let last = size.depth.saturating_sub(1);
    let [from, to] = [voxels.z0, voxels.z1].map(|z| (z as usize).min(last));
    let region = [from..to + 1, 0..size.height, 0..size.width];
    let area = size.height * size.width;
    let labels = &found.labels[from * area..(to + 1) * area];
    let mask = labels.iter().map(|&label| u8::from(label > 0)).collect();
    Ok(Object { region, mask, predicted_iou: found.predicted_iou[0], ends: None, is_whole: true })
}

fn follow(
    session: &mut Session,
    shown: &Shown,
    plane: Plane,
    one: PixelBox,
    range: Range<usize>,
    progress: impl FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Object, Error> {
    let [height, width] = plane.size(shown.size);
    let (axis, first) = (plane.axis, range.start);
    let size = VolumeSize { depth: range.len(), height, width };
    let options = FollowOptions::new().with_partial();
    let slices = Along::new(shown, axis, first);
    let found = session.follow(slices, size, plane.index - first, &[one], &options, progress)?;
    let object = &found.objects[0];
    // The slice of the box where there is no mask in it.
    let asked = plane.index - first;
    let reached = object.slices.first().zip(object.slices.last()).map_or(asked..asked + 1, |(a, b)| a.z..b.z + 1);
    // They are put as they lie in the volume.
    let mut region = sides(shown.size).map(|side| 0..side);
    region[axis] = first + reached.start..first + reached.end;
    let shape = region.each_ref().map(Range::len);
    let mut mask = umedsam::memory::filled(shape.iter().product(), 0u8)?;
    let part = VolumeSize { depth: shape[0], height: shape[1], width: shape[2] };
    for (index, slice) in found.labels.chunks_exact(height * width).skip(reached.start).take(reached.len()).enumerate()
    {
        let mut slice_rows = slice.chunks_exact(width);
        Plane { axis, index }.rows(part, |first, step| {
            let places = mask[first..].iter_mut().step_by(step);
            let row = slice_rows.next().into_iter().flatten();
            places.zip(row).for_each(|(to, &label)| *to = u8::from(label > 0));
        });
    }
    let ends = Some([object.before, object.after]);
    Ok(Object { region, mask, predicted_iou: object.predicted_iou(), ends, is_whole: true })
}

impl Object {
    /// Its slices along axis 0, whole, of those that it is in.
    pub(super) fn slices(&self, size: VolumeSize) -> impl Iterator<Item = (usize, Vec<u8>)> {
        let region = [0..1, self.region[1].clone(), self.region[2].clone()];
        let area = region[1].len() * region[2].len();
        let parts = self.region[0].clone().zip(self.mask.chunks_exact(area.max(1)));
        parts.filter(|(_, part)| part.contains(&1)).map(move |(z, part)| {
            let mut slice = vec![0; size.height * size.width];
            paste(&mut slice, [1, size.height, size.width], &region, part);
            (z, slice)
        })
    }
}

/// The slices of an axis, from the first of a part on.
struct Along<'s> {
    shown: &'s Shown,
    axis: usize,
    first: usize,
    pixels: Vec<u8>,
}

impl<'s> Along<'s> {
    fn new(shown: &'s Shown, axis: usize, first: usize) -> Self {
        Self { shown, axis, first, pixels: Vec::new() }
    }
}

impl Slices for Along<'_> {
    type Error = Error;

    fn slice(&mut self, z: usize) -> Result<ImageView<'_>, Error> {
        let plane = Plane { axis: self.axis, index: self.first + z };
        self.shown.view(plane, &mut self.pixels)
    }
}
