//! The configuration of a training run: a preset, then a TOML file, then single settings, each of which overrides the
//! ones before.

mod check;
mod engine;
mod layers;
mod quantization;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use check::ConfigError;
pub use engine::{Engine, EngineConfig};
pub use layers::{PRESETS, resolve};
pub use quantization::QuantizationConfig;
use serde::{Deserialize, Serialize};

use crate::loss::{Term, Weighting};

/// The configuration of a training run. The files of the model and the data, and the folders, are given on the command
/// line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Which part of the network is trained, and in which precision.
    pub model: ModelConfig,
    /// How the network is computed on its device.
    pub engine: EngineConfig,
    /// Quantization-aware training.
    pub quantization: QuantizationConfig,
    /// How samples are drawn from the cases.
    pub data: DataConfig,
    /// The losses.
    pub loss: LossConfig,
    /// Sharpness-aware minimisation.
    pub sharp_min: SharpMinConfig,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The learning rate's schedule.
    pub schedule: ScheduleConfig,
    /// Epochs, batches and the seed.
    pub training: TrainingConfig,
    /// How the network is validated during training.
    pub validation: ValidationConfig,
    /// The cache of a frozen encoder's embeddings on disk.
    pub cache: CacheConfig,
}

/// Which part of the network is trained, and in which precision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ModelConfig {
    /// The size of the encoder.
    pub encoder: EncoderSize,
    /// Prefixes of the names of the parameters that are trained; `""` selects all of them.
    pub trained: Vec<String>,
    /// Which statistics BatchNorm normalises with. Only the encoder has it.
    pub batch_norm: BatchNorm,
    /// The precision of the forward pass. Losses, gradients and parameters are in f32 always.
    pub precision: Precision,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            encoder: EncoderSize::Lite,
            trained: vec!["mask_decoder.".into()],
            batch_norm: BatchNorm::Frozen,
            precision: Precision::F32,
        }
    }
}

impl ModelConfig {
    /// Whether the parameter or buffer of this name is in the trained part.
    pub fn trains(&self, name: &str) -> bool {
        self.trained.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// The size of the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncoderSize {
    /// LiteMedSAM's encoder: 5.7 million parameters, 75 GFLOP an image.
    Lite,
    /// A narrower encoder with fewer blocks: 3.2 million parameters, 0.35 of the time on a CPU in libtorch. It is
    /// trained by distillation from the other; the library `umedsam` cannot run it yet.
    Small,
}

/// The statistics that BatchNorm normalises with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNorm {
    /// The running statistics, which are not updated.
    Frozen,
    /// The statistics of the batch; the running statistics are updated once a step.
    Batch,
}

/// The precision that libtorch computes the forward pass in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// IEEE single precision throughout.
    F32,
    /// As f32, but a CUDA device may round the operands of its matrix products to TF32 (10 bits of mantissa).
    Tf32,
    /// bfloat16 by libtorch's autocast (mixed precision). It is meant for CUDA devices; on a CPU it is tested, but
    /// slow.
    Bf16,
}

