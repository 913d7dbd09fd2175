//! Why a run ended before its time.

use std::io;
use std::path::PathBuf;

use crate::config::{ConfigError, EncoderSize};
use crate::cuda::CudaError;
use crate::data::DatasetError;
use crate::encoder::EncoderError;
use crate::loss::UncertaintyError;
use crate::memory::OutOfMemory;
use crate::model::WeightsError;
use crate::optim::StateError;
use crate::ranks::RanksError;
use crate::store::StoreError;

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The cases.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// The weights to begin with, or to save.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The losses cannot be summed.
    #[error("loss.terms: {0}")]
    Losses(#[from] UncertaintyError),
    /// The saved state, or the batch that failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The saved state of the optimizer.
    #[error("{}: {source}", path.display())]
    Optimizer {
        /// The file.
        path: PathBuf,
        /// What doesn't fit.
        source: StateError,
    },
    /// The saved state doesn't fit this run.
    #[error("{}: {problem}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What doesn't fit.
        problem: String,
    },
    /// There is a run in the folder already, or weights that it would replace.
    #[error("{}: holds a run already, or its weights; resume it, or choose another folder", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// The other ranks.
    #[error(transparent)]
    Ranks(#[from] RanksError),
    /// An image that cannot be fed to the network.
    #[error(transparent)]
    Image(#[from] umedsam::Error),
    /// The frozen encoder, or its embeddings on disk.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The weights have an encoder of another size than the configuration, which does not train all of it.
    #[error("{}: its encoder is {found:?}, model.encoder is {wanted:?}, and not all of that is trained", weights.display())]
    EncoderSize {
        /// The file.
        weights: PathBuf,
        /// Its encoder's.
        found: EncoderSize,
        /// The configuration's.
        wanted: EncoderSize,
    },
    /// A file of the run.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The system's account.
        source: io::Error,
    },
    /// No parameter has such a name.
    #[error("model.trained: no parameter's name begins with {}", quoted(names))]
    NothingTrained {
        /// The beginnings of names that nothing has.
        names: Vec<String>,
    },
    /// What is to be trained has no part in the losses.
    #[error("model.trained: no parameter that begins with {} has a part in the losses", quoted(names))]
    NothingReached {
        /// The beginnings of names of which nothing gets a gradient.
        names: Vec<String>,
    },
    /// A cap of a modality that is neither among the cases nor one of the challenge's.
    #[error("data.caps: no case is of modality '{name}'; known are {known}")]
    UnknownModality {
        /// As it was spelled.
        name: String,
        /// Those that may be named.
        known: String,
    },
    /// A teacher was named, and no loss asks one.
    #[error("{}: no loss asks a teacher; loss.terms needs distillation, imitation or embedding", path.display())]
    TeacherUnasked {
        /// Its weights.
        path: PathBuf,
    },
    /// No layer has such a name.
    #[error("quantization.keep: no layer's name begins with '{name}'")]
    NothingKept {
        /// What was given.
        name: String,
    },
    /// The learning rate is to follow a validation that there is none of.
    #[error("schedule.watch is validation, and there are no cases to validate on: name some, or watch the training")]
    NothingWatched,
    /// There are fewer samples than one step takes.
    #[error("an epoch has {samples} samples, a step takes {step} (batch x accumulation x ranks)")]
    TooFewSamples {
        /// Samples of an epoch.
        samples: usize,
        /// Samples of a step.
        step: usize,
    },
    /// What CUDA devices are asked for and cannot give.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// So many samples don't fit, and it cannot be fewer.
    #[error("{shortage}, with {at_once} samples at once")]
    Memory {
        /// libtorch's account.
        shortage: OutOfMemory,
        /// Samples that went through the network together.
        at_once: usize,
    },
    /// A loss or a gradient that is no finite number.
    #[error("epoch {epoch}, step {step}: {losses}; its samples are in {}", batch.display())]
    NotFinite {
        /// Epoch, from 1.
        epoch: u64,
        /// Step of the epoch, from 1.
        step: u64,
        /// The losses.
        losses: String,
        /// Where the batch was saved: inputs, boxes, masks, and the samples' names.
        batch: PathBuf,
    },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}
