//! Following objects from one slice until they end.

use core::fmt;
use std::prelude::v1::*;

use super::evidence::log_odds_of;
use super::tone::{Seen, Tone};
use super::{Evidence, Prompt, Request, carry, slice_size};
use crate::geometry::MAX_SIDE;
use crate::{Error, Frame, ImageView, MODEL_SIDE, MaskLogits, ModelBox, PixelBox, VolumeSize, memory};

/// An object whose mask becomes more than so many times as large as in the user's slice has run into something else.
pub const MAX_GROWTH: f64 = 4.0;

/// How far objects are followed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FollowOptions {
    /// An object ends before the first mask whose [`Evidence::log_odds`] are below this. Higher ends it earlier; negative
    /// infinity leaves the other reasons to end ([`End`]).
    pub min_log_odds: f64,
    /// Most slices that an object is followed each way.
    pub max_slices: usize,
    /// Work that `progress` ends gives what was found so far, instead of [`Error::Cancelled`]. The objects end where they
    /// were followed to, by [`End::Limit`].
    pub partial: bool,
}

impl FollowOptions {
    /// The threshold that suited most objects of the training data, and 512 slices.
    pub const fn new() -> Self {
        Self { min_log_odds: 0.0, max_slices: 512, partial: false }
    }

    /// Sets the threshold.
    #[must_use]
    pub const fn with_min_log_odds(self, min_log_odds: f64) -> Self {
        Self { min_log_odds, ..self }
    }

    /// Sets the most slices.
    #[must_use]
    pub const fn with_max_slices(self, max_slices: usize) -> Self {
        Self { max_slices, ..self }
    }

    /// Keeps what was found when the work is ended early.
    #[must_use]
    pub const fn with_partial(self) -> Self {
        Self { partial: true, ..self }
    }
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Why an object was followed no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The volume ends here: the object may go on outside of it.
    Volume,
    /// The next mask has no pixel. Of an object without a mask in the user's slice that is the reason both ways.
    Empty,
    /// The next mask does not look like the object any more ([`FollowOptions::min_log_odds`]).
    Lost,
    /// The next mask is more than [`MAX_GROWTH`] times as large as the one in the user's slice.
    Grown,
    /// [`FollowOptions::max_slices`] were followed.
    Limit,
}

impl End {
    /// A word for it, for reports that programs read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Empty => "empty",
            Self::Lost => "lost",
            Self::Grown => "grown",
            Self::Limit => "limit",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Volume => "the volume ends",
            Self::Empty => "nothing is found in the next slice",
            Self::Lost => "the next mask does not look like the object",
            Self::Grown => "the next mask is many times as large",
            Self::Limit => "the most slices were followed",
        })
    }
}

/// One slice of an object that was followed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FollowedSlice {
    /// Index of the slice.
    pub z: usize,
    /// Pixels of the mask.
    pub area: usize,
    /// The uncalibrated predicted IoU of the mask, 0 to 1.
    pub predicted_iou: f32,
    /// What told that the object goes on here; nothing in the user's slice.
    pub evidence: Option<Evidence>,
}

/// Where an object was found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FollowedObject {
    /// Its slices, which are neighbours, in ascending order; none if it has no mask in the user's slice.
    pub slices: Vec<FollowedSlice>,
    /// Why it ends before its first slice.
    pub before: End,
    /// Why it ends after its last slice.
    pub after: End,
}

impl FollowedObject {
    /// Mean over the slices of the predicted IoU, 0 to 1; 0 of none.
    pub fn predicted_iou(&self) -> f32 {
        self.slices.iter().map(|s| s.predicted_iou).sum::<f32>() / self.slices.len().max(1) as f32
    }
}

/// Objects that were followed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Followed {
    /// Label map (depth,height,width): `i + 1` for box `i`, 0 for background. Where objects overlap, the later box
    /// prevails.
    pub labels: Vec<u16>,
    /// Where each object was found.
    pub objects: Vec<FollowedObject>,
}

/// What the next slice's box and evidence are made from.
#[derive(Clone, Debug)]
struct Last {
    cells: Cells,
    /// The box around the mask, moved out.
    model_box: ModelBox,
    /// The greatest so far.
    confidence: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Start,
    Up,
    Down,
}

/// One object on its way.
#[derive(Clone, Debug)]
struct Trail {
    /// The user's box.
    own: ModelBox,
    /// Tone and area, in pixels, in the user's slice.
    first: Option<(Tone, usize)>,
    last: Option<Last>,
    /// For the way down.
    turn: Option<Last>,
    slices: Vec<FollowedSlice>,
    before: Option<End>,
    after: Option<End>,
    awaited: bool,
}

