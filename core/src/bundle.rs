//! Model bundles: one file with a manifest and the two graphs.
//!
//! A bundle is a safetensors file. Its two U8 tensors `encoder.onnx` and `decoder.onnx` are the graphs; its metadata
//! contain the manifest as JSON and the SHA-256 of that JSON. The manifest contains the SHA-256 of both graphs, so that
//! a damaged byte anywhere in the file is detected.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::prelude::v1::*;
use std::sync::Arc;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::digest::hex_digest;
use crate::preprocess::PREPROCESSING_VERSION;
use crate::runtime::Shared;
#[cfg(feature = "evaluation")]
use crate::validation::{OtherVersion, Validation};
use crate::{Error, FileKind, Session, SessionOptions, Storage};

/// Version of the bundle's layout. This library writes and reads this version alone.
pub const FORMAT_VERSION: u32 = 1;

/// Name of the network that this library runs: a TinyViT encoder and a SAM decoder at 256x256 pixels.
pub const ARCHITECTURE: &str = "lite-medsam-256";

/// Bundles beyond this size are refused unread: this network comes near in no storage.
const MAX_BYTES: u64 = 256 << 20;

const ENCODER: &str = "encoder.onnx";
const DECODER: &str = "decoder.onnx";
const MANIFEST: &str = "umedsam.manifest";
const MANIFEST_DIGEST: &str = "umedsam.manifest.sha256";

/// What a bundle says about itself. Fields that a later version of the library adds are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the bundle's layout: [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Name of the network: [`ARCHITECTURE`].
    pub architecture: String,
    /// Name of the weights, for people.
    pub name: String,
    /// What the weights are stored in. The first bundles call the field `precision`, which is read, too.
    #[serde(alias = "precision")]
    pub storage: Storage,
    /// Version of the preprocessing that the graphs expect: [`PREPROCESSING_VERSION`].
    pub preprocessing_version: u32,
    /// SHA-256 of the weights that the graphs were made from, in hexadecimal.
    pub weights_sha256: String,
    /// Licence of the weights (SPDX).
    pub licence: String,
    /// Where the weights come from, in words.
    pub sources: Vec<String>,
    /// SHA-256 of the encoder graph, in hexadecimal; filled in by [`write_bundle`].
    pub encoder_sha256: String,
    /// SHA-256 of the decoder graph, in hexadecimal; filled in by [`write_bundle`].
    pub decoder_sha256: String,
    /// The report of the accuracy gate, if a model went through it; [`Model::validation`] says whether it was this one.
    /// A report of another version than this library's is left out. The field exists with the feature `evaluation`
    /// alone, without which a report is not read.
    #[cfg(feature = "evaluation")]
    pub validation: Option<Validation>,
}

