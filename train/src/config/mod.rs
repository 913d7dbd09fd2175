//! What a training run is: presets, a TOML file and single settings, laid over each other.

mod check;
mod engine;
mod layers;
mod quantization;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use check::ConfigError;
pub use engine::{Engine, EngineConfig};
pub use layers::{PRESETS, resolve};
pub use quantization::{Floats, QuantizationConfig};
use serde::{Deserialize, Serialize};

use crate::loss::{Term, Weighting};

/// A whole training run but for its files: model, data and folders are given on the command line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Which part of the network is trained, and how it is computed.
    pub model: ModelConfig,
    /// How it is computed on its device.
    pub engine: EngineConfig,
    /// Training for 8 bits.
    pub quantization: QuantizationConfig,
    /// What is drawn from the cases.
    pub data: DataConfig,
    /// What is minimised.
    pub loss: LossConfig,
    /// Sharpness-aware minimisation.
    pub sharp_min: SharpMinConfig,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// When the learning rate falls.
    pub schedule: ScheduleConfig,
    /// Length and pace.
    pub training: TrainingConfig,
    /// How progress is judged.
    pub validation: ValidationConfig,
    /// Embeddings of a frozen encoder, kept on disk.
    pub cache: CacheConfig,
}

/// Which part of the network is trained, and how it is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ModelConfig {
    /// How large the encoder is.
    pub encoder: EncoderSize,
    /// Beginnings of the names of the parameters that are trained. `""` is all of them.
    pub trained: Vec<String>,
    /// What BatchNorm, which is in the encoder only, normalises with.
    pub batch_norm: BatchNorm,
    /// Arithmetic of the forward pass. Losses, gradients and parameters are in f32 always.
    pub arithmetic: Arithmetic,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            encoder: EncoderSize::Lite,
            trained: vec!["mask_decoder.".into()],
            batch_norm: BatchNorm::Frozen,
            arithmetic: Arithmetic::F32,
        }
    }
}

impl ModelConfig {
    /// Whether the parameter or buffer of this name is in the trained part.
    pub fn trains(&self, name: &str) -> bool {
        self.trained.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// How large the encoder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncoderSize {
    /// LiteMedSAM's: 5.7 million parameters, 75 GFLOP an image.
    Lite,
    /// Ours, narrower and with fewer blocks: 3.2 million parameters, 0.35 of the time on a CPU in libtorch. It is learnt
    /// from the other; core cannot run it yet.
    Small,
}

/// What BatchNorm normalises with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNorm {
    /// The running statistics, which stay as they are.
    Frozen,
    /// The batch's statistics; the running ones move once a step.
    Batch,
}

/// Arithmetic of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// Single precision, all of it.
    F32,
    /// As f32, but that a CUDA device may round the operands of its products to 10 bits.
    Tf32,
    /// libtorch's autocast to bfloat16: for CUDA devices; on a CPU it is tested, and slow.
    Bf16,
}

/// What is drawn from the cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DataConfig {
    /// What counts alike in an epoch.
    pub balance: Balance,
    /// Samples of an epoch, over all modalities; of each as many as its cap says if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples_per_epoch: Option<usize>,
    /// Most samples an epoch of a modality, or a row, that has no entry in `caps`.
    pub default_cap: usize,
    /// Most samples an epoch, by modality. Names count without case and hyphens; an entry replaces that of its modality
    /// alone.
    pub caps: BTreeMap<String, usize>,
    /// Probability of drawing one 8-connected component of a label instead of the whole label.
    pub component: f64,
    /// Objects of this many pixels of the 256x256 grid or fewer are not drawn.
    pub min_area: usize,
    /// Probability of drawing a crop around the object instead of the whole picture, of images; volumes are not
    /// zoomed into.
    pub zoom: f64,
    /// Margins of crops, of which one is drawn: in lengths of the object's longer side, on each side. Few of them make
    /// few embeddings.
    pub zoom_margins: Vec<f64>,
    /// Probability of each of the flips, left to right and upside down.
    pub flip: f64,
    /// How far gamma and contrast are changed: by a factor of at most `exp` of it, contrast by that of its half.
    pub tone: f64,
    /// Flips and tones that a case is seen in, so that a frozen encoder need not look at each sample anew; 0 for new
    /// ones every time.
    pub looks: u64,
    /// Each side of the box is moved outwards by 0 to this many pixels of the 256x256 grid.
    pub jitter: u32,
    /// Or by 0 to this share of the box's longer side, where that is more.
    pub jitter_share: f64,
    /// Probability, in volumes, of the box that inference carries on from the slice before: around the label there, with
    /// its margin, cut to the label's box in all slices, instead of around the object.
    pub carried: f64,
    /// Probability, in volumes, of the box that inference begins with: around the label in all of its slices, in a slice near
    /// its middle, as loose as other boxes.
    pub opening: f64,
    /// Probability of a box anywhere, whatever the labels say, in which the teacher's mask is the truth: what it knows of
    /// things without a label is not forgotten. Neither the predicted IoU nor the shape distance learns of them.
    pub unlabelled: f64,
    /// A case that cannot be used: passed over and reported, or the end of the run.
    pub bad_cases: BadCases,
    /// Most memory for images kept between epochs, in GiB; others are read again. Packs are kept whole.
    pub memory_gib: f64,
}

