//! `umedsam info`.

use std::path::Path;

use anyhow::Context;
use umedsam::Model;

/// Prints what a bundle (or the built-in model) holds.
pub(crate) fn run(file: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let model = match file {
        Some(path) => Model::load(path)?,
        None => Model::bundled()?,
    };
    let m = model.manifest();
    if json {
        println!("{}", serde_json::to_string_pretty(m).context("manifest as JSON")?);
        return Ok(());
    }
    println!("model          {}", m.name);
    println!("architecture   {}", m.architecture);
    println!("weights        {} ({} bytes in all)", m.precision, model.size_bytes());
    println!("preprocessing  version {}", m.preprocessing_version);
    println!("licence        {}", m.licence);
    for source in &m.sources {
        println!("source         {source}");
    }
    println!("weights        sha256:{}", m.weights_sha256);
    println!("encoder        {} bytes, sha256:{}", model.encoder_onnx().len(), m.encoder_sha256);
    println!("decoder        {} bytes, sha256:{}", model.decoder_onnx().len(), m.decoder_sha256);
    println!("validation     {}", model.validation());
    Ok(())
}