/// The order of slices and boxes for objects that are followed from one slice, first upwards, then downwards, and the
/// label map that results. As a [`Propagation`](super::Propagation) it performs no inference.
///
/// In the user's slice the network is prompted with the user's box, in the next ones with the bounding box of the mask
/// before, moved out by [`MARGIN`](super::MARGIN). An object ends each way for one of the reasons of [`End`]. No object
/// depends on the others, but for what is seen where they overlap. Each slice is asked for once.
#[derive(Debug)]
pub struct Follow {
    frame: Frame,
    trails: Vec<Trail>,
    labels: Vec<u16>,
    /// One slice, 1 for an object.
    mask: Vec<u16>,
    min_log_odds: f64,
    start: usize,
    /// The slices that may be reached.
    reach: (usize, usize),
    /// Whether the volume ends at either end of the reach.
    is_whole: (bool, bool),
    /// The slice that was asked for last.
    at: Option<(Way, usize)>,
}

impl Follow {
    /// Plans the way of `boxes`, which are in slice `z`.
    ///
    /// # Errors
    /// [`Error::ImageSize`] or [`Error::VolumeDepth`] if the volume has a size of 0 or an absurd one,
    /// [`Error::SliceOutside`] if it has no slice `z`, [`Error::TooManyBoxes`] beyond 65535 boxes, [`Error::BoxNotFinite`],
    /// [`Error::BoxReversed`] or [`Error::BoxOutside`] for a box, and [`Error::Memory`] if there is none for the labels.
    pub fn new(boxes: &[PixelBox], z: usize, size: VolumeSize, options: &FollowOptions) -> Result<Self, Error> {
        let VolumeSize { depth, height, width } = size;
        let frame = Frame::new(width, height)?;
        if depth == 0 || depth > MAX_SIDE {
            return Err(Error::VolumeDepth { depth, max: MAX_SIDE });
        }
        if z >= depth {
            return Err(Error::SliceOutside { z, depth });
        }
        let max = usize::from(u16::MAX);
        if boxes.len() > max {
            return Err(Error::TooManyBoxes { count: boxes.len(), max });
        }
        let trails = boxes.iter().enumerate().map(|(i, b)| Ok(Trail::new(frame.to_model(b, i)?)));
        let reach = (z.saturating_sub(options.max_slices), z.saturating_add(options.max_slices).min(depth - 1));
        Ok(Self {
            frame,
            trails: trails.collect::<Result<_, Error>>()?,
            labels: memory::zeros(depth.saturating_mul(height).saturating_mul(width))?,
            mask: memory::zeros(frame.pixels())?,
            min_log_odds: options.min_log_odds,
            start: z,
            reach,
            is_whole: (reach.0 == 0, reach.1 == depth - 1),
            at: None,
        })
    }

    /// Most requests still to come: fewer if objects end before the reach does.
    pub fn remaining(&self) -> usize {
        let (up, down) = match self.at {
            None if self.trails.is_empty() => return 0,
            None | Some((Way::Start, _)) => (self.start, self.start),
            Some((Way::Up, z)) => (z, self.start),
            Some((Way::Down, z)) => (self.reach.1, z),
        };
        let above = if self.goes(Way::Up) { self.reach.1 - up } else { 0 };
        let below = if self.goes(Way::Down) { down - self.reach.0 } else { 0 };
        usize::from(self.at.is_none()) + above + below
    }

    /// Whether an object goes on this way.
    fn goes(&self, way: Way) -> bool {
        self.trails.iter().any(|trail| trail.goes(way))
    }

    /// The next slice and its boxes; `None` when all objects have ended.
    ///
    /// # Errors
    /// [`Error::NotSupplied`] if a mask of the request before is still to come.
    pub fn next_request(&mut self) -> Result<Option<Request>, Error> {
        if let (Some((_, z)), Some(object)) = (self.at, self.trails.iter().position(|t| t.awaited)) {
            return Err(Error::NotSupplied { z, object });
        }
        let (way, z) = match self.at {
            None if self.trails.is_empty() => return Ok(None),
            None => (Way::Start, self.start),
            Some((Way::Start, z)) if self.goes(Way::Up) => (Way::Up, z + 1),
            Some((Way::Up, z)) if self.goes(Way::Up) => (Way::Up, z + 1),
            Some(_) if !self.goes(Way::Down) => return Ok(None),
            Some((Way::Down, z)) => (Way::Down, z - 1),
            Some(_) => {
                self.trails.iter_mut().for_each(|trail| trail.last = trail.turn.take());
                (Way::Down, self.start - 1)
            }
        };
        self.at = Some((way, z));
        let mut prompts = Vec::new();
        for (object, trail) in self.trails.iter_mut().enumerate().filter(|(_, trail)| trail.goes(way)) {
            trail.awaited = true;
            let model_box = trail.last.as_ref().map_or(trail.own, |last| last.model_box);
            prompts.push(Prompt { object, model_box });
        }
        Ok(Some(Request { z, prompts, again: false }))
    }

