//! Segmenting volumes.

use std::ops::ControlFlow;

use umedsam::volume::{FollowOptions, from_fn};
use umedsam::{Error, ImageView, PixelBox, Session, VolumeOptions, VolumeSize, VoxelBox};

use crate::interrupt;
use crate::report::{Extent, Way};
use crate::segment::bar;

/// What was found in a volume: the label map, and of each object the predicted IoU and the way.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) labels: Vec<u16>,
    pub(crate) predicted_iou: Vec<f32>,
    pub(crate) ways: Vec<Way>,
}

/// Segments objects in boxes that hold them.
pub(crate) fn segment_volume<'a>(
    session: &mut Session,
    slice: impl FnMut(usize) -> Result<ImageView<'a>, Error>,
    size: VolumeSize,
    boxes: &[VoxelBox],
    options: &VolumeOptions,
) -> Result<Found, Error> {
    let found = in_sight(|progress| session.segment_volume(from_fn(slice), size, boxes, options, progress))?;
    let ways = found.starts.iter().map(|&start| Way { start, followed: None }).collect();
    Ok(Found { labels: found.labels, predicted_iou: found.predicted_iou, ways })
}

/// Follows objects from boxes in slice `z`.
pub(crate) fn follow<'a>(
    session: &mut Session,
    slice: impl FnMut(usize) -> Result<ImageView<'a>, Error>,
    size: VolumeSize,
    z: usize,
    boxes: &[PixelBox],
) -> Result<Found, Error> {
    let options = FollowOptions::new();
    let found = in_sight(|progress| session.follow(from_fn(slice), size, z, boxes, &options, progress))?;
    let ways = found.objects.iter().map(|object| {
        let slices = object.slices.first().zip(object.slices.last()).map(|(first, last)| [first.z, last.z]);
        Way { start: z, followed: Some(Extent { slices, before: object.before, after: object.after }) }
    });
    let (predicted_iou, ways) = (found.objects.iter().map(|o| o.predicted_iou()).collect(), ways.collect());
    Ok(Found { labels: found.labels, predicted_iou, ways })
}

/// Does work whose progress is shown.
fn in_sight<T>(work: impl FnOnce(&mut dyn FnMut(usize, usize) -> ControlFlow<()>) -> T) -> T {
    let bar = bar(0, "slices");
    let result = work(&mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        interrupt::flow()
    });
    bar.finish_and_clear();
    result
}
