//! The longer commands, one a file.

pub(crate) mod pipeline;
pub(crate) mod quantize;
pub(crate) mod validate;

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use umedsam::errln;
use umedsam_export::checkpoint::{self, KnownCheckpoint, Weights, litemedsam};

/// Reads weights, and tells what was left out of their names.
pub(crate) fn load(path: &Path) -> Result<Weights, checkpoint::Error> {
    let weights = Weights::load(path)?;
    if let Some(prefix) = weights.stripped_prefix() {
        errln!("{}: {prefix:?} of every name left out", path.display());
    }
    Ok(weights)
}

/// What a model of these weights is called where nobody says: LiteMedSAM if they are the published ones, else by their file.
pub(crate) fn model_name(weights: &Weights, path: &Path) -> String {
    let source = weights.provenance().source.as_deref();
    let published = |known: &KnownCheckpoint| source == Some(known.name);
    match litemedsam::KNOWN.iter().any(published) {
        true => "LiteMedSAM".into(),
        false => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    }
}

/// Shows on standard error how far the work is, where that is a terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template("{msg:20} {bar:30} {pos}/{len} ({eta} left)") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Tells a bar what is being done, and the steps done and in all.
fn show(bar: &ProgressBar) -> impl FnMut(&str, usize, usize) + '_ {
    |what, done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        bar.set_message(what.to_owned());
    }
}
