//! Making a model bundle of weights.

use std::path::Path;

use umedsam::files::write_atomically;
use umedsam::preprocess::PREPROCESSING_VERSION;
use umedsam::{ARCHITECTURE, BundleError, FORMAT_VERSION, Manifest, Storage, encode_bundle};

use crate::checkpoint::Weights;
use crate::onnx::{self, OnnxError};

/// Why a bundle could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The graphs could not be built.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The bundle could not be written.
    #[error(transparent)]
    Write(#[from] umedsam::Error),
}

/// Builds both graphs of `weights` and writes them with a manifest to `path`. `name` is for people.
pub fn make(weights: &Weights, storage: Storage, name: &str, path: &Path) -> Result<Manifest, MakeError> {
    let (bytes, manifest) = build(weights, storage, name)?;
    write_atomically(path, |out| out.write_all(&bytes))
        .map_err(|source| umedsam::Error::from(BundleError::Io { path: path.into(), source }))?;
    Ok(manifest)
}

/// As [`make`], in memory: the bundle's bytes, which [`umedsam::Model::from_bytes`] takes, and its manifest.
pub fn build(weights: &Weights, storage: Storage, name: &str) -> Result<(Vec<u8>, Manifest), MakeError> {
    let graphs = onnx::build(weights, storage)?;
    let origin = weights.provenance();
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        architecture: ARCHITECTURE.into(),
        name: name.into(),
        storage,
        preprocessing_version: PREPROCESSING_VERSION,
        weights_sha256: weights.content_sha256(),
        licence: origin.licence.clone().unwrap_or_else(|| "unknown".into()),
        sources: origin.source.iter().cloned().chain(origin.sha256.iter().map(|s| format!("sha256:{s}"))).collect(),
        encoder_sha256: umedsam::hex_digest(&graphs.encoder),
        decoder_sha256: umedsam::hex_digest(&graphs.decoder),
        validation: None,
    };
    let bytes = encode_bundle(&graphs.encoder, &graphs.decoder, &manifest)?;
    Ok((bytes, manifest))
}