/// How samples are drawn from the cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DataConfig {
    /// The groups of cases among which the samples of an epoch are shared evenly, as far as their caps allow.
    pub balance: Balance,
    /// Number of samples of an epoch, over all modalities. If left out, each modality has as many as its cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples_per_epoch: Option<usize>,
    /// Greatest number of samples an epoch of a modality, or of a row, that has no entry in `caps`.
    pub default_cap: usize,
    /// Greatest number of samples an epoch, by modality. Case and hyphens of the names are ignored; an entry replaces
    /// the default of its own modality only.
    pub caps: BTreeMap<String, usize>,
    /// Probability of drawing one 8-connected component of a label instead of the whole label.
    pub component: f64,
    /// Objects of at most this many pixels of the 256x256 grid are not drawn.
    pub min_area: usize,
    /// Probability of drawing a crop around the object instead of the whole image. Volumes are not cropped.
    pub zoom: f64,
    /// Margins of crops on each side, in multiples of the object's longer side; one is drawn for each crop. Few margins
    /// make few embeddings.
    pub zoom_margins: Vec<f64>,
    /// Probability of a horizontal flip, and of a vertical one.
    pub flip: f64,
    /// How far gamma and contrast are changed: gamma by a factor of at most `exp(tone)`, contrast by one of at most
    /// `exp(tone / 2)`.
    pub tone: f64,
    /// The picture is turned by at most this many degrees, either way; not where a volume's box is more than its slice shows.
    pub turn: f64,
    /// The picture is enlarged or shrunk around the object by a factor of at most `exp(scale)`, on a canvas that stays.
    pub scale: f64,
    /// The object is moved by at most this share of the picture's width, and of its height.
    pub shift: f64,
    /// Number of combinations of flip, tone and view that a case is seen in, which bounds the embeddings of a frozen encoder;
    /// 0 draws new ones for every sample.
    pub looks: u64,
    /// Each side of the box is moved outwards by 0 to this many pixels of the 256x256 grid, or to `jitter_share` if
    /// that is more.
    pub jitter: u32,
    /// The greatest movement of a side as a share of the box's longer side.
    pub jitter_share: f64,
    /// Probability that no side of the box is moved. Without it a box that fits exactly is never seen, and the network takes
    /// boxes for looser than they are.
    pub exact: f64,
    /// Probability, in volumes, that the box is the one that inference carries on from the slice before: around the
    /// label in that slice, with its margin, cut to the label's box in all slices, instead of around the object.
    pub carried: f64,
    /// Probability, in volumes, that the box is the one that inference begins with: around the label in all of its slices, in
    /// a slice near its middle, moved outwards as other boxes are.
    pub opening: f64,
    /// Probability of a box anywhere, whatever the labels say, in which the teacher's mask is the truth, so that what it
    /// knows of things without a label is not forgotten. The predicted IoU and the shape distance don't learn from it.
    pub unlabelled: f64,
    /// Sources whose cases are left out: the third part of a file's name, `Aorta` of `2DBox_CT_Aorta_10002.npz`. Validation
    /// leaves out none.
    pub without: Vec<String>,
    /// What is done about cases that cannot be used.
    pub bad_cases: BadCases,
    /// Greatest memory for images that are kept between epochs, in GiB; others are read again. Packs are kept whole.
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
            turn: 0.0,
            scale: 0.0,
            shift: 0.0,
            looks: 0,
            jitter: 5,
            jitter_share: 0.0,
            exact: 0.0,
            carried: 0.0,
            opening: 0.0,
            unlabelled: 0.0,
            without: Vec::new(),
            bad_cases: BadCases::Skip,
            memory_gib: 4.0,
        }
    }
}

/// The groups of cases among which the samples of an epoch are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// The modalities.
    Modality,
    /// The rows of the tables: images and volumes of a modality are separate, so that the few volumes of a modality
    /// with many images are drawn as often as these.
    Row,
    /// Each row, and within it the sources by the square roots of their cases, a volume counting once for each of its
    /// labels, so that few cases are neither drowned by many nor drawn as often.
    Source,
}

/// What is done about cases that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadCases {
    /// They are skipped, and named in the report.
    Skip,
    /// The run ends before it begins.
    Fail,
}

/// The losses and how they are weighed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LossConfig {
    /// The losses that are minimised.
    pub terms: Vec<Term>,
    /// How they are weighed against each other.
    pub weighting: Weighting,
    /// Factors of the losses under equal weighting; a loss that is left out has the factor 1.
    pub weights: BTreeMap<Term, f64>,
    /// Learning rate of the learnable uncertainties: of ln s under one weighting, of c under the other. The schedule
    /// does not lower it.
    pub learning_rate: f64,
    /// Least uncertainty, s or c. It bounds the factor of a loss, which is `1 / (2 s^2)`.
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
    /// The method, or `off`.
    pub kind: Sharpness,
    /// Radius of the neighbourhood. Usual values are 0.05 for SAM and about ten times as much for ASAM.
    pub rho: f64,
    /// ASAM's stabiliser, added to the magnitude of each parameter.
    pub eta: f64,
}

impl Default for SharpMinConfig {
    fn default() -> Self {
        Self { kind: Sharpness::Sam, rho: 0.05, eta: 0.01 }
    }
}

/// A method of sharpness-aware minimisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharpness {
    /// None: the base optimizer alone.
    Off,
    /// SAM (Foret et al. 2020).
    Sam,
    /// ASAM (Kwon et al. 2021), whose neighbourhood scales with each parameter.
    Asam,
}

