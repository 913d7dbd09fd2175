//! Objects of labelled images, segmented from one box and from several.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use umedsam::metrics::dice;
use umedsam::npz::{self, Case, Limits, Truth, own_labels};
use umedsam::uncertainty::{Ensemble, jitter};
use umedsam::{MODEL_SIDE, ModelBox, PixelBox, Session, Uncertain, UncertaintyOptions};

use crate::pixels::Pixels;

/// Most that a side of a loose box is moved outwards, as a share of the box's width or height.
const LOOSE_SHARE: f64 = 0.1;

/// How well boxes fit their objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boxes {
    /// As the cases have them.
    Exact,
    /// Each side moved outwards by 0 to [`LOOSE_SHARE`], by the case's name.
    Loose,
}

impl Boxes {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Loose => "loose",
        }
    }
}

/// What was found in a folder with boxes of one kind.
#[derive(Debug)]
pub(crate) struct Findings {
    /// Whether the network was trained on these images.
    pub(crate) fitted: bool,
    pub(crate) boxes: Boxes,
    pub(crate) found: Found,
}

#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) images: usize,
    /// Images that have no truth for their boxes.
    pub(crate) left_out: usize,
    pub(crate) encode: Duration,
    pub(crate) objects: Vec<Object>,
    /// For each number of boxes the time it took in all, and the pixels around the objects.
    pub(crate) runs: Vec<(Duration, Pixels)>,
}

/// An object and what was found from each number of boxes, the first of which is 1.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) case: String,
    pub(crate) index: usize,
    pub(crate) scores: Vec<Scores>,
}

/// A mask's truth and what is said of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scores {
    pub(crate) dsc: f64,
    pub(crate) predicted_iou: f64,
    pub(crate) agreement: f64,
    pub(crate) expected_dice: f64,
    pub(crate) score: f64,
}

/// Segments objects of the folder's images.
pub(crate) fn measure(
    session: &mut Session,
    folder: &Path,
    images: usize,
    objects: usize,
    boxes: Boxes,
    options: &UncertaintyOptions,
    samples: &[usize],
) -> anyhow::Result<Found> {
    let named = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let cases: Vec<_> = npz::cases(folder)?.into_iter().filter(|path| !named(path).starts_with("3D")).collect();
    let most = samples.iter().copied().max().unwrap_or(1);
    let mut found = Found { runs: vec![Default::default(); samples.len()], ..Found::default() };
    for path in spaced(&cases, images) {
        let (case, truth) = (Case::read(path, &Limits::new())?, Truth::read(path, &Limits::new())?);
        let npz::Boxes::Plane(given) = &case.boxes else { continue };
        found.images += 1;
        let Some(own) = own_labels(&truth.labels, &truth.shape, &case.boxes) else {
            found.left_out += 1;
            continue;
        };
        let image = case.slice(0)?;
        let before = session.stats().encode;
        let embedding = session.encode(&image)?;
        found.encode += session.stats().encode - before;
        let name = named(path);
        let numbers: Vec<usize> = (0..given.len()).collect();
        for &index in spaced(&numbers, objects) {
            let given = match boxes {
                Boxes::Exact => given[index],
                Boxes::Loose => loosen(&given[index], &name, index),
            };
            let object: Vec<bool> = truth.labels.iter().map(|&label| label == own[index]).collect();
            let exact = embedding.frame().to_model(&given, index)?;
            // The first boxes are the same whatever their number: each number's mean is taken on the way.
            let mut ensemble = Ensemble::new(embedding.frame(), options)?;
            let mut scores = vec![None; samples.len()];
            let start = Instant::now();
            let mut aside = Duration::ZERO;
            let prompts: Vec<ModelBox> = jitter(&exact, embedding.frame(), &options.with_samples(most))?.collect();
            session.decode(&embedding, &prompts, |_, logits, predicted_iou| {
                ensemble.add(&logits, predicted_iou);
                let numbered = samples.iter().zip(&mut found.runs).zip(&mut scores);
                for ((_, (time, pixels)), score) in numbered.filter(|((k, _), _)| **k == ensemble.samples()) {
                    let uncertain = ensemble.mean();
                    *time += start.elapsed() - aside;
                    let begin = Instant::now();
                    count(&uncertain, &exact, &object, pixels);
                    *score = Some(Scores::new(&uncertain, &object));
                    aside += begin.elapsed();
                }
            })?;
            let scores = scores.into_iter().collect::<Option<_>>().context("as many boxes as asked for")?;
            found.objects.push(Object { case: name.clone(), index, scores });
        }
        eprint!("\r{} {}: {} images, {} objects", folder.display(), boxes.name(), found.images, found.objects.len());
    }
    eprintln!();
    if found.objects.is_empty() {
        bail!("no image with truth for its boxes");
    }
    Ok(found)
}

/// At most so many of these, evenly spaced.
fn spaced<T>(all: &[T], most: usize) -> impl Iterator<Item = &T> {
    let count = all.len().min(most);
    (0..count).map(move |i| &all[i * all.len() / count])
}

/// Moves the sides of a box outwards, each time by the same.
fn loosen(b: &PixelBox, name: &str, index: usize) -> PixelBox {
    let bytes = name.bytes().chain(index.to_le_bytes());
    let mut state = bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut share = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1u64 << 31) as f64 * LOOSE_SHARE
    };
    let (width, height) = (b.x1 - b.x0, b.y1 - b.y0);
    PixelBox {
        x0: b.x0 - share() * width,
        y0: b.y0 - share() * height,
        x1: b.x1 + share() * width,
        y1: b.y1 + share() * height,
    }
}

impl Scores {
    fn new(found: &Uncertain, object: &[bool]) -> Self {
        let mask = found.mask();
        let both = mask.iter().zip(object).filter(|&(&m, &o)| m == 1 && o).count();
        let sizes = (mask.iter().filter(|&&m| m == 1).count(), object.iter().filter(|&&o| o).count());
        Self {
            dsc: dice(both, sizes.0, sizes.1).unwrap_or(1.0),
            predicted_iou: found.predicted_iou().into(),
            agreement: found.agreement().into(),
            expected_dice: found.expected_dice().into(),
            score: found.score().into(),
        }
    }
}

/// Counts the pixels of the grid within the box, with the truth at their middles.
fn count(found: &Uncertain, within: &ModelBox, object: &[bool], pixels: &mut Pixels) {
    let frame = found.logits().frame();
    let (width, height) = (frame.scaled_width(), frame.scaled_height());
    let at = |i: usize, scaled: usize, side: usize| (2 * i + 1) * side / (2 * scaled);
    for y in within.y0 as usize..(within.y1 as usize + 1).min(height) {
        for x in within.x0 as usize..(within.x1 as usize + 1).min(width) {
            let truth = object[at(y, height, frame.height()) * frame.width() + at(x, width, frame.width())];
            pixels.add(found.logits().values()[y * MODEL_SIDE + x], truth);
        }
    }
}
