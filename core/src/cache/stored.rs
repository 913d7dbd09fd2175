//! The values of an embedding as they are kept, and as a file.
//!
//! A file is safetensors: one tensor `embedding`, F32 or F16, (256,64,64). Its metadata contain the layout's version, the
//! key and the SHA-256 of the values.

use std::collections::HashMap;
use std::prelude::v1::*;
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::embedding::{EMBEDDING_LEN, EMBEDDING_SHAPE};
use crate::hex_digest;

const VERSION: &str = "1";
const TENSOR: &str = "embedding";
const VERSION_ENTRY: &str = "umedsam.embedding";
const KEY_ENTRY: &str = "umedsam.embedding.key";
const DIGEST_ENTRY: &str = "umedsam.embedding.sha256";

/// No file is larger: the values in f32 and a header.
pub(super) const MAX_FILE_BYTES: u64 = (EMBEDDING_LEN * 4 + 4096) as u64;

/// Values of an embedding, shared.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    F32(Arc<Vec<f32>>),
    F16(Arc<Vec<f16>>),
}

impl Stored {
    /// The values rounded to nearest; those beyond f16's range saturate.
    pub(super) fn halved(values: &[f32]) -> Self {
        let mut halves = vec![f16::ZERO; values.len()];
        halves.convert_from_f32_slice(values);
        for half in halves.iter_mut().filter(|half| half.is_infinite()) {
            *half = f16::MAX.copysign(*half);
        }
        Self::F16(Arc::new(halves))
    }

    /// The values in f32, shared where they are kept so.
    pub(super) fn values(&self) -> Arc<Vec<f32>> {
        match self {
            Self::F32(values) => values.clone(),
            Self::F16(halves) => {
                let mut values = vec![0.0; halves.len()];
                halves.convert_to_f32_slice(&mut values);
                Arc::new(values)
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::F32(values) => size_of_val(values.as_slice()),
            Self::F16(values) => size_of_val(values.as_slice()),
        }
    }

    /// The file of these values under `key`.
    pub(super) fn to_file(&self, key: &str) -> Result<Vec<u8>, String> {
        let (kind, data) = match self {
            Self::F32(values) => (Dtype::F32, to_bytes(values, |v| v.to_le_bytes())),
            Self::F16(values) => (Dtype::F16, to_bytes(values, |v| v.to_le_bytes())),
        };
        let entries = [(VERSION_ENTRY, VERSION.into()), (KEY_ENTRY, key.into()), (DIGEST_ENTRY, hex_digest(&data))];
        let metadata: HashMap<String, String> = entries.map(|(name, text)| (name.into(), text)).into();
        let tensor = TensorView::new(kind, EMBEDDING_SHAPE[1..].into(), &data).map_err(|e| e.to_string())?;
        safetensors::serialize([(TENSOR, tensor)], Some(metadata)).map_err(|e| e.to_string())
    }

    /// The values of a file, if it is one of `key`, whole, and in the format asked for; or what is wrong with it.
    pub(super) fn from_file(file: &[u8], key: &str, half: bool) -> Result<Self, String> {
        let (_, metadata) = SafeTensors::read_metadata(file).map_err(|e| format!("no embedding: {e}"))?;
        let entry = |name| metadata.metadata().as_ref().and_then(|entries| entries.get(name)).map(String::as_str);
        match entry(VERSION_ENTRY) {
            Some(VERSION) => {}
            Some(other) => return Err(format!("an embedding of version {other}; {VERSION} is what is read")),
            None => return Err("no embedding: not written by this library".into()),
        }
        if entry(KEY_ENTRY) != Some(key) {
            return Err("the embedding of another image or model".into());
        }
        let tensors = SafeTensors::deserialize(file).map_err(|e| e.to_string())?;
        let tensor = tensors.tensor(TENSOR).map_err(|e| e.to_string())?;
        let kind = if half { Dtype::F16 } else { Dtype::F32 };
        if (tensor.dtype(), tensor.shape()) != (kind, &EMBEDDING_SHAPE[1..]) {
            let (kind, shape) = (tensor.dtype(), tensor.shape());
            return Err(format!("{kind:?} {shape:?}, which is no embedding of its key"));
        }
        let data = tensor.data();
        if entry(DIGEST_ENTRY) != Some(hex_digest(data).as_str()) {
            return Err("damaged: SHA-256 of the values differs".into());
        }
        Ok(if half {
            Self::F16(Arc::new(data.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b)).collect()))
        } else {
            Self::F32(Arc::new(data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()))
        })
    }
}

fn to_bytes<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    let mut all = vec![0; values.len() * N];
    all.as_chunks_mut().0.iter_mut().zip(values).for_each(|(to, &value)| *to = bytes(value));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Vec<f32> {
        (0..EMBEDDING_LEN).map(|i| (i as f32 * 0.37).sin() * 3.0).collect()
    }

    #[test]
    fn a_file_gives_back_its_values() {
        let values = values();
        let whole = Stored::F32(Arc::new(values.clone()));
        let file = whole.to_file("key").unwrap();
        assert!(*Stored::from_file(&file, "key", false).unwrap().values() == values);
        assert!((file.len() as u64) < MAX_FILE_BYTES && whole.bytes() == 4 * EMBEDDING_LEN);

        let half = Stored::halved(&values);
        let file = half.to_file("key").unwrap();
        assert!(*Stored::from_file(&file, "key", true).unwrap().values() == *half.values());
        assert!(file.len() < 2 * EMBEDDING_LEN + 4096 && half.bytes() == 2 * EMBEDDING_LEN);
        let error = half.values().iter().zip(&values).map(|(h, v)| (h - v).abs()).fold(0.0, f32::max);
        // Half of the last of 11 significant bits of a value below 4.
        assert!(error > 0.0 && error <= 2.0f32.powi(-10), "{error}");
        assert_eq!(Stored::halved(&[1e6, -1e6]).values()[..], [65504.0, -65504.0]);
    }

    #[test]
    fn a_file_of_other_contents_is_refused() {
        let whole = Stored::F32(Arc::new(values())).to_file("key").unwrap();
        let problem = |file: &[u8], key, half| Stored::from_file(file, key, half).unwrap_err();
        assert!(problem(&whole, "other", false).contains("another image"));
        assert!(problem(&whole, "key", true).contains("F32"));
        assert!(problem(b"\x89PNG\r\n\x1a\n", "key", false).contains("no embedding"));
        for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
            problem(&whole[..length], "key", false);
        }
        problem(&[&whole[..], b"\0"].concat(), "key", false);
        // Everything in the header, and a sample of the values.
        let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let mut damaged = whole.clone();
        for position in (0..header).chain([header, whole.len() / 2, whole.len() - 1]) {
            damaged[position] ^= 0x10;
            problem(&damaged, "key", false);
            damaged[position] ^= 0x10;
        }
        assert!(damaged == whole);
    }
}