/// The optimizer, AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Decay rate of the first moment.
    pub beta1: f64,
    /// Decay rate of the second moment.
    pub beta2: f64,
    /// Epsilon, which is added to the root of the second moment.
    pub epsilon: f64,
    /// Weight decay of the network's parameters.
    pub weight_decay: f64,
    /// Factor of the learning rate from one part of the network to the one before it: the decoders have the learning rate
    /// itself, the encoder's neck this factor of it, the last stage the factor's square, and so on to the first.
    pub layer_decay: f64,
    /// Decay rate of the exponential moving average of the parameters, which is validated and written in their place; 0
    /// turns averaging off.
    pub average: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            learning_rate: 5e-5,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            layer_decay: 1.0,
            average: 0.0,
        }
    }
}

/// The learning rate's schedule: ReduceLROnPlateau, and if asked for a warm-up at the beginning and a fall at the end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// The quantity that must improve.
    pub watch: Watch,
    /// Factor of each reduction.
    pub factor: f64,
    /// Number of epochs without improvement after which the next one reduces the learning rate.
    pub patience: u32,
    /// Number of epochs after a reduction that are not counted as epochs without improvement.
    pub cooldown: u32,
    /// Least learning rate.
    pub min_learning_rate: f64,
    /// Number of first steps over which the learning rate rises evenly to what it is then.
    pub warm_up: u64,
    /// Part of the run, at its end, over which the learning rate falls to 0 along half a cosine: 0 never, 1 from the start
    /// on. The run ends at its last epoch or, if that comes first, at its deadline.
    pub fall: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            watch: Watch::Training,
            factor: 0.9,
            patience: 5,
            cooldown: 0,
            min_learning_rate: 0.0,
            warm_up: 0,
            fall: 0.0,
        }
    }
}

impl ScheduleConfig {
    /// What the learning rate is multiplied with after `steps` steps, where the part `over` (0 to 1) of the run is over.
    #[must_use]
    pub fn rate(&self, steps: u64, over: f64) -> f64 {
        let rise = if steps < self.warm_up { (steps + 1) as f64 / (self.warm_up + 1) as f64 } else { 1.0 };
        let fallen = 1.0 - (1.0 - over) / self.fall;
        let fall = if fallen > 0.0 { f64::midpoint(1.0, (std::f64::consts::PI * fallen.min(1.0)).cos()) } else { 1.0 };
        rise * fall
    }
}

/// The quantity that the schedule watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watch {
    /// The mean of the total loss over the epoch.
    Training,
    /// The validation DSC.
    Validation,
}

/// Epochs, batches and the seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Number of epochs; 0 only validates the model as it is.
    pub epochs: u64,
    /// Number of samples in a batch.
    pub batch: usize,
    /// Number of batches whose gradients are averaged into one step.
    pub accumulation: usize,
    /// Seed of all randomness.
    pub seed: u64,
    /// Number of threads that prepare samples.
    pub workers: usize,
    /// Number of steps after which the state is saved, besides at the end of each epoch; 0 saves it there only.
    pub checkpoint_steps: u64,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self { epochs: 135, batch: 2, accumulation: 1, seed: 0, workers: 2, checkpoint_steps: 500 }
    }
}

/// How the network is validated during training: by exact boxes around whole labels, and the DSC on the 256x256 grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ValidationConfig {
    /// Number of epochs from one validation to the next.
    pub every: u64,
    /// Number of slices of a volume that are validated, evenly spaced.
    pub slices_per_volume: usize,
    /// Number of labels of a slice that are validated, evenly spaced.
    pub labels_per_slice: usize,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self { every: 1, slices_per_volume: 4, labels_per_slice: 8 }
    }
}

/// The cache of a frozen encoder's embeddings on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct CacheConfig {
    /// The number format of the embeddings, or `off`.
    pub kind: CacheKind,
    /// The folder; `umedsam/embeddings` in the user's cache folder if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Greatest size of the cache, in GiB.
    pub max_gib: f64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { kind: CacheKind::F16, folder: None, max_gib: 20.0 }
    }
}

/// The number format of the embeddings on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheKind {
    /// None: no embedding is kept.
    Off,
    /// IEEE half precision, 2 MiB an image. Every embedding is rounded to it, whether it comes from the cache or not,
    /// so that a run does not depend on what the cache contained.
    F16,
    /// IEEE single precision, 4 MiB an image, exact.
    F32,
}
