//! Scores of the network on cases of known truth, by the procedure that devices follow.
//!
//! Everything but the network is core's: preprocessing, masks, the way through a volume, scores and tables. What is
//! found here is what `umedsam eval` finds for the exported model, up to rounding in the network.
//!
//! ```no_run
//! use tch::{Device, nn};
//! use umedsam_train::config::{Precision, CacheConfig, CacheKind};
//! use umedsam_train::encoder::FrozenEncoder;
//! use umedsam_train::evaluate::{EvaluateOptions, evaluate};
//! use umedsam_train::model::{LiteMedSam, load};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let vs = nn::VarStore::new(Device::cuda_if_available());
//! let model = LiteMedSam::new(&vs.root());
//! load(&vs, "lite-medsam.safetensors".as_ref())?;
//! let cache = CacheConfig { kind: CacheKind::Off, ..CacheConfig::default() };
//! let mut encoder = FrozenEncoder::new(&vs, Precision::F32, &cache)?;
//! let cases = umedsam::npz::cases("val".as_ref())?;
//! let progress = |done, total| eprintln!("{done} of {total}");
//! let evaluation = evaluate(&model, &mut encoder, &cases, &EvaluateOptions::new(), progress)?;
//! println!("{}", evaluation.report);
//! # Ok(()) }
//! ```

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rand::RngExt;
use tch::Tensor;
use umedsam::metrics::{Calibration, CaseScore, Report, on_all_cores};
use umedsam::npz::{Boxes, Case, Limits, NpzError, Truth};
use umedsam::postprocess::LOGITS_LEN;
use umedsam::resize::Resizer;
use umedsam::volume::{Propagation, SliceNetwork, Start};
use umedsam::{Error, Frame, ImageView, MaskLogits, ModelBox, PixelBox};

use crate::data::{self, Picture};
use crate::encoder::{EncoderError, FrozenEncoder};
use crate::model::LiteMedSam;

/// How cases are evaluated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EvaluateOptions {
    /// Boxes that go through the decoder together.
    pub boxes_per_pass: usize,
    /// Embeddings (4 MiB each, on the network's device) kept of a volume's slices that are needed twice; others are
    /// encoded twice.
    pub kept_slices: usize,
    /// Whether a case that fails is passed over instead of ending the evaluation.
    pub skip_failing: bool,
    /// Boxes as a hasty person draws them, by this seed: each side within the plane is moved outwards by 0 to
    /// [`LOOSE_SHARE`] of the box, uniformly. Exact boxes if left out.
    pub loose: Option<u64>,
}

/// Most that a side of a loose box is moved, as a share of the box's width or height.
pub const LOOSE_SHARE: f64 = 0.1;

impl EvaluateOptions {
    /// 16 boxes at a time, 128 slices kept, exact boxes, an end at the first case that fails.
    pub const fn new() -> Self {
        Self { boxes_per_pass: 16, kept_slices: 128, skip_failing: false, loose: None }
    }

    /// With this number of boxes decoded together; 0 counts as 1.
    #[must_use]
    pub fn with_boxes_per_pass(self, boxes_per_pass: usize) -> Self {
        Self { boxes_per_pass: boxes_per_pass.max(1), ..self }
    }

    /// With this number of slices kept.
    #[must_use]
    pub const fn with_kept_slices(self, kept_slices: usize) -> Self {
        Self { kept_slices, ..self }
    }

    /// With loose boxes by this seed.
    #[must_use]
    pub const fn with_loose(self, loose: Option<u64>) -> Self {
        Self { loose, ..self }
    }

    /// Passing over cases that fail, or not.
    #[must_use]
    pub const fn with_skip_failing(self, skip_failing: bool) -> Self {
        Self { skip_failing, ..self }
    }
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a case cannot be evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// A file that cannot be read, or holds no truth that is of its boxes.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// A truth that is not of the image's size.
    #[error("{}: gts has shape {truth:?}, imgs {image:?} without channels", path.display())]
    Shape {
        /// The case.
        path: PathBuf,
        /// Shape of the truth.
        truth: Vec<usize>,
        /// Shape of the image, (H,W), or of the volume, (D,H,W).
        image: Vec<usize>,
    },
    /// A case that cannot be segmented.
    #[error("{}: {error}", path.display())]
    Segment {
        /// The case.
        path: PathBuf,
        /// Why.
        #[source]
        error: EncoderError,
    },
}

/// What an evaluation found.
#[derive(Debug)]
#[non_exhaustive]
pub struct Evaluation {
    /// Scores of the cases, in their order, and of the modalities.
    pub report: Report,
    /// What the network said of its masks, and what was true, object by object; of an object in a volume the mean over
    /// its slices, and the whole of it.
    pub confidence: Vec<Confidence>,
    /// The cases that were passed over, which count in no score.
    pub failures: Vec<EvaluateError>,
}

