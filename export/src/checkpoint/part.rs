//! What training changed: the differences of weights from those that the training began from.
//!
//! LiteMedSAM's 39 MB can be fetched by everybody; what was learnt on top of it is 10 MB in 8 bits.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use half::f16;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::error::{Error, ErrorKind};
use super::tensor::{Tensor, TensorData};
use super::weights::{Provenance, Weights, decode_tensor};
use super::{Limits, store};

/// Key of the [content's digest](Weights::content_sha256) of the weights that a part belongs to.
const BASE: &str = "base_sha256";
/// What is behind a tensor's name where its steps are.
const STEP: &str = ".step";
/// Tensors of fewer numbers are stored whole.
const LEAST: usize = 1024;

impl Weights {
    /// The f32 tensors in which these weights differ from `base`, as the bytes of a safetensors file: of matrices and kernels
    /// the difference in 8 bits, with a step for each row (the first axis) in `NAME.step`; of others the values in f16. Its
    /// metadata name the base by its digest.
    ///
    /// # Errors
    /// [`ErrorKind::NonFinite`] for a value beyond f16's range.
    pub fn changed_from(&self, base: &Self) -> Result<Vec<u8>, Error> {
        let mut changed: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
        for (name, tensor) in self.iter().filter(|(name, tensor)| base.get(name) != Some(tensor)) {
            // Counters of BatchNorm, which nothing reads.
            let TensorData::F32(values) = tensor.data() else { continue };
            let shape = tensor.shape().to_vec();
            let original = base.get(name).map(Tensor::data);
            if let Some(TensorData::F32(original)) = original
                && shape.len() > 1
                && values.len() >= LEAST
            {
                let (steps, differences) = in_steps(values, original, shape[0]);
                changed.insert(format!("{name}{STEP}"), (Dtype::F32, vec![shape[0]], steps));
                changed.insert(name.into(), (Dtype::I8, shape, differences));
                continue;
            }
            let halves: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
            if let Some(index) = halves.iter().position(|v| !v.is_finite()) {
                return Err(ErrorKind::NonFinite { tensor: name.into(), index, value: values[index] }.into());
            }
            let bytes = halves.iter().flat_map(|v| v.to_le_bytes()).collect();
            changed.insert(name.into(), (Dtype::F16, shape, bytes));
        }
        let mut views = Vec::with_capacity(changed.len());
        for (name, (dtype, shape, bytes)) in &changed {
            let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(ErrorKind::Safetensors)?;
            views.push((name.as_str(), view));
        }
        let metadata = HashMap::from([(BASE.to_owned(), base.content_sha256())]);
        Ok(safetensors::serialize(views, Some(metadata)).map_err(ErrorKind::Safetensors)?)
    }

    /// These weights with what the safetensors file `part` says is different.
    ///
    /// # Errors
    /// I/O, a malformed file, a part of other weights than these, a tensor that the architecture does not have or in another
    /// shape.
    pub fn with_part(&self, part: impl AsRef<Path>, provenance: Provenance) -> Result<Self, Error> {
        let path = part.as_ref();
        let laid = || {
            let bytes = store::read(path, Limits::default().archive_bytes)?;
            super::weights::expect_weights(&bytes)?;
            let (_, header) = SafeTensors::read_metadata(&bytes).map_err(ErrorKind::Safetensors)?;
            let expected = header.metadata().as_ref().and_then(|entries| entries.get(BASE));
            if let Some(expected) = expected.filter(|expected| **expected != self.content_sha256()) {
                return Err(ErrorKind::OtherBase { expected: expected.clone(), found: self.content_sha256() });
            }
            let mut tensors: BTreeMap<String, Tensor> =
                self.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
            let file = SafeTensors::deserialize(&bytes).map_err(ErrorKind::Safetensors)?;
            let steps_of = |name: &str| file.tensor(&format!("{name}{STEP}")).ok();
            let is_step = |name: &str| name.strip_suffix(STEP).is_some_and(|of| file.tensor(of).is_ok());
            for (name, view) in file.iter().filter(|(name, _)| !is_step(name)) {
                let tensor = match view.dtype() {
                    Dtype::I8 if expected.is_none() => {
                        let what = "a difference, and no base_sha256 in the metadata that says from what";
                        return Err(ErrorKind::Part { tensor: name.to_owned(), what });
                    }
                    Dtype::I8 => {
                        let steps = steps_of(name).map(|view| decode_tensor(name, &view)).transpose()?;
                        self.moved(name, &view, steps.as_ref())?
                    }
                    _ => decode_tensor(name, &view)?,
                };
                tensors.insert(name.into(), tensor);
            }
            Self::checked(tensors, provenance)
        };
        laid().map_err(|kind| Error::at(path, kind))
    }

