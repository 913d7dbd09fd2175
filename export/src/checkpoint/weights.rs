//! The checked weights of a LiteMedSAM, and their file: safetensors with the provenance in its metadata.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use umedsam::FileKind;

use super::error::{Error, ErrorKind};
use super::litemedsam::{self, ARCHITECTURE};
use super::tensor::{DType, Tensor, TensorData};
use super::{Limits, store};
use crate::plan::Plan;

/// Key of the plan in a file's metadata.
const PLAN: &str = "plan";

/// Where weights come from. What is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Provenance {
    /// SHA-256 of the checkpoint that the weights were read from, lower-case hexadecimal.
    pub sha256: Option<String>,
    /// What the source is, in words.
    pub source: Option<String>,
    /// SPDX expression of the weights' licence.
    pub licence: Option<String>,
}

impl Provenance {
    /// Sets [`sha256`](Self::sha256).
    #[must_use]
    pub fn with_sha256(self, sha256: impl Into<String>) -> Self {
        Self { sha256: Some(sha256.into()), ..self }
    }

    /// Sets [`source`](Self::source).
    #[must_use]
    pub fn with_source(self, source: impl Into<String>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Sets [`licence`](Self::licence).
    #[must_use]
    pub fn with_licence(self, licence: impl Into<String>) -> Self {
        Self { licence: Some(licence.into()), ..self }
    }
}

/// The 435 tensors of a LiteMedSAM: names, types and shapes are those of the architecture, every number is finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
    provenance: Provenance,
    plan: Plan,
    prefix: String,
}

impl Weights {
    /// Checks `tensors` against the architecture.
    ///
    /// # Errors
    /// [`ErrorKind::Architecture`] with all differences, or [`ErrorKind::NonFinite`].
    pub fn new(tensors: BTreeMap<String, Tensor>, provenance: Provenance) -> Result<Self, Error> {
        Ok(Self::checked(tensors, provenance)?)
    }

    pub(crate) fn checked(tensors: BTreeMap<String, Tensor>, provenance: Provenance) -> Result<Self, ErrorKind> {
        let (tensors, prefix) = without_prefix(tensors);
        litemedsam::check(&tensors).map_err(ErrorKind::Architecture)?;
        for (name, tensor) in &tensors {
            if let TensorData::F32(values) = tensor.data()
                && let Some(index) = values.iter().position(|v| !v.is_finite())
            {
                return Err(ErrorKind::NonFinite { tensor: name.clone(), index, value: values[index] });
            }
        }
        Ok(Self { tensors, provenance, plan: Plan::default(), prefix })
    }

    /// Reproducible pseudo-random weights for tests and benchmarks; see [`litemedsam::synthetic`].
    pub fn synthetic(seed: u64) -> Self {
        let provenance = Provenance::default().with_source(format!("synthetic weights, seed {seed}"));
        Self { tensors: litemedsam::synthetic(seed), provenance, plan: Plan::default(), prefix: String::new() }
    }

    /// With another licence in their provenance.
    #[must_use]
    pub fn with_licence(self, licence: impl Into<String>) -> Self {
        Self { provenance: self.provenance.with_licence(licence), ..self }
    }

