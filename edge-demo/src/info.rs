//! `umedsam info`.

use std::path::Path;

use anyhow::Context;
use umedsam::{Model, outln};

/// Prints what a bundle (or the built-in model) holds.
pub(crate) fn run(file: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let model = match file {
        Some(path) => Model::load(path)?,
        None => Model::bundled()?,
    };
    let m = model.manifest();
    if json {
        outln!("{}", serde_json::to_string_pretty(m).context("manifest as JSON")?);
        return Ok(());
    }
    outln!("model          {}", m.name);
    outln!("architecture   {}", m.architecture);
    outln!("weights        {} ({} bytes in all)", m.storage, model.size_bytes());
    outln!("preprocessing  version {}", m.preprocessing_version);
    outln!("licence        {}", m.licence);
    for source in &m.sources {
        outln!("source         {source}");
    }
    outln!("weights        sha256:{}", m.weights_sha256);
    outln!("encoder        {} bytes, sha256:{}", model.encoder_onnx().len(), m.encoder_sha256);
    outln!("decoder        {} bytes, sha256:{}", model.decoder_onnx().len(), m.decoder_sha256);
    outln!("validation     {}", model.validation());
    Ok(())
}