impl Evaluation {
    /// Whether the predicted IoU is worth reading.
    pub fn calibration(&self) -> Option<Calibration> {
        self.calibration_by((1.0, 0.0))
    }

    /// The same if the network predicted `slope * iou + intercept` instead.
    pub fn calibration_by(&self, (slope, intercept): (f64, f64)) -> Option<Calibration> {
        let predicted = |c: &Confidence| slope * c.predicted + intercept;
        Calibration::new(&self.confidence.iter().map(|c| (predicted(c), c.truth)).collect::<Vec<_>>())
    }
}

/// The network's own estimate of a mask, beside the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confidence {
    /// Predicted IoU.
    pub predicted: f64,
    /// IoU of the mask and the object.
    pub truth: f64,
}

/// Segments every case and scores it against its `gts`; tells `progress` of the cases segmented and the cases in all.
///
/// `encoder` is made of the network's variables. The network runs on the calling thread, BatchNorm by its running
/// statistics, without gradients; scores are computed beside it on all cores.
pub fn evaluate(
    model: &LiteMedSam,
    encoder: &mut FrozenEncoder,
    cases: &[PathBuf],
    options: &EvaluateOptions,
    mut progress: impl FnMut(usize, usize),
) -> Result<Evaluation, EvaluateError> {
    let mut segmenter = Segmenter::new(model, encoder, options);
    let (mut failures, mut confidence) = (Vec::new(), Vec::new());
    let mut results = cases.iter().zip(1..).map(|(path, done)| {
        let result = Segmented::new(&mut segmenter, path);
        progress(done, cases.len());
        result
    });
    let segmented = std::iter::from_fn(|| {
        loop {
            match results.next()? {
                Ok((case, own)) => {
                    confidence.extend(own);
                    return Some(case);
                }
                Err(error) => failures.push(error),
            }
            if !options.skip_failing {
                return None;
            }
        }
    });
    let scores = on_all_cores(segmented, |case| case.score());
    if !options.skip_failing
        && let Some(error) = failures.pop()
    {
        return Err(error);
    }
    Ok(Evaluation { report: Report::new(scores), confidence, failures })
}

/// A case ready to be scored.
struct Segmented {
    name: String,
    truth: Truth,
    labels: Vec<u16>,
}

impl Segmented {
    fn new(segmenter: &mut Segmenter<'_>, path: &Path) -> Result<(Self, Vec<Confidence>), EvaluateError> {
        let limits = Limits::new();
        let (truth, mut case) = (Truth::read(path, &limits)?, Case::read(path, &limits)?);
        if truth.shape != case.shape.labels() {
            return Err(EvaluateError::Shape { path: path.into(), truth: truth.shape, image: case.shape.labels() });
        }
        truth.of_boxes()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(seed) = segmenter.loose {
            loosen(&mut case.boxes, seed, &name);
        }
        let (labels, confidence) = segmenter
            .segment(&case, &truth.labels)
            .map_err(|error| EvaluateError::Segment { path: path.into(), error })?;
        Ok((Self { name, truth, labels }, confidence))
    }

    fn score(&self) -> CaseScore {
        CaseScore::new(&self.name, &self.truth.labels, &self.labels, &self.truth.shape, self.truth.spacing)
    }
}

/// Intersection over union of a label in two maps; 1 where neither has it.
fn iou(found: &[u16], truth: &[u16], label: u16) -> f64 {
    let both = found.iter().zip(truth).map(|(&f, &t)| (f == label, t == label));
    let (shared, all) = both.fold((0, 0), |(i, u), (f, t)| (i + usize::from(f && t), u + usize::from(f || t)));
    if all == 0 { 1.0 } else { shared as f64 / all as f64 }
}

/// Moves the sides of boxes outwards; each box of each case by the same every time.
fn loosen(boxes: &mut Boxes, seed: u64, name: &str) {
    let rng = &mut data::named_random(seed, name);
    let mut loosen = |b: &mut PixelBox| {
        let (width, height) = (b.x1 - b.x0, b.y1 - b.y0);
        let mut share = || rng.random_range(0.0..=LOOSE_SHARE);
        let [left, top, right, bottom] = [share(), share(), share(), share()];
        *b = PixelBox::new(b.x0 - left * width, b.y0 - top * height, b.x1 + right * width, b.y1 + bottom * height);
    };
    match boxes {
        Boxes::Plane(boxes) => boxes.iter_mut().for_each(loosen),
        Boxes::Volume(boxes) => boxes.iter_mut().for_each(|b| loosen(&mut b.plane)),
    }
}

/// The network as it is trained, and buffers for what goes in and out.
struct Segmenter<'m> {
    model: &'m LiteMedSam,
    encoder: &'m mut FrozenEncoder,
    boxes_per_pass: usize,
    kept_slices: usize,
    loose: Option<u64>,
    resizer: Resizer,
    logits: Vec<f32>,
}

