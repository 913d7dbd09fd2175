//! Weighted means of weights: of runs with other seeds ("model soups", Wortsman et al. 2022), or of a fine-tuned
//! network and the one that it began from ("WiSE-FT", Wortsman et al. 2022), which gives up a part of what was learned
//! for what would have been lost.

use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};

use crate::model::WeightsError;

/// Why weights cannot be averaged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SoupError {
    /// A file that cannot be read, or whose tensors are not those of the first.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Not one share for each file, or shares that don't add up to 1.
    #[error("{shares} shares, which add up to {sum}, for {files} files; as many as files and a sum of 1 expected")]
    Shares {
        /// Shares given.
        shares: usize,
        /// Their sum.
        sum: f64,
        /// Files given.
        files: usize,
    },
}

/// Writes the mean of weights in the published form, each file's tensors times its share. Shares may be negative or
/// above 1 (extrapolation), but add up to 1.
///
/// # Errors
/// [`SoupError`]; a file that was at `out` is then untouched.
pub fn average(files: &[PathBuf], shares: &[f64], out: &Path) -> Result<(), SoupError> {
    let sum: f64 = shares.iter().sum();
    let whole = (sum - 1.0).abs() < 1e-6;
    if files.is_empty() || shares.len() != files.len() || !whole {
        return Err(SoupError::Shares { shares: shares.len(), sum, files: files.len() });
    }
    let read = |path: &PathBuf| {
        let mut tensors = crate::model::read(path)?;
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        Ok::<_, SoupError>(tensors)
    };
    let mut mean = read(&files[0])?;
    let scaled = |tensor: &Tensor, share: f64| tensor.to_kind(Kind::Double) * share;
    let kinds: Vec<Kind> = mean.iter().map(|(_, t)| t.kind()).collect();
    mean.iter_mut().for_each(|(_, tensor)| *tensor = scaled(tensor, shares[0]));
    for (path, &share) in files.iter().zip(shares).skip(1) {
        let tensors = read(path)?;
        for (i, (name, sum)) in mean.iter_mut().enumerate() {
            let Some((_, tensor)) = tensors.get(i).filter(|(other, _)| other == name) else {
                return Err(WeightsError::Missing { path: path.clone(), tensor: name.clone() }.into());
            };
            let (found, expected) = (tensor.size(), sum.size());
            if found != expected {
                let (path, tensor) = (path.clone(), name.clone());
                return Err(WeightsError::Shape { path, tensor, found, expected }.into());
            }
            *sum += scaled(tensor, share);
        }
    }
    mean.iter_mut().zip(kinds).for_each(|((_, tensor), kind)| *tensor = tensor.to_kind(kind));
    Ok(crate::model::write(&mean, out)?)
}