/// Why a model bundle cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any bundle.
    #[error("{name}: {size} bytes; a bundle has at most {max}")]
    TooLarge {
        /// The file.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// Largest size accepted.
        max: u64,
    },
    /// The file is of another kind.
    #[error("{name}: not a model bundle: {found}")]
    Other {
        /// The file.
        name: String,
        /// Its kind.
        found: FileKind,
    },
    /// The file is damaged, or not a bundle of this version.
    #[error("{name}: {field}: {message}")]
    Invalid {
        /// The file.
        name: String,
        /// The part of the bundle that is wrong.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

/// A checked model bundle, from which sessions are made. Clones share its bytes, and what their sessions share.
#[derive(Clone, Debug)]
pub struct Model {
    bytes: Arc<Cow<'static, [u8]>>,
    encoder: Range<usize>,
    decoder: Range<usize>,
    manifest: Manifest,
    pub(crate) shared: Arc<Shared>,
    #[cfg(feature = "evaluation")]
    pub(crate) other_version: Option<OtherVersion>,
}

impl Model {
    /// The model inside this library: U-MedSAM edge, in 8 bits. Some of the data that it was trained on may be used for
    /// research only.
    ///
    /// # Errors
    /// [`Error::Bundle`] if the library was built with another file in its place.
    #[cfg(feature = "bundled")]
    pub fn bundled() -> Result<Self, Error> {
        Self::check(Cow::Borrowed(include_bytes!("../assets/u-medsam-int8.umedsam")), "bundled model")
    }

    /// The other model inside this library: trained only on data whose terms allow any use, in 8 bits.
    ///
    /// # Errors
    /// As for [`bundled`](Self::bundled).
    #[cfg(feature = "bundled-free")]
    pub fn bundled_free() -> Result<Self, Error> {
        Self::check(Cow::Borrowed(include_bytes!("../assets/u-medsam-free-int8.umedsam")), "bundled free model")
    }

    /// Reads a bundle and checks it.
    ///
    /// # Errors
    /// [`Error::Bundle`] if the file cannot be read, is larger than 256 MiB, is of another kind, or is damaged or not
    /// of this version.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let io = |source| BundleError::Io { path: path.into(), source };
        let size = fs::metadata(path).map_err(io)?.len();
        let name = path.display().to_string();
        if size > MAX_BYTES {
            return Err(BundleError::TooLarge { name, size, max: MAX_BYTES }.into());
        }
        Self::check(fs::read(path).map_err(io)?.into(), &name)
    }

    /// Checks a bundle in memory.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        Self::check(bytes.into(), "model in memory")
    }

    /// Checks a bundle that is part of the program, or mapped into memory for as long as it runs. It is not copied: weights
    /// are read where they are when a session is made.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn from_static(bytes: &'static [u8]) -> Result<Self, Error> {
        Self::check(Cow::Borrowed(bytes), "model in memory")
    }

    fn check(bytes: Cow<'static, [u8]>, name: &str) -> Result<Self, Error> {
        let invalid = |field, message: String| BundleError::Invalid { name: name.into(), field, message };
        if let Some(found) = FileKind::of(&bytes).filter(|&kind| kind != FileKind::Bundle) {
            return Err(BundleError::Other { name: name.into(), found }.into());
        }
        let bad_file = |e: safetensors::SafeTensorError| invalid("container", e.to_string());
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(bad_file)?;
        let data_start = 8 + header;
        let entries = metadata.metadata().as_ref().ok_or_else(|| invalid("manifest", "missing".into()))?;
        let entry = |key| entries.get(key).ok_or_else(|| invalid("manifest", format!("{key} missing")));
        let json = entry(MANIFEST)?;
        expect_digest(json.as_bytes(), entry(MANIFEST_DIGEST)?).map_err(|m| invalid("manifest", m))?;

        // The version first: a later layout may hold other fields.
        let value: serde_json::Value = serde_json::from_str(json).map_err(|e| invalid("manifest", e.to_string()))?;
        let version = value.get("format_version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(FORMAT_VERSION)) {
            let found = version.map_or("none".into(), |v| v.to_string());
            let message = format!("{found} found, {FORMAT_VERSION} is what this version of the library reads");
            return Err(invalid("format_version", message).into());
        }
        #[cfg(feature = "evaluation")]
        let (value, other_version) = OtherVersion::take(value).map_err(|(field, message)| invalid(field, message))?;
        let manifest: Manifest = serde_json::from_value(value).map_err(|e| invalid("manifest", e.to_string()))?;
        if manifest.architecture != ARCHITECTURE {
            let message = format!("'{}' found, '{ARCHITECTURE}' is what this library runs", manifest.architecture);
            return Err(invalid("architecture", message).into());
        }
        if manifest.preprocessing_version != PREPROCESSING_VERSION {
            let found = manifest.preprocessing_version;
            let message = format!("{found} found, {PREPROCESSING_VERSION} is what this library performs");
            return Err(invalid("preprocessing_version", message).into());
        }
        let graph = |tensor: &'static str, digest: &str| {
            let info = metadata.info(tensor).ok_or_else(|| invalid(tensor, "missing".into()))?;
            let range = data_start + info.data_offsets.0..data_start + info.data_offsets.1;
            let content = bytes.get(range.clone()).ok_or_else(|| invalid(tensor, "beyond the file's end".into()))?;
            expect_digest(content, digest).map_err(|m| invalid(tensor, m))?;
            Ok::<_, BundleError>(range)
        };
        let encoder = graph(ENCODER, &manifest.encoder_sha256)?;
        let decoder = graph(DECODER, &manifest.decoder_sha256)?;
        Ok(Self {
            bytes: Arc::new(bytes),
            encoder,
            decoder,
            manifest,
            shared: Arc::default(),
            #[cfg(feature = "evaluation")]
            other_version,
        })
    }

    /// What the bundle says about itself.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The encoder graph, an ONNX file: `image` (B,3,256,256) to `embedding` (B,256,64,64).
    pub fn encoder_onnx(&self) -> &[u8] {
        &self.bytes[self.encoder.clone()]
    }

    /// The decoder graph, an ONNX file: `embedding` (1,256,64,64) and `boxes` (N,4) to `logits` (N,256,256) and `iou`
    /// (N).
    pub fn decoder_onnx(&self) -> &[u8] {
        &self.bytes[self.decoder.clone()]
    }

    /// Size of the bundle, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Loads both graphs. The model may be dropped afterwards.
    ///
    /// Sessions of one model and one precision share its packed weights, and those of one number of threads, two or more,
    /// share the threads: of sessions that work at the same time, each takes the threads that are free. Threads and
    /// weights go with the last session. While the first session of a precision is made, memory does not exceed 1.3 times
    /// what it holds afterwards ([`Session::memory`]). Sessions whose graphs tract runs
    /// ([`Session::fallback`]) share nothing.
    ///
    /// # Errors
    /// [`Error::Engine`] if a graph cannot be run as `options` ask, or if the threads cannot be started.
    pub fn session(&self, options: &SessionOptions) -> Result<Session, Error> {
        Session::new(self, options)
    }
}

