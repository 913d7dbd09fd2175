//! What training changed: the tensors in which weights differ from those that the training began from.
//!
//! A decoder trained on a frozen encoder is 8 MB of f16 beside the 39 MB of the whole, which everybody can fetch.

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use safetensors::tensor::{Dtype, TensorView};

use super::error::{Error, ErrorKind};
use super::tensor::{Tensor, TensorData};
use super::weights::{Provenance, Weights};
use super::{Limits, store};

impl Weights {
    /// The f32 tensors in which these weights differ from `base`, rounded to f16, as the bytes of a safetensors file.
    ///
    /// # Errors
    /// [`ErrorKind::NonFinite`] for a value beyond f16's range.
    pub fn changed_from(&self, base: &Self) -> Result<Vec<u8>, Error> {
        let mut changed = BTreeMap::new();
        for (name, tensor) in self.iter().filter(|(name, tensor)| base.get(name) != Some(tensor)) {
            // Counters of BatchNorm, which nothing reads.
            let TensorData::F32(values) = tensor.data() else { continue };
            let halves: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
            if let Some(index) = halves.iter().position(|v| !v.is_finite()) {
                return Err(ErrorKind::NonFinite { tensor: name.into(), index, value: values[index] }.into());
            }
            let bytes: Vec<u8> = halves.iter().flat_map(|v| v.to_le_bytes()).collect();
            changed.insert(name, (tensor.shape().to_vec(), bytes));
        }
        let mut views = Vec::with_capacity(changed.len());
        for (name, (shape, bytes)) in &changed {
            let view = TensorView::new(Dtype::F16, shape.clone(), bytes).map_err(ErrorKind::Safetensors)?;
            views.push((*name, view));
        }
        Ok(safetensors::serialize(views, None).map_err(ErrorKind::Safetensors)?)
    }

    /// These weights with the tensors of the safetensors file `part` in the place of their own.
    ///
    /// # Errors
    /// I/O, a malformed file, a tensor that the architecture does not have or in another shape.
    pub fn with_part(&self, part: impl AsRef<Path>, provenance: Provenance) -> Result<Self, Error> {
        let path = part.as_ref();
        let laid = || {
            let bytes = store::read(path, Limits::default().archive_bytes)?;
            super::weights::expect_weights(&bytes)?;
            let mut tensors: BTreeMap<String, Tensor> =
                self.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
            tensors.extend(super::weights::decode_tensors(&bytes)?);
            Self::checked(tensors, provenance)
        };
        laid().map_err(|kind| Error::at(path, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_laid_over_its_base_is_the_whole_in_f16() {
        let base = Weights::synthetic(1);
        let mut tensors: BTreeMap<String, Tensor> = base.iter().map(|(n, t)| (n.to_owned(), t.clone())).collect();
        let name = "mask_decoder.iou_token.weight";
        let values: Vec<f32> = (0..256).map(|i| 0.1 * i as f32).collect();
        tensors.insert(name.into(), Tensor::new(vec![1, 256], TensorData::F32(values.clone())).unwrap());
        let trained = Weights::new(tensors, Provenance::default()).unwrap();

        let part = trained.changed_from(&base).unwrap();
        assert!(part.len() < 1000, "{} bytes", part.len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.safetensors");
        std::fs::write(&path, &part).unwrap();
        let whole = base.with_part(&path, Provenance::default().with_licence("CC0-1.0")).unwrap();
        let rounded: Vec<f32> = values.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
        assert_eq!(whole.f32(name, &[1, 256]).unwrap(), rounded);
        assert_eq!(whole.provenance().licence.as_deref(), Some("CC0-1.0"));
        // Nothing else has changed, and what is rounded already stays.
        assert_eq!(whole.changed_from(&base).unwrap(), part);

        std::fs::write(&path, &part[..part.len() - 1]).unwrap();
        let error = base.with_part(&path, Provenance::default()).unwrap_err().to_string();
        assert!(error.contains("part.safetensors"), "{error}");
    }
}
