//! What is told of an input that was segmented.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};
use umedsam::intensity::{Intake, NumberType};
use umedsam::volume::End;
use umedsam::{Stats, outln};
use umedsam_demo::scan::Applied;

use crate::mask::Measures;
use crate::pictures::Shown;
use crate::uncertainty::Uncertainty;

/// What was found in one input.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The input.
    pub(crate) input: String,
    /// Height and width, or depth, height and width.
    pub(crate) shape: Vec<usize>,
    /// What was done to its values.
    pub(crate) intake: Intake,
    /// What else was done while it was read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) applied: Vec<Applied>,
    /// One entry for each box.
    pub(crate) objects: Vec<Object>,
    /// Whether the labels are the case's own numbers, known from its truth.
    pub(crate) own_labels: bool,
    /// Files written.
    pub(crate) written: Vec<PathBuf>,
    /// Images, windows of images and slices encoded.
    pub(crate) encodes: usize,
    /// Those that were in the cache.
    pub(crate) cache_hits: usize,
    /// Milliseconds of each stage.
    pub(crate) ms: Stages,
    /// Pictures for a page.
    #[serde(skip)]
    pub(crate) pictures: Vec<Shown>,
}

/// One object.
#[derive(Debug, Serialize)]
pub(crate) struct Object {
    /// Its value in the label map: its place among the boxes, from 1, or the case's own number.
    pub(crate) label: u16,
    /// Its name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Pixels or voxels that carry its label.
    pub(crate) size: usize,
    /// The network's own estimate of the IoU (uncalibrated); in 3D the mean over the slices.
    pub(crate) predicted_iou: f32,
    /// How sure the mask is, 0 to 1, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) score: Option<f32>,
    /// Its way through a volume.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) way: Option<Way>,
    /// Its measures, if they were asked for and it has a pixel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) measures: Option<Measures>,
}

/// An object's way through a volume. Slices count from 0.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Way {
    /// The slice in which it began.
    pub(crate) start: usize,
    /// Where it ended, if that was to be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) followed: Option<Extent>,
}

/// Where an object ended that was followed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Extent {
    /// Its first and last slice; nothing if it was not found at all.
    pub(crate) slices: Option<[usize; 2]>,
    /// Why it ends before the first.
    #[serde(serialize_with = "name")]
    pub(crate) before: End,
    /// Why it ends after the last.
    #[serde(serialize_with = "name")]
    pub(crate) after: End,
}

fn name<S: Serializer>(end: &End, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(end.name())
}

impl Stages {
    /// Milliseconds in all.
    pub(crate) fn total(&self) -> f64 {
        self.read + self.preprocess + self.encode + self.cache + self.decode + self.postprocess + self.write
    }
}

impl Way {
    /// Lines for people.
    pub(crate) fn words(&self) -> Vec<String> {
        match &self.followed {
            None => vec![format!("from slice {}", self.start)],
            Some(Extent { slices: None, .. }) => vec![format!("nothing is found in slice {}", self.start)],
            Some(Extent { slices: Some([first, last]), before, after }) => vec![
                format!("from slice {}: slices {first} to {last}", self.start),
                format!("before {first}: {before}; after {last}: {after}"),
            ],
        }
    }
}

/// Milliseconds of each stage.
#[derive(Debug, Serialize)]
pub(crate) struct Stages {
    read: f64,
    preprocess: f64,
    encode: f64,
    cache: f64,
    decode: f64,
    postprocess: f64,
    write: f64,
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}

/// The objects of a label map, numbered from 1. `ways` has one for each in a volume, and none in an image.
pub(crate) fn objects(
    labels: &[u16],
    confidence: &[f32],
    uncertainty: Option<&Uncertainty>,
    ways: &[Way],
) -> Vec<Object> {
    let mut sizes = vec![0usize; confidence.len() + 1];
    for &label in labels {
        sizes[usize::from(label)] += 1;
    }
    let score = |i: usize| uncertainty.map(|u| u.scores[i]);
    let object = |(i, &predicted_iou): (usize, &f32)| {
        let (label, size) = ((i + 1) as u16, sizes[i + 1]);
        let way = ways.get(i).cloned();
        Object { label, name: None, size, predicted_iou, score: score(i), way, measures: None }
    };
    confidence.iter().enumerate().map(object).collect()
}

/// Puts names to objects.
pub(crate) fn put_names(objects: &mut [Object], told: &[umedsam_demo::objects::Object]) {
    let named = |told: &umedsam_demo::objects::Object| told.name.is_some() || told.code.is_some();
    objects.iter_mut().zip(told).filter(|(_, told)| named(told)).for_each(|(o, told)| o.name = Some(told.title()));
}

/// Time spent on all that comes before masks.
pub(crate) fn network(stats: Stats) -> Duration {
    stats.preprocess + stats.encode + stats.cache + stats.decode
}

pub(crate) fn stages(before: Stats, after: Stats, read: Duration, postprocess: Duration, write: Duration) -> Stages {
    Stages {
        read: ms(read),
        preprocess: ms(after.preprocess - before.preprocess),
        encode: ms(after.encode - before.encode),
        cache: ms(after.cache - before.cache),
        decode: ms(after.decode - before.decode),
        postprocess: ms(postprocess),
        write: ms(write),
    }
}

/// A report for people.
pub(crate) fn print(report: &Report) {
    let shape: Vec<String> = report.shape.iter().map(usize::to_string).collect();
    outln!("{} ({})", report.input, shape.join("x"));
    if report.intake != Intake::new(NumberType::U8) {
        outln!("  values {}", report.intake);
    }
    for applied in &report.applied {
        outln!("  {applied}");
    }
    let unit = if report.shape.len() == 3 { "voxels" } else { "px" };
    if report.own_labels {
        outln!("  numbered as its truth numbers them");
    }
    const SHOWN: usize = 12;
    for o in report.objects.iter().take(SHOWN) {
        let empty = if o.size == 0 { "   (empty: nothing found, or hidden by a later object)" } else { "" };
        let score = o.score.map_or(String::new(), |score| format!("   score {score:.3}"));
        let name = o.name.as_ref().map_or(String::new(), |name| format!(" '{name}'"));
        outln!(
            "  object {:<3}{name} {:>9} {unit}   predicted IoU {:.3}{score}{empty}",
            o.label,
            o.size,
            o.predicted_iou
        );
        if let Some(way) = &o.way {
            way.words().iter().for_each(|line| outln!("      {line}"));
        }
        if let Some(measures) = &o.measures {
            outln!("      {}", measures.words());
        }
    }
    if report.objects.len() > SHOWN {
        outln!("  ... {} more objects", report.objects.len() - SHOWN);
    }
    let m = &report.ms;
    let cache = match report.cache_hits {
        0 => String::new(),
        hits => format!(", cache {:.0} (x{hits})", m.cache),
    };
    outln!(
        "  read {:.0} ms, preprocess {:.1}, encode {:.0} (x{}){cache}, decode {:.0}, postprocess {:.1}, write {:.0}",
        m.read,
        m.preprocess,
        m.encode,
        report.encodes,
        m.decode,
        m.postprocess,
        m.write
    );
    for path in &report.written {
        outln!("  -> {}", path.display());
    }
}