/// Writes a bundle of two ONNX graphs. The manifest's format version and the digests of the graphs are filled in.
///
/// # Errors
/// [`Error::Bundle`] if the file cannot be written, or a value of the manifest's report is out of its bounds.
pub fn write_bundle(path: &Path, encoder: &[u8], decoder: &[u8], manifest: &Manifest) -> Result<(), Error> {
    let bytes = encode_bundle(encoder, decoder, manifest)?;
    crate::files::write_atomically(path, |out| out.write_all(&bytes))
        .map_err(|source| BundleError::Io { path: path.into(), source }.into())
}

/// As [`write_bundle`], but returns the bytes of the file, which [`Model::from_bytes`] takes.
///
/// # Errors
/// [`Error::Bundle`] if a value of the manifest's report is out of its bounds.
pub fn encode_bundle(encoder: &[u8], decoder: &[u8], manifest: &Manifest) -> Result<Vec<u8>, Error> {
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        encoder_sha256: hex_digest(encoder),
        decoder_sha256: hex_digest(decoder),
        ..manifest.clone()
    };
    let wrong = |field, message: String| BundleError::Invalid { name: "new bundle".into(), field, message };
    let invalid = |message: String| wrong("bundle", message);
    #[cfg(feature = "evaluation")]
    if let Some(report) = &manifest.validation {
        report.check().map_err(|(field, message)| wrong(field, message))?;
    }
    let json = serde_json::to_string(&manifest).map_err(|e| invalid(e.to_string()))?;
    let digest = hex_digest(json.as_bytes());
    let metadata = HashMap::from([(MANIFEST.to_owned(), json), (MANIFEST_DIGEST.to_owned(), digest)]);
    let view = |bytes| TensorView::new(Dtype::U8, vec![<[u8]>::len(bytes)], bytes).map_err(|e| invalid(e.to_string()));
    let tensors = [(ENCODER, view(encoder)?), (DECODER, view(decoder)?)];
    Ok(safetensors::serialize(tensors, Some(metadata)).map_err(|e| invalid(e.to_string()))?)
}

fn expect_digest(bytes: &[u8], expected: &str) -> Result<(), String> {
    let actual = hex_digest(bytes);
    if actual == expected { Ok(()) } else { Err(format!("damaged: SHA-256 {actual}, {expected} expected")) }
}
