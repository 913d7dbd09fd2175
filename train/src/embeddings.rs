//! Embeddings of a frozen encoder, kept on disk.
//!
//! One file an embedding, named by the digest of the picture, in a folder named by the digest of the encoder's weights
//! and by what computed it: runs with the same encoder share them, flips and all. A file is written beside its place and
//! renamed, so that a killed run leaves whole files only, and ends with a digest of its content and its place, so that
//! neither a damaged file nor that of another picture or encoder passes for one: its embedding is made anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor, nn};
use umedsam::files::write_atomically;
use umedsam::preprocess::PREPROCESSING_VERSION;

use crate::config::{CacheConfig, CacheKind};
use crate::data::Picture;
use crate::hex;

/// Shape of an embedding.
const SHAPE: [i64; 3] = [256, 64, 64];
const LEN: usize = 256 * 64 * 64;

/// An embedding as it lies on disk.
#[derive(Clone, Debug)]
pub struct Stored {
    bytes: Vec<u8>,
    kind: Kind,
}

impl Stored {
    /// The embedding (1,256,64,64) in f32.
    pub fn to_tensor(&self, device: Device) -> Tensor {
        Tensor::from_data_size(&self.bytes, &SHAPE, self.kind).to_device(device).to_kind(Kind::Float).unsqueeze(0)
    }
}

/// A folder of embeddings.
#[derive(Debug)]
pub struct EmbeddingCache {
    folder: PathBuf,
    kind: Kind,
    bytes_left: AtomicU64,
}

impl EmbeddingCache {
    /// Opens, or makes, the cache for the encoder in `variables` as `engine` computes it; nothing if the configuration
    /// wants none.
    ///
    /// # Errors
    /// If its folder cannot be made or listed.
    pub fn open(config: &CacheConfig, variables: &nn::VarStore, engine: &str) -> io::Result<Option<Self>> {
        let kind = match config.kind {
            CacheKind::Off => return Ok(None),
            CacheKind::F16 => Kind::Half,
            CacheKind::F32 => Kind::Float,
        };
        let base = match &config.folder {
            Some(folder) => folder.clone(),
            None => default_folder()?,
        };
        let type_name = if kind == Kind::Half { "f16" } else { "f32" };
        let folder = base.join(format!("{}-{engine}-{type_name}", encoder_digest(variables)));
        fs::create_dir_all(&folder)?;
        let mut used = 0;
        for entry in fs::read_dir(&base)? {
            let path = entry?.path();
            if path.is_dir() {
                used += size(&path)?;
            }
        }
        let allowed = (config.max_gib * f64::from(1 << 30)) as u64;
        Ok(Some(Self { folder, kind, bytes_left: AtomicU64::new(allowed.saturating_sub(used)) }))
    }

    /// Where the embeddings of this encoder are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The embedding of a picture, if it is there and whole.
    pub fn get(&self, picture: &Picture) -> Option<Stored> {
        let path = self.path(picture);
        let mut bytes = fs::read(&path).ok()?;
        let length = LEN * self.kind.elt_size_in_bytes();
        let whole = bytes.get(length..).is_some_and(|found| *found == digest(&path, &bytes[..length]));
        bytes.truncate(length);
        whole.then_some(Stored { bytes, kind: self.kind })
    }

    /// Rounds a fresh embedding (1,256,64,64) to the cache's type and stores it, while there is room, in the place of a file
    /// that was no embedding.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn put(&self, picture: &Picture, embedding: &Tensor) -> io::Result<Stored> {
        let rounded = embedding.to_kind(self.kind).to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0; LEN * self.kind.elt_size_in_bytes()];
        rounded.copy_data_u8(&mut bytes, LEN);
        let path = self.path(picture);
        let digest = digest(&path, &bytes);
        let replaced = fs::metadata(&path).map_or(0, |file| file.len());
        let size = (bytes.len() + digest.len()) as u64;
        let room = |left: u64| (left + replaced).checked_sub(size);
        if self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok() {
            write_atomically(&path, |file| {
                file.write_all(&bytes)?;
                file.write_all(&digest)
            })?;
        }
        Ok(Stored { bytes, kind: self.kind })
    }

    fn path(&self, picture: &Picture) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update(PREPROCESSING_VERSION.to_le_bytes());
        for size in [picture.width, picture.height, picture.channels] {
            hash.update((size as u64).to_le_bytes());
        }
        hash.update(&picture.pixels);
        self.folder.join(hex(&hash.finalize()[..16]))
    }
}

/// Digest of an embedding, the picture that names its file and the encoder that names the folder.
fn digest(path: &Path, bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for name in [path.parent().and_then(Path::file_name), path.file_name()] {
        hash.update(name.unwrap_or_default().as_encoded_bytes());
        hash.update([0]);
    }
    hash.update(bytes);
    hash.finalize().into()
}

/// `umedsam/embeddings` in the user's cache folder.
fn default_folder() -> io::Result<PathBuf> {
    let given = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = given.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    let none = || io::Error::new(io::ErrorKind::NotFound, "no home folder to keep embeddings in; set cache.folder");
    Ok(base.ok_or_else(none)?.join("umedsam/embeddings"))
}

fn size(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

/// Digest of every value of the encoder.
fn encoder_digest(variables: &nn::VarStore) -> String {
    let mut encoder: Vec<(String, Tensor)> =
        variables.variables().into_iter().filter(|(name, _)| name.starts_with("image_encoder.")).collect();
    encoder.sort_by(|a, b| a.0.cmp(&b.0));
    let mut hash = Sha256::new();
    for (name, value) in encoder {
        hash.update(name);
        let value = value.detach().to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0; value.numel() * value.kind().elt_size_in_bytes()];
        value.copy_data_u8(&mut bytes, value.numel());
        hash.update(bytes);
    }
    hex(&hash.finalize()[..8])
}