    /// Reads a safetensors file, written by [`save`](Self::save) or by a training program.
    ///
    /// # Errors
    /// I/O, a malformed or oversized file, another architecture, or numbers that are not finite.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = store::read(path, Limits::default().archive_bytes);
        bytes.and_then(|bytes| Self::decode(&bytes)).map_err(|kind| Error::at(path, kind))
    }

    /// Reads safetensors from memory. Errors as for [`load`](Self::load).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self::decode(bytes)?)
    }

    fn decode(bytes: &[u8]) -> Result<Self, ErrorKind> {
        expect_weights(bytes)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(ErrorKind::Safetensors)?;
        let entry = |key: &str| header.metadata().as_ref()?.get(key).cloned();
        // A training program need not write metadata; what it writes must not contradict.
        if let Some(found) = entry("architecture").filter(|a| a != ARCHITECTURE) {
            return Err(ErrorKind::OtherArchitecture { found, expected: ARCHITECTURE });
        }
        let provenance =
            Provenance { sha256: entry("source_sha256"), source: entry("source"), licence: entry("licence") };
        let plan = entry(PLAN).map(|json| serde_json::from_str(&json).map_err(ErrorKind::Plan)).transpose()?;
        Ok(Self { plan: plan.unwrap_or_default(), ..Self::checked(decode_tensors(bytes)?, provenance)? })
    }

    /// Writes a safetensors file: to a temporary file beside `path` first, so that `path` never holds half of it. The
    /// same weights give the same bytes.
    ///
    /// # Errors
    /// I/O only.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let mut metadata = BTreeMap::from([("architecture", ARCHITECTURE)]);
        let Provenance { sha256, source, licence } = &self.provenance;
        for (key, value) in [("source_sha256", sha256), ("source", source), ("licence", licence)] {
            metadata.extend(value.as_deref().map(|value| (key, value)));
        }
        let plan = serde_json::to_string(&self.plan).expect("names and words");
        if !self.plan.is_empty() {
            metadata.insert(PLAN, &plan);
        }
        store::write(path, &self.tensors, &metadata).map_err(|e| Error::at(path, ErrorKind::Io(e)))
    }

    /// The elements of the `f32` tensor `name`, row-major.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchTensor`] unless there is one of just this shape.
    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<&[f32], Error> {
        let found = match self.tensors.get(name) {
            None => "no such name".to_owned(),
            Some(tensor) => match tensor.data() {
                TensorData::F32(values) if tensor.shape() == shape => return Ok(values),
                _ => format!("found {} {:?}", tensor.dtype(), tensor.shape()),
            },
        };
        let (tensor, shape) = (name.to_owned(), shape.to_vec());
        Err(ErrorKind::NoSuchTensor { tensor, dtype: DType::F32, shape, found }.into())
    }

    /// The tensor `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// All tensors, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Number of elements of all tensors together.
    pub fn elements(&self) -> usize {
        self.tensors.values().map(Tensor::len).sum()
    }

    /// Which blocks are kept in more precision than the rest.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// With another plan.
    #[must_use]
    pub fn with_plan(self, plan: Plan) -> Self {
        Self { plan, ..self }
    }

    /// What stood before every name in the file and was left out, such as `module.` of PyTorch's data parallelism;
    /// nothing if the names were the architecture's.
    pub fn stripped_prefix(&self) -> Option<&str> {
        Some(self.prefix.as_str()).filter(|prefix| !prefix.is_empty())
    }

    /// Where the weights come from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// SHA-256 over the tensors themselves, lower-case hexadecimal: equal for equal weights, whatever file they were
    /// in. Each tensor in order of name gives `name dtype lengths...\n` (as in the table of the architecture) and its
    /// elements, little-endian.
    pub fn content_sha256(&self) -> String {
        let mut hash = Sha256::new();
        for (name, tensor) in &self.tensors {
            let shape: String = tensor.shape().iter().map(|d| format!(" {d}")).collect();
            hash.update(format!("{name} {}{shape}\n", tensor.dtype()));
            store::chunks(tensor.data(), |chunk| {
                hash.update(chunk);
                Ok(())
            })
            .expect("a hash takes everything");
        }
        hex(&hash.finalize())
    }
}

/// What wrappers of a network put before the names of all its tensors.
const PREFIXES: [&str; 3] = ["module.", "model.", "_orig_mod."];

/// Takes away what stands before every name, as often as it does.
fn without_prefix(mut tensors: BTreeMap<String, Tensor>) -> (BTreeMap<String, Tensor>, String) {
    let mut stripped = String::new();
    let common = |tensors: &BTreeMap<String, Tensor>| {
        PREFIXES.into_iter().find(|p| !tensors.is_empty() && tensors.keys().all(|name| name.starts_with(p)))
    };
    while let Some(prefix) = common(&tensors) {
        tensors = tensors.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect();
        stripped += prefix;
    }
    (tensors, stripped)
}