    /// Takes the mask of `object` in slice `z`, its predicted IoU, and the slice itself. The mask gets label `object + 1`
    /// if it still shows the object; the object ends before it otherwise.
    ///
    /// # Errors
    /// [`Error::NotRequested`] if the last request does not hold this object in this slice, or the mask was supplied
    /// before; [`Error::SliceSize`] if the logits or the image are of another size than the volume's slices.
    pub fn supply(
        &mut self,
        z: usize,
        object: usize,
        logits: &MaskLogits<'_>,
        predicted_iou: f32,
        image: &ImageView<'_>,
    ) -> Result<(), Error> {
        let way = self.at.filter(|&(_, at)| at == z).map(|(way, _)| way);
        let trail = self.trails.get_mut(object).filter(|trail| trail.awaited);
        let (Some(way), Some(trail)) = (way, trail) else { return Err(Error::NotRequested { z, object }) };
        for frame in [logits.frame(), image.frame()] {
            if frame != self.frame {
                return Err(slice_size(z, &frame, &self.frame));
            }
        }
        trail.awaited = false;
        self.mask.fill(0);
        let Some(region) = logits.paint_max_bounds(1, &mut self.mask) else {
            trail.end(way, End::Empty);
            return Ok(());
        };
        let prompt = trail.last.as_ref().map_or(trail.own, |last| last.model_box);
        let seen = Seen::new(&self.mask, image, &prompt);
        let cells = cells(logits);
        let confidence = log_odds_of(predicted_iou);
        let evidence = trail.last.as_ref().zip(trail.first).map(|(last, (first, _))| {
            let [now, before, both] = [count(&cells), count(&last.cells), common(&cells, &last.cells)];
            Evidence {
                confidence,
                drop: (confidence - last.confidence).min(0.0),
                overlap: 2.0 * both / (now + before).max(1.0),
                growth: libm::log((now + 1.0) / (before + 1.0)),
                tone: seen.within.distance(&first),
                contrast: seen.beside.map_or(0.0, |beside| seen.within.distance(&beside)),
            }
        });
        if trail.first.is_some_and(|(_, area)| seen.area as f64 > MAX_GROWTH * area as f64) {
            trail.end(way, End::Grown);
            return Ok(());
        }
        if evidence.is_some_and(|evidence| evidence.log_odds() < self.min_log_odds) {
            trail.end(way, End::Lost);
            return Ok(());
        }
        let label = (object + 1) as u16;
        let pixels = self.frame.pixels();
        for (to, &mark) in self.labels[z * pixels..][..pixels].iter_mut().zip(&self.mask) {
            *to = (label * mark).max(*to);
        }
        trail.slices.push(FollowedSlice { z, area: seen.area, predicted_iou, evidence });
        let best = trail.last.as_ref().map_or(confidence, |last| last.confidence.max(confidence));
        let last = Last { cells, model_box: carry::box_around(&region, &self.frame), confidence: best };
        if way == Way::Start {
            trail.first = Some((seen.within, seen.area));
            trail.turn = Some(last.clone());
        }
        trail.last = Some(last);
        if way != Way::Down && z == self.reach.1 {
            trail.after = Some(if self.is_whole.1 { End::Volume } else { End::Limit });
        }
        if way != Way::Up && z == self.reach.0 {
            trail.before = Some(if self.is_whole.0 { End::Volume } else { End::Limit });
        }
        Ok(())
    }

    /// The label map and where the objects were found. Objects that were not followed to their ends have
    /// [`End::Limit`].
    pub fn finish(self) -> Followed {
        let object = |trail: Trail| {
            let mut slices = trail.slices;
            slices.sort_by_key(|slice| slice.z);
            let [before, after] = [trail.before, trail.after].map(|end| end.unwrap_or(End::Limit));
            FollowedObject { slices, before, after }
        };
        Followed { labels: self.labels, objects: self.trails.into_iter().map(object).collect() }
    }
}

impl Trail {
    fn new(own: ModelBox) -> Self {
        Self { own, first: None, last: None, turn: None, slices: Vec::new(), before: None, after: None, awaited: false }
    }

    fn goes(&self, way: Way) -> bool {
        match way {
            Way::Start => true,
            Way::Up => self.after.is_none(),
            Way::Down => self.before.is_none(),
        }
    }

    fn end(&mut self, way: Way, end: End) {
        if way != Way::Down {
            self.after = Some(end);
        }
        if way != Way::Up {
            self.before = Some(end);
        }
    }
}

/// Cells of the model's grid, a bit each: what an object keeps of a mask, 8 KiB whatever the image's size.
type Cells = Vec<u64>;

/// The cells of a mask that lie within the image.
fn cells(logits: &MaskLogits<'_>) -> Cells {
    let (width, height) = (logits.frame().scaled_width(), logits.frame().scaled_height());
    let mut cells = vec![0; MODEL_SIDE * MODEL_SIDE / 64];
    for (y, row) in logits.values().chunks_exact(MODEL_SIDE).take(height).enumerate() {
        for x in (0..width).filter(|&x| row[x] > 0.0) {
            cells[(y * MODEL_SIDE + x) / 64] |= 1 << (x % 64);
        }
    }
    cells
}

fn count(cells: &Cells) -> f64 {
    cells.iter().map(|bits| bits.count_ones() as usize).sum::<usize>() as f64
}

fn common(a: &Cells, b: &Cells) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a & b).count_ones() as usize).sum::<usize>() as f64
}
