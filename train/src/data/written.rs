//! Batches in files, for other programs that take the same steps.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tch::{Device, TchError, Tensor};

use super::batch::{Batch, Staged};
use super::dataset::{Dataset, DatasetError};
use super::plan::plan;
use super::sample::{Drawing, Sample};
use crate::config::{Config, DataConfig};
use crate::loss::shape_target;

/// Why batches could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A case.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// A picture of an impossible size.
    #[error(transparent)]
    Image(#[from] umedsam::Error),
    /// The folder.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's account.
        source: io::Error,
    },
    /// A file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// libtorch's account.
        source: TchError,
    },
}

/// Writes the first batches of a run, `most` at most and those of its first epoch, into a new folder, `0.npz`, `1.npz` ...: `images` (N,3,256,256), `boxes`
/// (N,4), `masks` and `shapes` (N,1,256,256), all f32, as the trainer draws them.
///
/// # Errors
/// [`WriteError`]: a folder that exists, a disk that is full, a case that can no longer be used.
pub fn write_batches(dataset: &Dataset, config: &Config, most: usize, folder: &Path) -> Result<(), WriteError> {
    fs::create_dir(folder).map_err(|source| WriteError::Folder { path: folder.into(), source })?;
    let seed = config.training.seed;
    // Of the others no program knows the masks without the teacher.
    let config_data = DataConfig { unlabelled: 0.0, ..config.data.clone() };
    let drawings: Vec<Drawing> = plan(dataset.entries(), &config.data, seed, 0)
        .into_iter()
        .zip(0..)
        .take(most.saturating_mul(config.training.batch))
        .map(|(entry, position)| Drawing::random(dataset, entry, &config_data, seed, 0, position))
        .collect();
    let side = umedsam::MODEL_SIDE;
    for (drawings, number) in drawings.chunks_exact(config.training.batch).zip(0..) {
        let mut samples = Vec::with_capacity(drawings.len());
        for drawing in drawings {
            let mut sample = Sample::new(dataset, drawing, config.data.min_area)?;
            sample.shape = shape_target(&sample.mask, side, side);
            samples.push(sample);
        }
        let Batch { boxes, masks, shapes, images, .. } =
            Staged::new(samples, Device::Cpu, true, false)?.to_device(Device::Cpu);
        let mut arrays = vec![("boxes", boxes), ("masks", masks)];
        arrays.extend(shapes.map(|t| ("shapes", t)));
        arrays.extend(images.map(|t| ("images", t)));
        let path = folder.join(format!("{number}.npz"));
        Tensor::write_npz(&arrays, &path).map_err(|source| WriteError::File { path, source })?;
    }
    Ok(())
}
