//! Real images with boxes, on which two models are compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use umedsam::metrics::{dice, group};
use umedsam::npz::{self, Labelled, Limits};
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::{Embedding, Frame, ModelBox, PixelBox, Session};

use super::QuantizeError;

/// Most objects of an image that are looked at.
const MOST_OBJECTS: usize = 8;
/// Objects of fewer pixels are passed over: a pixel more or less is half of them.
const LEAST_PIXELS: usize = 16;

/// One image, or one slice of a volume, as the network sees it.
#[derive(Debug)]
pub struct Probe {
    /// The file.
    pub path: PathBuf,
    /// The file's name, and the slice.
    pub name: String,
    /// Modality and dimensions.
    pub row: String,
    /// Values of the network's input.
    pub input: Vec<f32>,
    /// Where the image lies on the network's grid.
    pub frame: Frame,
    /// The boxes of its objects.
    pub boxes: Vec<ModelBox>,
}

/// The objects of one model's masks, for each probe and box: which pixels of the 256x256 grid.
pub type Masks = Vec<Vec<Vec<bool>>>;

/// How well masks agree with those of another model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Mean DSC: over objects, then probes of a row, then rows; 0 to 1.
    pub mean: f64,
    /// The least mean DSC of an image, and its name.
    pub worst: (f64, String),
    /// The mean DSC of each image.
    #[serde(skip)]
    pub images: Vec<f64>,
}

/// Probes of a folder of labelled cases: `per_row` cases of each row of the tables, evenly spaced by name; of a volume
/// the slice with the most labelled pixels.
///
/// # Errors
/// [`QuantizeError`] if the folder or a file cannot be read, or there is no object in any.
pub fn read(folder: &Path, per_row: usize) -> Result<Vec<Probe>, QuantizeError> {
    let mut rows: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in npz::cases(folder)? {
        let name = name_of(&path);
        let (modality, dimensions) = group(&name);
        rows.entry(format!("{modality} {dimensions}")).or_default().push(path);
    }
    let mut probes = Vec::new();
    for (row, paths) in rows {
        let count = paths.len().min(per_row);
        for i in 0..count {
            probes.extend(probe(&paths[(2 * i + 1) * paths.len() / (2 * count)], &row)?);
        }
    }
    if probes.is_empty() {
        return Err(QuantizeError::NoObjects { folder: folder.into() });
    }
    Ok(probes)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The probe of one case; none if no object is large enough.
fn probe(path: &Path, row: &str) -> Result<Option<Probe>, QuantizeError> {
    let case = Labelled::read(path, &Limits::new())?;
    let labelled = |z: &usize| case.slice_labels(*z).iter().filter(|&&l| l > 0).count();
    // The first of equals, whatever order `max_by_key` prefers.
    let z = (0..case.depth()).rev().max_by_key(labelled).unwrap_or(0);
    let mut name = name_of(path);
    if case.depth() > 1 {
        name = format!("{name} slice {z}");
    }
    let image = case.slice(z).map_err(|source| QuantizeError::Case { name: name.clone(), source })?;
    let mut input = vec![0.0; INPUT_LEN];
    let frame = Preprocessor::new().preprocess_into(&image, &mut input);
    let mut boxes = Vec::new();
    for pixel_box in boxes_of(case.slice_labels(z), image.width()).into_iter().take(MOST_OBJECTS) {
        let model_box = frame.to_model(&pixel_box, boxes.len());
        boxes.push(model_box.map_err(|source| QuantizeError::Case { name: name.clone(), source })?);
    }
    Ok((!boxes.is_empty()).then(|| Probe { path: path.into(), name, row: row.into(), input, frame, boxes }))
}

/// Boxes around the labels, in ascending order, ends within the object.
fn boxes_of(labels: &[u16], width: usize) -> Vec<PixelBox> {
    let mut found: BTreeMap<u16, (usize, PixelBox)> = BTreeMap::new();
    for (i, &label) in labels.iter().enumerate().filter(|(_, l)| **l > 0) {
        let (x, y) = ((i % width) as f64, (i / width) as f64);
        let (pixels, b) = found.entry(label).or_insert((0, PixelBox::new(x, y, x, y)));
        *pixels += 1;
        *b = PixelBox::new(b.x0.min(x), b.y0.min(y), b.x1.max(x), b.y1.max(y));
    }
    found.into_values().filter(|(pixels, _)| *pixels >= LEAST_PIXELS).map(|(_, b)| b).collect()
}

/// What a session's encoder makes of the probes.
///
/// # Errors
/// Those of the session.
pub fn encode(session: &mut Session, probes: &[Probe]) -> Result<Vec<Embedding>, umedsam::Error> {
    probes.iter().map(|probe| session.encode_input(&probe.input, probe.frame)).collect()
}

/// The masks that a session's decoder finds in them.
///
/// # Errors
/// Those of the session.
pub fn decode(session: &mut Session, probes: &[Probe], encoded: &[Embedding]) -> Result<Masks, umedsam::Error> {
    let mut all = Vec::with_capacity(probes.len());
    for (probe, embedding) in probes.iter().zip(encoded) {
        let mut found = Vec::with_capacity(probe.boxes.len());
        session.decode(embedding, &probe.boxes, |_, logits, _| {
            found.push(logits.values().iter().map(|&v| v > 0.0).collect());
        })?;
        all.push(found);
    }
    Ok(all)
}

/// Compares masks with those that are to be kept.
pub fn agreement(probes: &[Probe], reference: &Masks, masks: &Masks) -> Agreement {
    let mut rows: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut worst = (f64::INFINITY, String::new());
    let mut images = Vec::with_capacity(probes.len());
    for ((probe, reference), masks) in probes.iter().zip(reference).zip(masks) {
        let pairs = reference.iter().zip(masks);
        let mean = mean(&pairs.map(|(a, b)| mask_dice(a, b)).collect::<Vec<_>>());
        if mean < worst.0 {
            worst = (mean, probe.name.clone());
        }
        images.push(mean);
        rows.entry(&probe.row).or_default().push(mean);
    }
    Agreement { mean: mean(&rows.values().map(|row| mean(row)).collect::<Vec<_>>()), worst, images }
}

/// DSC of two masks; two empty ones agree.
fn mask_dice(a: &[bool], b: &[bool]) -> f64 {
    let count = |mask: &[bool]| mask.iter().filter(|&&v| v).count();
    let both = a.iter().zip(b).filter(|&(&a, &b)| a && b).count();
    dice(both, count(a), count(b)).unwrap_or(1.0)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