    /// The tensor `name` moved by steps of its rows.
    fn moved(&self, name: &str, differences: &TensorView<'_>, steps: Option<&Tensor>) -> Result<Tensor, ErrorKind> {
        let shape = differences.shape().to_vec();
        let malformed = |what| ErrorKind::Part { tensor: name.to_owned(), what };
        let Some(TensorData::F32(own)) = self.get(name).filter(|own| *own.shape() == *shape).map(Tensor::data) else {
            return Err(malformed("the base has no such tensor of this shape"));
        };
        let rows = shape.first().copied().unwrap_or_default();
        let steps = match steps.map(|steps| (steps.shape(), steps.data())) {
            Some(([count], TensorData::F32(steps))) if *count == rows && rows > 0 => steps,
            _ => return Err(malformed("a step for each row is missing")),
        };
        let width = (own.len() / rows).max(1);
        let rows = own.chunks(width).zip(differences.data().chunks(width)).zip(steps);
        let values = rows.flat_map(|((own, differences), step)| {
            own.iter().zip(differences).map(move |(own, &d)| own + f32::from(d.cast_signed()) * step)
        });
        Tensor::checked(shape, TensorData::F32(values.collect()))
    }
}

/// For each row, the step, f32, and the differences in steps, -127 to 127.
fn in_steps(values: &[f32], original: &[f32], rows: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut steps, mut differences) = (Vec::with_capacity(4 * rows), Vec::with_capacity(values.len()));
    let width = values.len() / rows;
    for (values, original) in values.chunks(width).zip(original.chunks(width)) {
        let apart = || values.iter().zip(original).map(|(v, o)| v - o);
        let step = apart().fold(0.0_f32, |most, d| most.max(d.abs())) / 127.0;
        steps.extend(step.to_le_bytes());
        let rounded = |d: f32| if step > 0.0 { (d / step).round() as i8 } else { 0 };
        differences.extend(apart().map(|d| rounded(d).cast_unsigned()));
    }
    (steps, differences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_laid_over_its_base_is_the_whole_in_8_bits() {
        let base = Weights::synthetic(1);
        let mut tensors: BTreeMap<String, Tensor> = base.iter().map(|(n, t)| (n.to_owned(), t.clone())).collect();
        let (small, large) = ("mask_decoder.iou_token.weight", "mask_decoder.mask_tokens.weight");
        let values: Vec<f32> = (0..256).map(|i| 0.1 * i as f32).collect();
        tensors.insert(small.into(), Tensor::new(vec![1, 256], TensorData::F32(values.clone())).unwrap());
        // The last row stays.
        let moved = |(i, v): (usize, &f32)| if i < 768 { v + 0.01 * (i % 7) as f32 } else { *v };
        let learnt: Vec<f32> = base.f32(large, &[4, 256]).unwrap().iter().enumerate().map(moved).collect();
        tensors.insert(large.into(), Tensor::new(vec![4, 256], TensorData::F32(learnt.clone())).unwrap());
        let trained = Weights::new(tensors, Provenance::default()).unwrap();

        let part = trained.changed_from(&base).unwrap();
        assert_eq!(part, trained.changed_from(&base).unwrap());
        assert!(part.len() < 2400, "{} bytes", part.len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.safetensors");
        std::fs::write(&path, &part).unwrap();
        let whole = base.with_part(&path, Provenance::default().with_licence("CC0-1.0")).unwrap();
        let rounded: Vec<f32> = values.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
        assert_eq!(whole.f32(small, &[1, 256]).unwrap(), rounded);
        let found = whole.f32(large, &[4, 256]).unwrap();
        let far = found.iter().zip(&learnt).map(|(f, l)| (f - l).abs()).fold(0.0, f32::max);
        assert!(far <= 0.06 / 127.0 / 2.0 + 1e-6, "{far}");
        assert_eq!(found[768..], base.f32(large, &[4, 256]).unwrap()[768..]);
        assert_eq!(whole.provenance().licence.as_deref(), Some("CC0-1.0"));

        let error = Weights::synthetic(2).with_part(&path, Provenance::default()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::OtherBase { .. }), "{error}");
        std::fs::write(&path, &part[..part.len() - 1]).unwrap();
        let error = base.with_part(&path, Provenance::default()).unwrap_err().to_string();
        assert!(error.contains("part.safetensors"), "{error}");
        // Differences without the digest of their base, and without their steps.
        for (metadata, message) in [
            (None, "no base_sha256"),
            (Some(HashMap::from([(BASE.to_owned(), base.content_sha256())])), "a step for each row is missing"),
        ] {
            let view = TensorView::new(Dtype::I8, vec![4, 256], &[1; 1024]).unwrap();
            std::fs::write(&path, safetensors::serialize([(large, view)], metadata).unwrap()).unwrap();
            let error = base.with_part(&path, Provenance::default()).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