impl Default for DataConfig {
    fn default() -> Self {
        // Table 2's code: caps of the authors' loader.
        let caps = [
            ("X-Ray", 3000),
            ("MR", 3000),
            ("CT", 3000),
            ("PET", 6000),
            ("US", 2000),
            ("OCT", 2000),
            ("Fundus", 2000),
            ("Endoscopy", 2000),
            ("Microscopy", 3000),
            ("Mammography", 2000),
            ("Dermoscopy", 2000),
        ];
        Self {
            balance: Balance::Modality,
            samples_per_epoch: None,
            default_cap: 2000,
            caps: caps.map(|(name, cap)| (name.into(), cap)).into(),
            component: 1.0,
            min_area: 3,
            zoom: 0.0,
            zoom_margins: vec![0.6, 1.0],
            flip: 0.5,
            tone: 0.0,
            looks: 0,
            jitter: 5,
            jitter_share: 0.0,
            carried: 0.0,
            opening: 0.0,
            unlabelled: 0.0,
            bad_cases: BadCases::Skip,
            memory_gib: 4.0,
        }
    }
}

/// What counts alike in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Each modality.
    Modality,
    /// Each row of the tables: images and volumes of a modality apart, so that the few volumes of a modality with many
    /// images are seen as often as these.
    Row,
    /// Each row, and within it the sources by the square roots of their cases, a volume counting once for each of its
    /// labels, so that few cases are neither drowned by many nor drawn as often.
    Source,
}

/// What becomes of a case that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadCases {
    /// Passed over, and named in the report.
    Skip,
    /// The run ends before it begins.
    Fail,
}

/// What is minimised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LossConfig {
    /// The losses.
    pub terms: Vec<Term>,
    /// How they are weighed against each other.
    pub weighting: Weighting,
    /// What each loss is multiplied with where they are weighed equally; 1 if left out.
    pub weights: BTreeMap<Term, f64>,
    /// Learning rate of the learnable uncertainties, which no schedule lowers: the step of ln s, or of c.
    pub learning_rate: f64,
    /// Least uncertainty, s or c: a loss is multiplied with half of one over its square at the most.
    pub least_sigma: f64,
    /// Weight decay of the learnable uncertainties.
    pub weight_decay: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        let terms = vec![Term::Dice, Term::Bce, Term::ShapeDistance, Term::Iou];
        Self {
            terms,
            weighting: Weighting::Kendall,
            weights: BTreeMap::new(),
            learning_rate: 0.05,
            least_sigma: 0.1,
            weight_decay: 0.0,
        }
    }
}

/// Sharpness-aware minimisation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SharpMinConfig {
    /// Whether, and which.
    pub kind: Sharpness,
    /// Radius of the neighbourhood; 0.05 for SAM, about ten times as much for ASAM.
    pub rho: f64,
    /// ASAM's stabiliser, added to the magnitude of each parameter.
    pub eta: f64,
}

impl Default for SharpMinConfig {
    fn default() -> Self {
        Self { kind: Sharpness::Sam, rho: 0.05, eta: 0.01 }
    }
}

/// Kind of sharpness-aware minimisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharpness {
    /// The base optimizer alone.
    Off,
    /// Foret et al. 2020.
    Sam,
    /// Kwon et al. 2021: the neighbourhood scales with each parameter.
    Asam,
}

/// AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Weight decay of the network's parameters.
    pub weight_decay: f64,
    /// What a step leaves of the moving average of the parameters, which is then what is validated and written; 0 for
    /// the parameters themselves.
    pub average: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self { learning_rate: 5e-5, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01, average: 0.0 }
    }
}

/// ReduceLROnPlateau.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// What must improve.
    pub watch: Watch,
    /// What the learning rate is multiplied with.
    pub factor: f64,
    /// Epochs without improvement that are borne.
    pub patience: u32,
    /// Epochs after a reduction in which none are counted.
    pub cooldown: u32,
    /// The learning rate falls no lower.
    pub min_learning_rate: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { watch: Watch::Training, factor: 0.9, patience: 5, cooldown: 0, min_learning_rate: 0.0 }
    }
}

/// What the schedule watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watch {
    /// The mean of the total loss over the epoch.
    Training,
    /// The validation DSC.
    Validation,
}

/// Length and pace.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Passes over the samples; 0 only measures the model as it is.
    pub epochs: u64,
    /// Samples that go through the network together.
    pub batch: usize,
    /// Batches whose gradients are averaged into one step.
    pub accumulation: usize,
    /// All randomness comes from it.
    pub seed: u64,
    /// Threads that prepare samples.
    pub workers: usize,
    /// The state is saved every so many steps, besides the end of each epoch; 0 for the end only.
    pub checkpoint_steps: u64,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self { epochs: 135, batch: 2, accumulation: 1, seed: 0, workers: 2, checkpoint_steps: 500 }
    }
}

/// How progress is judged: exact boxes around whole labels, DSC on the network's 256x256 grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ValidationConfig {
    /// Epochs from one validation to the next.
    pub every: u64,
    /// Slices of a volume that are looked at, evenly spaced.
    pub slices_per_volume: usize,
    /// Labels of a slice that are looked at, evenly spaced.
    pub labels_per_slice: usize,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self { every: 1, slices_per_volume: 4, labels_per_slice: 8 }
    }
}

/// Embeddings of a frozen encoder, kept on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Whether, and in which type.
    pub kind: CacheKind,
    /// Where; `umedsam/embeddings` in the user's cache folder if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Most bytes that it may grow to, in GiB.
    pub max_gib: f64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { kind: CacheKind::F16, folder: None, max_gib: 20.0 }
    }
}

/// Type of the embeddings on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheKind {
    /// Nothing is kept.
    Off,
    /// Half precision, 2 MiB an image. Every embedding is rounded to it, cached or fresh, so that a run does not depend
    /// on what the cache held.
    F16,
    /// 4 MiB an image, to the bit.
    F32,
}
