//! Tensors and a text in one safetensors file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, SafeTensors, View};
use tch::{Device, Kind, Tensor};
use umedsam::files::write_atomically;

/// Why a file of tensors cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system's account.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Damaged, or not of this format.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl View for &Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

const KINDS: [(Kind, Dtype); 6] = [
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::Half, Dtype::F16),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Int64, Dtype::I64),
    (Kind::Uint8, Dtype::U8),
];

/// Name of the text in the file's metadata.
const TEXT: &str = "umedsam";

/// Writes tensors and a text, through a temporary file.
///
/// # Errors
/// [`StoreError`] if the file cannot be written; one that was there is then untouched.
pub fn write(path: &Path, tensors: &[(String, Tensor)], text: String) -> Result<(), StoreError> {
    write_with(path, tensors, TEXT, text)
}

/// The same with the text as another entry of the metadata.
pub(crate) fn write_with(path: &Path, tensors: &[(String, Tensor)], key: &str, text: String) -> Result<(), StoreError> {
    let format = |problem: String| StoreError::Format { path: path.into(), problem };
    let mut stored = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        let kind = tensor.kind();
        let Some((_, dtype)) = KINDS.into_iter().find(|(k, _)| *k == kind) else {
            return Err(format(format!("tensor {name} is of kind {kind:?}")));
        };
        let mut data = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
        tensor.copy_data_u8(&mut data, tensor.numel());
        let shape = tensor.size().into_iter().map(|side| side as usize).collect();
        stored.push((name, Bytes { dtype, shape, data }));
    }
    let views = stored.iter().map(|(name, bytes)| (name.as_str(), bytes));
    let metadata = HashMap::from([(key.to_string(), text)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| format(e.to_string()))?;
    write_atomically(path, |file| file.write_all(&bytes))
        .map_err(|source| StoreError::File { path: path.into(), source })
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// [`StoreError`] if the file cannot be read or is damaged.
pub fn read(path: &Path) -> Result<(HashMap<String, Tensor>, String), StoreError> {
    let format = |problem: String| StoreError::Format { path: path.into(), problem };
    let bytes = fs::read(path).map_err(|source| StoreError::File { path: path.into(), source })?;
    let (_, metadata): (usize, Metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| format(e.to_string()))?;
    let text = metadata.metadata().as_ref().and_then(|m| m.get(TEXT)).cloned();
    let text = text.ok_or_else(|| format(format!("no entry '{TEXT}' in its metadata")))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| format(e.to_string()))?;
    let mut tensors = HashMap::new();
    for (name, view) in file.iter() {
        let Some((kind, _)) = KINDS.into_iter().find(|(_, d)| *d == view.dtype()) else {
            return Err(format(format!("tensor {name} is of type {:?}", view.dtype())));
        };
        let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind).map_err(|e| format(e.to_string()))?;
        tensors.insert(name.to_string(), tensor);
    }
    Ok((tensors, text))
}
