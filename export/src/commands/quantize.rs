//! `umedsam-export quantize`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use umedsam::files::write_atomically;
use umedsam::{Arithmetic, Precision};
use umedsam_export::checkpoint::Weights;
use umedsam_export::quantize::search::{self, Budget, Choice};
use umedsam_export::quantize::{LayerReport, Observer, Options, calibrate, probes};

/// Make weights for 8 bits: calibrated on real cases, and with the blocks named that stay in floats.
///
/// The result is a checkpoint like any other; `bundle --precision int8` needs no cases any more.
#[derive(Debug, Args)]
pub(crate) struct Quantize {
    /// The safetensors file.
    weights: PathBuf,
    /// Folder of labelled cases (the challenge's NPZ format); never those that the result is judged on.
    #[arg(long, value_name = "DIR")]
    cases: PathBuf,
    /// The safetensors file to write.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Cases of each modality, images and volumes apart, that are looked at.
    #[arg(long, default_value_t = 3)]
    per_row: usize,
    /// How the range of weights is found: min-max, percentile:SHARE or mse.
    #[arg(long, default_value_t = Observer::Mse)]
    observer: Observer,
    /// Leave channels as they are (no SmoothQuant, no cross-layer equalisation).
    #[arg(long)]
    no_equalise: bool,
    /// Round each weight to its nearest step instead of one after another.
    #[arg(long)]
    nearest: bool,
    /// Leave biases as they are.
    #[arg(long)]
    no_bias_correction: bool,
    /// Keep blocks in floats up to this time of an encode and a decode, everything in 8 bits being 1.
    #[arg(long, default_value_t = Budget::new().time)]
    time_budget: f64,
    /// Keep blocks in floats up to this many bytes of the bundle.
    #[arg(long, default_value_t = Budget::new().bytes)]
    size_budget: usize,
    /// Leave the plan of the weights as it is: measure no block.
    #[arg(long)]
    no_search: bool,
    /// Write what was measured as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    probes: Vec<String>,
    layers: Vec<LayerReport>,
    choice: Option<Choice>,
}

impl Quantize {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let weights = Weights::load(&self.weights)?;
        let probes = probes::read(&self.cases, self.per_row)?;
        println!("{} images, {} boxes", probes.len(), probes.iter().map(|p| p.boxes.len()).sum::<usize>());
        let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {eta}")?);
        let options = Options {
            observer: self.observer,
            equalise: !self.no_equalise,
            in_turn: !self.nearest,
            correct_bias: !self.no_bias_correction,
        };
        let (mut quantized, layers) = calibrate(&weights, &probes, options, progress(&bar))?;
        bar.finish_and_clear();
        table(&layers);
        let choice = if self.no_search {
            None
        } else {
            let reference = search::masks(&weights, Precision::F32, Arithmetic::F32, &probes)?;
            let budget = Budget::new().with_time(self.time_budget).with_bytes(self.size_budget);
            let choice = search::choose(&quantized, &reference, &probes, budget, progress(&bar))?;
            bar.finish_and_clear();
            quantized = quantized.with_plan(choice.plan.clone());
            blocks(&choice);
            Some(choice)
        };
        quantized.save(&self.out)?;
        println!("{}", self.out.display());
        if let Some(path) = self.report {
            let report = Report { probes: probes.into_iter().map(|p| p.name).collect(), layers, choice };
            let json = serde_json::to_vec_pretty(&report)?;
            write_atomically(&path, |file| file.write_all(&json)).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// Shows on standard error how far the work is, where that is a terminal.
fn progress(bar: &ProgressBar) -> impl FnMut(&str, usize, usize) {
    let bar = bar.clone();
    move |what, done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        bar.set_message(what.to_owned());
    }
}

fn table(layers: &[LayerReport]) {
    println!("error of each layer's output in % of its scale; static: one range of activations for all images");
    println!(
        "{:<48} {:>5} {:>7} {:>7} {:>8} {:>11} {:>8} {:>8} {:>8}",
        "layer", "alpha", "before", "after", "weights", "activations", "min-max", "99.99 %", "mse"
    );
    for l in layers {
        let alpha = l.alpha.map_or("-".into(), |a| a.to_string());
        let percent = |v: f64| format!("{:.2}", 100.0 * v);
        println!(
            "{:<48} {alpha:>5} {:>7} {:>7} {:>8} {:>11} {:>8} {:>8} {:>8}",
            l.layer,
            percent(l.before),
            percent(l.after),
            percent(l.weights),
            percent(l.activations),
            percent(l.static_min_max),
            percent(l.static_percentile),
            percent(l.static_mse)
        );
    }
}

fn blocks(choice: &Choice) {
    println!("what a block in floats is worth: agreement with the f32 masks, time, bytes");
    for s in &choice.blocks {
        let kept = if s.chosen { "kept" } else { "" };
        println!(
            "{:<60} {:<5} {:>+9.5} {:>+6.1} % {:>8} {kept}",
            s.block,
            format!("{:?}", s.floats).to_lowercase(),
            s.gain,
            100.0 * s.time,
            s.bytes
        );
    }
    let show = |what: &str, (agreement, bytes): &(probes::Agreement, usize)| {
        let (worst, name) = &agreement.worst;
        println!("{what}: agreement {:.5}, worst {worst:.4} ({name}), {bytes} bytes", agreement.mean);
    };
    show("everything in 8 bits", &choice.before);
    show("with the plan", &choice.after);
}
