//! `umedsam-export quantize`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use umedsam::files::{check_output, write_atomically};
use umedsam::{Precision, Storage, outln};
use umedsam_export::checkpoint::Weights;
use umedsam_export::quantize::probes::Probe;
use umedsam_export::quantize::search::{self, Budget, Choice};
use umedsam_export::quantize::{LayerReport, Observer, Options, calibrate, probes};

/// Make weights for 8 bits: calibrated on real cases, and with the blocks named that stay in floats.
///
/// The result is a checkpoint like any other; `bundle --storage int8` needs no cases any more.
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
    #[command(flatten)]
    settings: Settings,
    /// Write what was measured as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// How weights are quantized.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Settings {
    /// Cases of each modality, images and volumes apart, that are looked at.
    #[arg(long, default_value_t = 3)]
    pub(crate) per_row: usize,
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
}

#[derive(Debug, Serialize)]
struct Report {
    probes: Vec<String>,
    layers: Vec<LayerReport>,
    choice: Option<Choice>,
}

impl Quantize {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        check_output(&self.out, &[&self.weights])?;
        let weights = super::load(&self.weights)?;
        let probes = probes::read(&self.cases, self.settings.per_row)?;
        self.settings.quantize(&weights, &probes, self.report.as_deref())?.save(&self.out)?;
        outln!("{}", self.out.display());
        Ok(())
    }
}

impl Settings {
    /// Quantizes, prints what was measured, and writes it to `report`.
    pub(crate) fn quantize(
        self,
        weights: &Weights,
        probes: &[Probe],
        report: Option<&Path>,
    ) -> anyhow::Result<Weights> {
        outln!("{} images, {} boxes", probes.len(), probes.iter().map(|p| p.boxes.len()).sum::<usize>());
        let options = Options {
            observer: self.observer,
            equalise: !self.no_equalise,
            in_turn: !self.nearest,
            correct_bias: !self.no_bias_correction,
        };
        let bar = super::bar();
        let (mut quantized, layers) = calibrate(weights, probes, options, super::show(&bar))?;
        bar.suspend(|| table(&layers));
        let choice = if self.no_search {
            None
        } else {
            let reference = search::masks(weights, Storage::F32, Precision::F32, probes)?;
            let budget = Budget::new().with_time(self.time_budget).with_bytes(self.size_budget);
            let choice = search::choose(&quantized, &reference, probes, budget, super::show(&bar))?;
            quantized = quantized.with_plan(choice.plan.clone());
            bar.suspend(|| blocks(&choice));
            Some(choice)
        };
        bar.finish_and_clear();
        if let Some(path) = report {
            let report = Report { probes: probes.iter().map(|p| p.name.clone()).collect(), layers, choice };
            let json = serde_json::to_vec_pretty(&report)?;
            write_atomically(path, |file| file.write_all(&json)).with_context(|| path.display().to_string())?;
        }
        Ok(quantized)
    }
}

fn table(layers: &[LayerReport]) {
    outln!("error of each layer's output in % of its scale; static: one range of activations for all images");
    outln!(
        "{:<48} {:>5} {:>7} {:>7} {:>8} {:>11} {:>8} {:>8} {:>8}",
        "layer",
        "alpha",
        "before",
        "after",
        "weights",
        "activations",
        "min-max",
        "99.99 %",
        "mse"
    );
    for l in layers {
        let alpha = l.alpha.map_or("-".into(), |a| a.to_string());
        let percent = |v: f64| format!("{:.2}", 100.0 * v);
        outln!(
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
    outln!("what a block in floats is worth: agreement with the f32 masks, time, bytes");
    for s in &choice.blocks {
        let kept = if s.chosen { "kept" } else { "" };
        outln!(
            "{:<60} {:<5} {:>+9.5} +- {:.5} {:>+6.1} % {:>8} {kept}",
            s.block,
            format!("{:?}", s.precision).to_lowercase(),
            s.gain,
            s.error,
            100.0 * s.time,
            s.bytes
        );
    }
    let show = |what: &str, (agreement, bytes): &(probes::Agreement, usize)| {
        let (worst, name) = &agreement.worst;
        outln!("{what}: agreement {:.5}, worst {worst:.4} ({name}), {bytes} bytes", agreement.mean);
    };
    show("everything in 8 bits", &choice.before);
    show("with the plan", &choice.after);
}
