//! Bounds of the configuration.

use std::path::PathBuf;

use super::{BatchNorm, Config, LossConfig, PRESETS, Precision, Watch};
use crate::data::Modality;
use crate::loss::Weighting;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no preset of this name.
    #[error("no preset '{name}'; there are {}", PRESETS.map(|(name, _)| name).join(", "))]
    Preset {
        /// The name given.
        name: String,
    },
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The text is not TOML.
    #[error("{source_name}: {message}")]
    Syntax {
        /// The file or the setting.
        source_name: String,
        /// The parser's error.
        message: String,
    },
    /// A setting is not of the form `section.key=value`.
    #[error("setting '{0}': section.key=value expected")]
    Setting(String),
    /// A field does not exist, or a value is of another type.
    #[error("configuration: {0}")]
    Field(String),
    /// A value is out of its range.
    #[error("{field} is {value}; {expected} expected")]
    Value {
        /// The section and the key.
        field: &'static str,
        /// The value given.
        value: String,
        /// The values that are accepted, in words.
        expected: &'static str,
    },
}

impl Config {
    /// Checks that every value is within its range.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first value out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Self {
            model,
            engine,
            quantization,
            data,
            loss,
            sharp_min,
            optimizer,
            schedule,
            training,
            validation,
            cache,
        } = self;
        field("model.trained", &model.trained, "at least one name", !model.trained.is_empty())?;
        let folds = !quantization.enabled || model.batch_norm == BatchNorm::Frozen;
        field("model.batch-norm", model.batch_norm, "frozen, as a model in 8 bits has it in its weights", folds)?;
        let own = !quantization.enabled || model.precision == Precision::F32;
        field("model.precision", model.precision, "f32, as quantization has a precision of its own", own)?;
        let simulated = quantization.precision != Precision::Tf32;
        field("quantization.precision", quantization.precision, "f32 or bf16", simulated)?;
        field("engine.read-every", engine.read_every, "at least 1", engine.read_every != Some(0))?;
        let keep = &quantization.keep;
        field("quantization.keep", keep, "names", keep.iter().all(|name| !name.is_empty()))?;
        field("data.samples-per-epoch", data.samples_per_epoch, "at least 1", data.samples_per_epoch != Some(0))?;
        let spelled: Vec<Modality> = data.caps.keys().map(|name| Modality::new(name)).collect();
        let once = spelled.iter().enumerate().all(|(i, name)| !spelled[..i].contains(name));
        field("data.caps", &data.caps, "each modality once", once)?;
        share("data.component", data.component)?;
        share("data.zoom", data.zoom)?;
        let margins = &data.zoom_margins;
        let bounded = !margins.is_empty() && margins.iter().all(|m| (0.0..=4.0).contains(m));
        field("data.zoom-margins", margins, "at least one, each 0 to 4", bounded)?;
        share("data.flip", data.flip)?;
        field("data.tone", data.tone, "0 to 2", (0.0..=2.0).contains(&data.tone))?;
        field("data.turn", data.turn, "0 to 180", (0.0..=180.0).contains(&data.turn))?;
        field("data.scale", data.scale, "0 to 2", (0.0..=2.0).contains(&data.scale))?;
        field("data.shift", data.shift, "0 to 0.5", (0.0..=0.5).contains(&data.shift))?;
        field("data.jitter", data.jitter, "0 to 255", data.jitter < 256)?;
        share("data.jitter-share", data.jitter_share)?;
        share("data.exact", data.exact)?;
        share("data.carried", data.carried)?;
        share("data.opening", data.opening)?;
        share("data.unlabelled", data.unlabelled)?;
        let taught = data.unlabelled == 0.0 || loss.terms.iter().any(|term| term.asks_teacher());
        field("data.unlabelled", data.unlabelled, "0, as no loss in loss.terms asks a teacher", taught)?;
        field("data.memory-gib", data.memory_gib, "0 or more", data.memory_gib >= 0.0)?;
        let LossConfig { terms, learning_rate, least_sigma, weight_decay, .. } = loss;
        let distinct = terms.iter().enumerate().all(|(i, term)| !terms[..i].contains(term));
        field("loss.terms", terms, "at least one, each once", !terms.is_empty() && distinct)?;
        let weights = &loss.weights;
        let fit = weights.iter().all(|(term, &w)| terms.contains(term) && w > 0.0 && w.is_finite());
        field("loss.weights", weights, "numbers above 0, of losses in loss.terms", fit)?;
        let plain = weights.is_empty() || loss.weighting == Weighting::Equal;
        field("loss.weights", weights, "none, unless loss.weighting is equal", plain)?;
        positive("loss.learning-rate", *learning_rate)?;
        field("loss.least-sigma", *least_sigma, "above 0, below 1", *least_sigma > 0.0 && *least_sigma < 1.0)?;
        field("loss.weight-decay", *weight_decay, "0 to below 1", (0.0..1.0).contains(weight_decay))?;
        positive("sharp-min.rho", sharp_min.rho)?;
        field("sharp-min.eta", sharp_min.eta, "0 or more", sharp_min.eta >= 0.0 && sharp_min.eta.is_finite())?;
        positive("optimizer.learning-rate", optimizer.learning_rate)?;
        field("optimizer.beta1", optimizer.beta1, "0 to below 1", (0.0..1.0).contains(&optimizer.beta1))?;
        field("optimizer.beta2", optimizer.beta2, "0 to below 1", (0.0..1.0).contains(&optimizer.beta2))?;
        positive("optimizer.epsilon", optimizer.epsilon)?;
        let decay = optimizer.weight_decay;
        field("optimizer.weight-decay", decay, "0 to below 1", (0.0..1.0).contains(&decay))?;
        let layers = optimizer.layer_decay;
        field("optimizer.layer-decay", layers, "above 0, at most 1", layers > 0.0 && layers <= 1.0)?;
        let average = optimizer.average;
        field("optimizer.average", average, "0 to below 1", (0.0..1.0).contains(&average))?;
        let factor = schedule.factor;
        field("schedule.factor", factor, "above 0, below 1", factor > 0.0 && factor < 1.0)?;
        let least = schedule.min_learning_rate;
        field("schedule.min-learning-rate", least, "0 or more", least >= 0.0 && least.is_finite())?;
        field("schedule.fall", schedule.fall, "0 to 1", (0.0..=1.0).contains(&schedule.fall))?;
        let daily = schedule.watch == Watch::Training || validation.every == 1;
        field("validation.every", validation.every, "1, as the schedule watches the validation", daily)?;
        field("training.batch", training.batch, "1 to 4096", (1..=4096).contains(&training.batch))?;
        let accumulation = training.accumulation;
        field("training.accumulation", accumulation, "1 to 4096", (1..=4096).contains(&accumulation))?;
        field("training.workers", training.workers, "1 to 256", (1..=256).contains(&training.workers))?;
        field("validation.every", validation.every, "1 or more", validation.every > 0)?;
        let (slices, labels) = (validation.slices_per_volume, validation.labels_per_slice);
        field("validation.slices-per-volume", slices, "1 or more", slices > 0)?;
        field("validation.labels-per-slice", labels, "1 or more", labels > 0)?;
        field("cache.max-gib", cache.max_gib, "0 or more", cache.max_gib >= 0.0)
    }
}

fn field(
    field: &'static str,
    value: impl std::fmt::Debug,
    expected: &'static str,
    holds: bool,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Value { field, value: format!("{value:?}"), expected }) }
}

fn share(name: &'static str, value: f64) -> Result<(), ConfigError> {
    field(name, value, "0 to 1", (0.0..=1.0).contains(&value))
}

fn positive(name: &'static str, value: f64) -> Result<(), ConfigError> {
    field(name, value, "a number above 0", value > 0.0 && value.is_finite())
}
