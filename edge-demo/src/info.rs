//! `umedsam info`.

use std::path::Path;

use anyhow::Context;
use umedsam::{Model, SessionOptions, outln};

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
    let memory = match model.session(&SessionOptions::new()).map(|session| session.memory()) {
        Ok(Some(memory)) => {
            let [weights, working] = [memory.weights, memory.buffers + memory.scratch].map(|bytes| bytes as f64 / 1e6);
            format!("{weights:.1} MB of packed weights, {working:.1} MB to work in, on one thread")
        }
        Ok(None) => "not known: its graphs do not run in fused blocks".to_owned(),
        Err(error) => format!("none: it does not run here: {error}"),
    };
    outln!("memory         {memory}");
    outln!("validation     {}", model.validation());
    Ok(())
}