/// Refuses a file that is known to be something else.
pub(super) fn expect_weights(bytes: &[u8]) -> Result<(), ErrorKind> {
    match FileKind::of(bytes) {
        None | Some(FileKind::Weights) => Ok(()),
        Some(found) => Err(ErrorKind::Other { expected: "weights in safetensors", found }),
    }
}

/// The tensors of a safetensors file; floats of 16 bits become f32.
fn decode_tensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, ErrorKind> {
    let file = SafeTensors::deserialize(bytes).map_err(ErrorKind::Safetensors)?;
    file.iter().map(|(name, view)| Ok((name.to_owned(), decode_tensor(name, &view)?))).collect()
}

/// The same of one tensor.
pub(super) fn decode_tensor(name: &str, view: &TensorView<'_>) -> Result<Tensor, ErrorKind> {
    let data = match view.dtype() {
        Dtype::F32 => TensorData::F32(decode(view.data(), f32::from_le_bytes)),
        Dtype::F16 => TensorData::F32(decode(view.data(), |b| half::f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => TensorData::F32(decode(view.data(), |b| half::bf16::from_le_bytes(b).to_f32())),
        Dtype::I64 => TensorData::I64(decode(view.data(), i64::from_le_bytes)),
        other => return Err(ErrorKind::UnsupportedType { tensor: name.to_owned(), dtype: other.to_string() }),
    };
    Tensor::checked(view.shape().to_vec(), data)
}

fn decode<const N: usize, T>(bytes: &[u8], decode: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&b| decode(b)).collect()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_is_asked_for_by_name_and_shape() {
        let weights = Weights::synthetic(3);
        let name = "mask_decoder.mask_tokens.weight";
        assert_eq!(weights.f32(name, &[4, 256]).unwrap().len(), 1024);
        let error = weights.f32(name, &[256, 4]).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("found f32 [4, 256]"), "{error}");
        assert!(weights.f32("no.such", &[1]).unwrap_err().to_string().contains("no such name"));
        let counter = "image_encoder.patch_embed.seq.0.bn.num_batches_tracked";
        assert!(weights.f32(counter, &[]).unwrap_err().to_string().contains("found i64 []"));
    }

    #[test]
    fn numbers_must_be_finite() {
        let mut tensors = litemedsam::synthetic(3);
        let mut values = vec![0.0; 256];
        values[9] = f32::NAN;
        let name = "prompt_encoder.no_mask_embed.weight";
        tensors.insert(name.into(), Tensor::new(vec![1, 256], TensorData::F32(values)).unwrap());
        let error = Weights::new(tensors, Provenance::default()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NonFinite { tensor, index: 9, .. } if tensor == name), "{error}");
    }

    #[test]
    fn a_prefix_of_every_name_is_left_out() {
        let plain = Weights::synthetic(3);
        let prefixed = |prefix: &str| {
            let named = |(name, tensor): (&str, &Tensor)| (format!("{prefix}{name}"), tensor.clone());
            Weights::new(plain.iter().map(named).collect(), Provenance::default())
        };
        for prefix in ["module.", "model.", "module.model."] {
            let weights = prefixed(prefix).unwrap();
            assert_eq!((weights.stripped_prefix(), weights.content_sha256()), (Some(prefix), plain.content_sha256()));
        }
        assert_eq!(plain.stripped_prefix(), None);
        assert!(matches!(prefixed("net.").unwrap_err().kind(), ErrorKind::Architecture(m) if m.0.len() == 870));
    }

    #[test]
    fn what_is_no_safetensors_file_is_named() {
        for (bytes, words) in [
            (&b"version https://git-lfs.github.com/spec/v1\n"[..], "a Git LFS pointer"),
            (b"<html>", "a web page"),
            (b"PK\x03\x04", "a zip archive"),
            (b"", "an empty file"),
        ] {
            let error = Weights::from_bytes(bytes).unwrap_err().to_string();
            assert!(error.contains("not weights in safetensors: ") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn hexadecimal_keeps_leading_zeros() {
        assert_eq!(hex(&[0x00, 0x0f, 0xa0]), "000fa0");
    }
}
