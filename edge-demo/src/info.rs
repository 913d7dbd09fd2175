//! `umedsam info`.

use std::path::Path;

use anyhow::Context;
use umedsam::{Model, Standing};

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
    println!("validation     {}", model.standing());
    if let Standing::Passed(v) | Standing::Refused(v) = model.standing() {
        println!("               against {}, tolerance {:.2} points of DSC", v.reference, 100.0 * v.tolerance);
        println!("{:<17} {:>5} {:>7} {:>7} {:>24} {:>9}", "", "cases", "DSC", "was", "difference [95 %]", "agreement");
        for r in &v.rows {
            let [mean, low, high] = r.dsc_difference.map(|d| 100.0 * d);
            let difference = format!("{mean:+.2} [{low:+.2}, {high:+.2}]");
            let [was, is] = r.dsc.map(|d| 100.0 * d);
            println!("{:<17} {:>5} {is:>7.2} {was:>7.2} {difference:>24} {:>9.4}", r.row, r.cases, r.agreement);
        }
    }
    Ok(())
}
