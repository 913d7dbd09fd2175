//! An object through the slices of a volume.

use std::ops::{ControlFlow, Range};

use serde::Deserialize;
use serde_json::{Value, json};
use umedsam::volume::{End, FollowOptions, Slices};
use umedsam::{Error, ImageView, PixelBox, Session, VolumeOptions, VolumeSize, VoxelBox};

use super::{Plane, Region, Shown, Unfit, paste, runs, sides};

/// What an object is found from.
pub enum Prompt {
    /// A box in 3D that holds it.
    Solid(VoxelBox),
    /// A box in one slice, from which the object is followed both ways, in these slices of the axis.
    Slice(Plane, PixelBox, Range<usize>),
}

/// What an object is asked for by.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// x0, y0, z0, x1, y1, z1 in voxels, or the columns and rows x0, y0, x1, y1 of a slice; both ends included. With six
    /// numbers the slice says whose section of the object x and y are.
    #[serde(rename = "box")]
    numbers: Vec<f64>,
    #[serde(default)]
    axis: usize,
    slice: Option<usize>,
}

impl Asked {
    /// The same, checked against the volume's size.
    ///
    /// # Errors
    /// If it is no box of this volume.
    pub fn prompt(&self, size: VolumeSize) -> Result<Prompt, Unfit> {
        match (self.slice, &self.numbers[..]) {
            (None, &[x0, y0, z0, x1, y1, z1]) if self.axis == 0 => {
                Ok(Prompt::Solid(VoxelBox::new(x0, y0, z0, x1, y1, z1)))
            }
            (Some(index), &[x0, y0, z0, x1, y1, z1]) if self.axis == 0 => {
                let slice = Plane::new(0, index, size)?.index;
                if !(z0..=z1).contains(&(slice as f64)) {
                    return Err(Unfit::asked(format!("slice is {slice}; one of the box's, {z0} to {z1}, is expected")));
                }
                Ok(Prompt::Solid(VoxelBox::new(x0, y0, z0, x1, y1, z1).with_slice(slice)))
            }
            (Some(index), &[x0, y0, x1, y1]) => {
                let plane = Plane::new(self.axis, index, size)?;
                Ok(Prompt::Slice(plane, PixelBox::new(x0, y0, x1, y1), 0..sides(size)[plane.axis]))
            }
            _ => Err(Unfit::asked("a box of six numbers is expected, or one of four with its slice")),
        }
    }
}

/// An object in a volume.
pub struct Object {
    /// The slices that were looked at, whole.
    pub region: Region,
    /// The voxels of the region, 1 for the object.
    pub mask: Vec<u8>,
    /// What the network predicts of it, 0 to 1.
    pub predicted_iou: f32,
    /// Why an object that was followed ends before its first slice and after its last.
    pub ends: Option<[End; 2]>,
    /// Whether the work ended by itself.
    pub is_whole: bool,
}

/// Segments an object. `progress` is told of the slices that are done and of those in all; where it says so, the work ends
/// with what was found, which is not whole.
///
/// # Errors
/// If the prompt is none of this volume, and the network's.
pub fn segment(
    session: &mut Session,
    shown: &Shown,
    prompt: Prompt,
    mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Object, Error> {
    let mut is_whole = true;
    let told = |done, total| {
        let next = progress(done, total);
        is_whole = next.is_continue() || done == total;
        next
    };
    let found = match prompt {
        Prompt::Solid(voxels) => solid(session, shown, voxels, told),
        Prompt::Slice(plane, one, range) => follow(session, shown, plane, one, range, told),
    };
    Ok(Object { is_whole, ..found? })
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
    /// What a page is told of it: the runs of each slice, see [`runs`].
    pub fn describe(&self, size: VolumeSize) -> Value {
        let slices = self.slices(size).map(|(z, slice)| json!({ "slice": z, "runs": runs(&slice) }));
        json!({
            "slices": slices.collect::<Vec<Value>>(),
            "voxels": self.mask.iter().map(|&v| usize::from(v)).sum::<usize>(),
            "iou": self.predicted_iou,
            "complete": self.is_whole,
            "ends": self.ends.map(|ends| ends.map(End::name)),
        })
    }

    /// Its slices along axis 0, whole, of those that it is in.
    pub fn slices(&self, size: VolumeSize) -> impl Iterator<Item = (usize, Vec<u8>)> {
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
