//! Files: bounded reading, and a safetensors writer whose output is reproducible.
//!
//! The `safetensors` crate writes its metadata out of a hash map, in another order each time. A header in a fixed
//! order takes a few lines; reading stays with the crate, which validates.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Map, Value, json};
use umedsam::files::write_atomically;

use super::error::ErrorKind;
use super::tensor::{DType, Tensor, TensorData};

/// Reads a whole file, unless it is over `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, ErrorKind> {
    let file = File::open(path).map_err(ErrorKind::Io)?;
    let bytes = file.metadata().map_err(ErrorKind::Io)?.len();
    if bytes > limit {
        return Err(ErrorKind::TooLarge { member: path.display().to_string(), bytes, limit });
    }
    let mut data = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    file.take(limit).read_to_end(&mut data).map_err(ErrorKind::Io)?;
    Ok(data)
}

/// Writes safetensors in place of `path`.
pub(crate) fn write(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: &BTreeMap<&str, &str>,
) -> io::Result<()> {
    // The eight-byte type first, so that every tensor is aligned to its element.
    let of = |dtype| tensors.iter().filter(move |(_, t)| t.dtype() == dtype);
    let ordered: Vec<_> = of(DType::I64).chain(of(DType::F32)).collect();
    let mut header = header(&ordered, metadata).into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        ordered.iter().try_for_each(|(_, tensor)| chunks(tensor.data(), |chunk| file.write_all(chunk)))
    })
}

fn header(tensors: &[(&String, &Tensor)], metadata: &BTreeMap<&str, &str>) -> String {
    let mut entries = BTreeMap::from([("__metadata__", json!(metadata))]);
    let mut offset = 0;
    for (name, tensor) in tensors {
        let end = offset + tensor.len() * tensor.dtype().size();
        let dtype = if tensor.dtype() == DType::I64 { "I64" } else { "F32" };
        entries.insert(name, json!({ "data_offsets": [offset, end], "dtype": dtype, "shape": tensor.shape() }));
        offset = end;
    }
    // Inserted in sorted order, so that both kinds of map in serde_json print the same text.
    let entries: Map<String, Value> = entries.into_iter().map(|(name, entry)| (name.to_owned(), entry)).collect();
    Value::Object(entries).to_string()
}

/// Hands out the elements, little-endian, in pieces: a whole copy would double the memory.
pub(crate) fn chunks(data: &TensorData, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    const ELEMENTS: usize = 8192;
    let mut bytes = Vec::with_capacity(8 * ELEMENTS);
    let mut flush = |bytes: &mut Vec<u8>| {
        let result = take(bytes);
        bytes.clear();
        result
    };
    match data {
        TensorData::F32(values) => values.chunks(ELEMENTS).try_for_each(|values| {
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            flush(&mut bytes)
        }),
        TensorData::I64(values) => values.chunks(ELEMENTS).try_for_each(|values| {
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            flush(&mut bytes)
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::weights::Weights;
    use super::*;

    #[test]
    fn saving_is_reproducible_and_lossless() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        let weights = Weights::synthetic(5);
        weights.save(&a).unwrap();
        let again = Weights::load(&a).unwrap();
        assert_eq!(again, weights);
        again.save(&b).unwrap();
        assert!(fs::read(&a).unwrap() == fs::read(&b).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "temporary files left behind");
    }

    #[test]
    fn a_failed_save_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let occupied = folder.path().join("occupied");
        fs::create_dir(&occupied).unwrap();
        let error = Weights::synthetic(5).save(&occupied).unwrap_err();
        assert_eq!(error.path(), Some(occupied.as_path()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        Weights::synthetic(5).save(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert!(Weights::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(Weights::from_bytes(&bytes[..100]).is_err());
        assert!(Weights::from_bytes(b"").is_err());
        let text = String::from_utf8_lossy(&bytes[8..60]).into_owned();
        assert!(text.starts_with(r#"{"__metadata__":{"architecture":"litemedsam""#), "{text}");
        let mut other = bytes.clone();
        other[8 + 33] = b'L';
        let error = Weights::from_bytes(&other).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::OtherArchitecture { .. }), "{error}");
    }
}