impl<'m> Segmenter<'m> {
    fn new(model: &'m LiteMedSam, encoder: &'m mut FrozenEncoder, options: &EvaluateOptions) -> Self {
        Self {
            model,
            encoder,
            boxes_per_pass: options.boxes_per_pass.max(1),
            kept_slices: options.kept_slices,
            loose: options.loose,
            resizer: Resizer::new(),
            logits: Vec::new(),
        }
    }

    /// The label map of a case, (H,W) or (D,H,W): label `i + 1` for box `i`, and how sure the network is of each. Of
    /// objects that overlap, the later one is seen.
    fn segment(&mut self, case: &Case, truth: &[u16]) -> Result<(Vec<u16>, Vec<Confidence>), EncoderError> {
        let _guard = tch::no_grad_guard();
        let shape = case.shape;
        match &case.boxes {
            Boxes::Plane(boxes) => {
                let max = usize::from(u16::MAX);
                if boxes.len() > max {
                    return Err(Error::TooManyBoxes { count: boxes.len(), max }.into());
                }
                let frame = Frame::new(shape.width, shape.height)?;
                let boxes: Vec<ModelBox> =
                    boxes.iter().enumerate().map(|(i, b)| frame.to_model(b, i)).collect::<Result<_, _>>()?;
                let mut labels = vec![0; shape.width * shape.height];
                let mut confidence = Vec::with_capacity(boxes.len());
                let mut alone = vec![0; labels.len()];
                let embedding = self.encode(&case.slice(0)?)?;
                self.decode(&embedding, &boxes, |i, logits, predicted| {
                    let label = (i + 1) as u16;
                    logits.paint(label, &mut labels);
                    alone.fill(0);
                    logits.paint(label, &mut alone);
                    confidence.push(Confidence { predicted: predicted.into(), truth: iou(&alone, truth, label) });
                })?;
                Ok((labels, confidence))
            }
            Boxes::Volume(boxes) => {
                let way = Propagation::new(boxes, shape.volume())?;
                let kept = self.kept_slices;
                let found = way.run(&mut Slices { segmenter: self, case }, Start::Surest, kept, |_, _| {
                    ControlFlow::Continue(())
                })?;
                let confidence = found.predicted_iou.iter().zip(1..).map(|(&predicted, label)| Confidence {
                    predicted: predicted.into(),
                    truth: iou(&found.labels, truth, label),
                });
                let confidence = confidence.collect();
                Ok((found.labels, confidence))
            }
        }
    }

    fn encode(&mut self, image: &ImageView<'_>) -> Result<Embedding, EncoderError> {
        let picture = Picture::new(image, &mut self.resizer);
        Ok(Embedding { values: self.encoder.embed(self.model, &picture)?, frame: image.frame() })
    }

    fn decode(
        &mut self,
        embedding: &Embedding,
        boxes: &[ModelBox],
        mut take: impl FnMut(usize, MaskLogits<'_>, f32),
    ) -> Result<(), EncoderError> {
        let mut iou = vec![0.0f32; self.boxes_per_pass];
        for (pass, first) in boxes.chunks(self.boxes_per_pass).zip((0..).step_by(self.boxes_per_pass)) {
            let coordinates: Vec<f32> = pass.iter().flat_map(|b| b.to_array()).collect();
            let prompts = Tensor::from_slice(&coordinates).view([-1, 4]).to_device(embedding.values.device());
            let (logits, predicted) = self.model.decode(&embedding.values, &prompts);
            self.logits.resize(pass.len() * LOGITS_LEN, 0.0);
            logits.copy_data(&mut self.logits, pass.len() * LOGITS_LEN);
            predicted.copy_data(&mut iou, pass.len());
            for ((logits, &iou), index) in self.logits.chunks_exact(LOGITS_LEN).zip(&iou).zip(first..) {
                // Unnoticed, NaN would look like an empty mask.
                let logits = MaskLogits::new(logits, embedding.frame);
                if !iou.is_finite() || !logits.is_finite() {
                    return Err(Error::NotFinite { index }.into());
                }
                take(index, logits, iou);
            }
        }
        Ok(())
    }
}

/// An encoded image, on the network's device.
struct Embedding {
    values: Tensor,
    frame: Frame,
}

/// The slices of a volume.
struct Slices<'s, 'm> {
    segmenter: &'s mut Segmenter<'m>,
    case: &'s Case,
}

impl SliceNetwork for Slices<'_, '_> {
    type Embedding = Embedding;
    type Error = EncoderError;

    fn encode(&mut self, z: usize, _spare: Option<Embedding>) -> Result<Embedding, EncoderError> {
        self.segmenter.encode(&self.case.slice(z)?)
    }

    fn decode(
        &mut self,
        embedding: &Embedding,
        boxes: &[ModelBox],
        take: impl FnMut(usize, MaskLogits<'_>, f32),
    ) -> Result<(), EncoderError> {
        self.segmenter.decode(embedding, boxes, take)
    }
}
