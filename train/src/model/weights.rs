//! Weights in the published form: 435 tensors in a safetensors file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tch::{Kind, Tensor, nn};
use umedsam::FileKind;

use crate::config::EncoderSize;
use crate::store::{self, StoreError};

/// Counters of BatchNorm, which libtorch's C++ layers don't have: the file's last 27 tensors.
const COUNTER: &str = "num_batches_tracked";

/// What stands in a file of weights as their source.
const SOURCE: &str = "weights trained by umedsam-train";

/// Why weights could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// libtorch's or the system's account.
        source: tch::TchError,
    },
    /// A file of another kind.
    #[error("{}: not weights in safetensors: {found}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: FileKind,
    },
    /// The file could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tensor of the network is not in the file.
    #[error("{}: tensor {tensor} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor of the file has another shape than the network's.
    #[error("{}: tensor {tensor} has shape {found:?}, {expected:?} expected", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Shape in the file.
        found: Vec<i64>,
        /// Shape in the network.
        expected: Vec<i64>,
    },
}

/// Fills the network's variables from a safetensors file. Nothing is changed if the file doesn't fit.
///
/// # Errors
/// [`WeightsError::File`] if the file cannot be read, [`WeightsError::Missing`] or [`WeightsError::Shape`] for a tensor
/// that doesn't fit. Tensors that the network doesn't have are passed over.
pub fn load(vs: &nn::VarStore, path: &Path) -> Result<(), WeightsError> {
    load_where(vs, path, |_| true)
}

/// As [`load`], of all that does not depend on the encoder's size: the decoder, and the neck after its first layer, which
/// gives embeddings the scale that the decoder knows. The encoder's stages stay as they are.
///
/// # Errors
/// As [`load`].
pub fn load_around_stages(vs: &nn::VarStore, path: &Path) -> Result<(), WeightsError> {
    let neck = |name: &str| name.starts_with("image_encoder.neck.") && !name.starts_with("image_encoder.neck.0.");
    load_where(vs, path, |name| neck(name) || !name.starts_with("image_encoder."))
}

/// The tensor whose shape tells the encoder's size: the neck's first layer.
const TELLING: &str = "image_encoder.neck.0.weight";

fn size_by(telling: Option<&Tensor>) -> Option<EncoderSize> {
    match telling?.size()[..] {
        [_, 320, 1, 1] => Some(EncoderSize::Lite),
        [_, 256, 1, 1] => Some(EncoderSize::Small),
        _ => None,
    }
}

/// The size of the encoder in a file of weights.
///
/// # Errors
/// [`WeightsError::File`] if the file cannot be read, [`WeightsError::Missing`] if its encoder is of no known size.
pub fn encoder_size(path: &Path) -> Result<EncoderSize, WeightsError> {
    let stored = read(path)?;
    size_by(stored.iter().find(|(name, _)| name == TELLING).map(|(_, t)| t))
        .ok_or_else(|| WeightsError::Missing { path: path.into(), tensor: TELLING.into() })
}

/// The size of the encoder in these variables.
pub(crate) fn size_of(vs: &nn::VarStore) -> EncoderSize {
    size_by(vs.variables().get(TELLING)).unwrap_or(EncoderSize::Lite)
}

fn load_where(vs: &nn::VarStore, path: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), WeightsError> {
    let file = |source| WeightsError::File { path: path.into(), source };
    let stored: HashMap<String, Tensor> = read(path)?.into_iter().collect();
    let mut variables = vs.variables();
    variables.retain(|name, _| wanted(name));
    for (name, variable) in &variables {
        let Some(value) = stored.get(name) else {
            return Err(WeightsError::Missing { path: path.into(), tensor: name.clone() });
        };
        let (found, expected) = (value.size(), variable.size());
        if found != expected {
            return Err(WeightsError::Shape { path: path.into(), tensor: name.clone(), found, expected });
        }
    }
    tch::no_grad(|| variables.into_iter().try_for_each(|(name, mut v)| v.f_copy_(&stored[&name]))).map_err(file)
}

/// Saves all 435 tensors of the published form, through a temporary file beside `path`.
///
/// BatchNorm's counters are 0: nothing reads them while its momentum is fixed.
///
/// # Errors
/// [`WeightsError::Store`] if the file cannot be written; a file that was at `path` is then untouched.
pub fn save(vs: &nn::VarStore, path: &Path) -> Result<(), WeightsError> {
    write(&published(vs), path)
}

/// Writes tensors through a temporary file beside `path`, with a word on where they come from.
pub(crate) fn write(tensors: &[(String, Tensor)], path: &Path) -> Result<(), WeightsError> {
    Ok(store::write_with(path, tensors, "source", SOURCE.into())?)
}

/// The tensors of a safetensors file.
pub(crate) fn read(path: &Path) -> Result<Vec<(String, Tensor)>, WeightsError> {
    let file = |source| WeightsError::File { path: path.into(), source };
    match FileKind::of_file(path).map_err(|error| file(error.into()))? {
        // libtorch says what is wrong with a file of no kind.
        None | Some(FileKind::Weights) => Tensor::read_safetensors(path).map_err(file),
        Some(found) => Err(WeightsError::Other { path: path.into(), found }),
    }
}

/// All 435 tensors of the published form, on the CPU, in order of their names.
pub(crate) fn published(vs: &nn::VarStore) -> Vec<(String, Tensor)> {
    let mut tensors: Vec<(String, Tensor)> = vs
        .variables()
        .into_iter()
        .map(|(name, v)| (name, v.detach().to_device(tch::Device::Cpu).contiguous()))
        .collect();
    let counters: Vec<String> = tensors
        .iter()
        .filter_map(|(name, _)| name.strip_suffix("running_mean").map(|prefix| format!("{prefix}{COUNTER}")))
        .collect();
    tensors.extend(counters.into_iter().map(|name| (name, Tensor::zeros([], (Kind::Int64, tch::Device::Cpu)))));
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors
}
