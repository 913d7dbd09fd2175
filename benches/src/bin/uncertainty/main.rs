//! What uncertainty at inference is worth: whether its score tells good masks from bad ones, whether its probabilities are
//! true, whether the mask of the mean is a better one, and what all of it takes.
//!
//! ```sh
//! cargo run --release -p umedsam-benches --bin uncertainty -- --fit TRAIN --judge VAL
//! ```
//!
//! Both are folders of labelled NPZ cases, of which the images are taken and the volumes are not. The temperature is
//! fitted on the first folder alone, by the likelihood of the truth; every other figure of it stands beside that of the
//! second for comparison. Times are those of one session on one thread, in this process.

#![forbid(unsafe_code)]

mod measure;
mod pixels;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use umedsam::files::write_atomically;
use umedsam::{Precision, SessionOptions, UncertaintyOptions};
use umedsam_benches::{arguments::exit, load_model, results};

use crate::measure::{Boxes, Findings, measure};

/// Measure what uncertainty at inference is worth.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Folder of cases that the network was trained on.
    #[arg(long, value_name = "FOLDER")]
    fit: PathBuf,
    /// Folder of cases that it was not trained on.
    #[arg(long, value_name = "FOLDER")]
    judge: PathBuf,
    /// Most images of the folder to fit on, evenly spaced by name.
    #[arg(long, value_name = "N", default_value_t = 150)]
    fit_images: usize,
    /// Most images of the folder to judge on, evenly spaced by name.
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    judge_images: usize,
    /// Most objects of an image, evenly spaced among its boxes: images of many cells would outweigh all others.
    #[arg(long, value_name = "N", default_value_t = 8)]
    objects: usize,
    /// Numbers of boxes of an object, beside one alone.
    #[arg(long, value_name = "K,...", value_delimiter = ',', default_values_t = [4, 8, 16])]
    samples: Vec<usize>,
    /// Seed of the boxes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Most that a side is moved, in pixels of the 256x256 grid.
    #[arg(long, default_value_t = UncertaintyOptions::new().pixels)]
    pixels: f32,
    /// Most that a side is moved, as a share of the box's longer side.
    #[arg(long, default_value_t = UncertaintyOptions::new().share)]
    share: f32,
    /// Model bundle; the built-in one if left out.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Precision to compute in; the model's own if left out.
    #[arg(long, value_name = "P")]
    precision: Option<Precision>,
    /// Also write a line for each object.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the tables into this file; benches/RESULTS.md if no file is named.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    results: Option<Option<PathBuf>>,
}

fn main() -> ExitCode {
    exit("uncertainty", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(arguments.objects > 0, "--objects is at least 1");
    let options = UncertaintyOptions::new().with_seed(arguments.seed).with_jitter(arguments.pixels, arguments.share);
    let mut samples = [&[1], &arguments.samples[..]].concat();
    samples.sort_unstable();
    samples.dedup();
    samples.iter().try_for_each(|&samples| options.with_samples(samples).check())?;
    let model = load_model(arguments.model.as_deref())?;
    let mut with = SessionOptions::new();
    with.precision = arguments.precision;
    let mut session = model.session(&with)?;
    let mut findings: Vec<Findings> = Vec::new();
    for (folder, images, fitted) in
        [(&arguments.fit, arguments.fit_images, true), (&arguments.judge, arguments.judge_images, false)]
    {
        for boxes in [Boxes::Exact, Boxes::Loose] {
            let found = measure(&mut session, folder, images, arguments.objects, boxes, &options, &samples)
                .with_context(|| folder.display().to_string())?;
            findings.push(Findings { fitted, boxes, found });
        }
    }
    if let Some(path) = &arguments.csv {
        let csv = report::csv(&findings, &samples);
        write_atomically(path, |file| file.write_all(csv.as_bytes())).with_context(|| path.display().to_string())?;
    }
    let text = report::markdown(&model, &session, arguments, &samples, &findings)?;
    println!("{text}");
    if let Some(path) = &arguments.results {
        let path = path.clone().unwrap_or_else(results::default_path);
        results::write_section(&path, "uncertainty", &text)?;
    }
    Ok(())
}
