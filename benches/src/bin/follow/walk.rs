//! Following an object whose truth is known.

use std::ops::ControlFlow;

use umedsam::metrics::{Convention, LabelScore, score_case};
use umedsam::npz::Labelled;
use umedsam::volume::{FollowOptions, Followed, from_fn};
use umedsam::{Error, ImageView, Session, VolumeOptions, VolumeSize};

use crate::object::{Object, Section, around};

/// Slices beyond the true ends whose evidence is taken.
const BEYOND: usize = 5;

pub(crate) const JUDGED: &str = "case,label,from,loose,slices,added,missed,before,after,dsc,nsd,dsc-true-slices,\
nsd-true-slices,dsc-box3d,nsd-box3d";

pub(crate) const EVIDENCE: &str = "case,label,from,loose,up,step,confidence,drop,overlap,growth,tone,contrast,area,\
truth,common";

/// A labelled volume, of which every n-th slice is there.
#[derive(Debug)]
pub(crate) struct Volume<'a> {
    case: &'a Labelled,
    every: usize,
    pub(crate) size: VolumeSize,
    pub(crate) labels: Vec<u16>,
    spacing: [f64; 3],
}

impl<'a> Volume<'a> {
    pub(crate) fn new(case: &'a Labelled, spacing: Option<[f64; 3]>, every: usize) -> Self {
        let size =
            VolumeSize { depth: case.depth().div_ceil(every), height: case.shape.height, width: case.shape.width };
        let labels = (0..size.depth).flat_map(|z| case.slice_labels(z * every)).copied().collect();
        let [x, y, z] = spacing.unwrap_or([1.0; 3]);
        Self { case, every, size, labels, spacing: [x, y, z * every as f64] }
    }

    fn slice(&self, z: usize) -> Result<ImageView<'_>, Error> {
        self.case.slice(z * self.every)
    }

    pub(crate) fn slice_labels(&self, z: usize) -> &[u16] {
        let pixels = self.size.width * self.size.height;
        &self.labels[z * pixels..][..pixels]
    }

    /// Scores of a mask of 0 and 1 beside a label.
    fn score(&self, label: u16, mask: &[u16]) -> LabelScore {
        let truth: Vec<u16> = self.labels.iter().map(|&l| u16::from(l == label)).collect();
        let shape = [self.size.depth, self.size.height, self.size.width];
        score_case(&truth, mask, &shape, Some(self.spacing), Convention::Boundary)[0]
    }
}

/// An object and the slice and box that it is followed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<'a> {
    pub(crate) volume: &'a Volume<'a>,
    pub(crate) object: &'a Object,
    pub(crate) start: Section,
    pub(crate) loose: f64,
}

impl Walk<'_> {
    fn follow(&self, session: &mut Session, options: &FollowOptions) -> Result<Followed, Error> {
        let boxes = [around(self.start.bounds, self.loose)];
        let slices = from_fn(|z| self.volume.slice(z));
        session.follow(slices, self.volume.size, self.start.z, &boxes, options, |_, _| ControlFlow::Continue(()))
    }

    /// Followed to `beyond` slices after the true ends, if no mask is empty or many times as large.
    fn whole(&self, session: &mut Session, beyond: usize) -> Result<Followed, Error> {
        let reach = (self.object.last() - self.start.z).max(self.start.z - self.object.first()) + beyond;
        self.follow(session, &FollowOptions::new().with_min_log_odds(f64::NEG_INFINITY).with_max_slices(reach))
    }

    /// A line of [`JUDGED`].
    pub(crate) fn judge(&self, session: &mut Session) -> Result<String, Error> {
        let (object, volume) = (self.object, self.volume);
        let found = self.follow(session, &FollowOptions::new())?;
        let is_true = |z: usize| (object.first()..=object.last()).contains(&z);
        let slices = object.last() - object.first() + 1;
        let followed = &found.objects[0];
        let kept = followed.slices.iter().filter(|s| is_true(s.z)).count();
        let (added, missed) = (followed.slices.len() - kept, slices - kept);
        let mut cut = self.whole(session, 0)?.labels;
        let pixels = volume.size.width * volume.size.height;
        for (z, slice) in cut.chunks_exact_mut(pixels).enumerate() {
            if !is_true(z) {
                slice.fill(0);
            }
        }
        let boxes = [object.hull(self.loose)];
        let (slices_of, go_on) = (from_fn(|z| volume.slice(z)), |_, _| ControlFlow::Continue(()));
        let in_box = session.segment_volume(slices_of, volume.size, &boxes, &VolumeOptions::new(), go_on)?;
        let scores = [&found.labels, &cut, &in_box.labels].map(|mask| {
            let score = volume.score(object.label, mask);
            let [dsc, nsd] = [score.dsc, score.nsd].map(|v| v.unwrap_or(f64::NAN));
            format!("{dsc:.4},{nsd:.4}")
        });
        let ends = format!("{:?},{:?}", followed.before, followed.after);
        Ok(format!("{slices},{added},{missed},{ends},{}", scores.join(",")))
    }

    /// Lines of [`EVIDENCE`], each way from the start.
    pub(crate) fn evidence(&self, session: &mut Session) -> Result<Vec<String>, Error> {
        let found = self.whole(session, BEYOND)?;
        let pixels = self.volume.size.width * self.volume.size.height;
        let mut lines = Vec::new();
        for slice in &found.objects[0].slices {
            let Some(evidence) = slice.evidence else { continue };
            let z = slice.z;
            if z + BEYOND < self.object.first() || z > self.object.last() + BEYOND {
                continue;
            }
            let mask = &found.labels[z * pixels..][..pixels];
            let truth = self.volume.slice_labels(z);
            let common = mask.iter().zip(truth).filter(|(m, t)| **m > 0 && **t == self.object.label).count();
            let values: Vec<String> = evidence.to_array().iter().map(|v| format!("{v:.4}")).collect();
            lines.push(format!(
                "{},{},{},{},{},{common}",
                u8::from(z > self.start.z),
                z.abs_diff(self.start.z),
                values.join(","),
                slice.area,
                self.object.area(z)
            ));
        }
        Ok(lines)
    }
}
