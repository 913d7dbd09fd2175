//! How fast steps are, in which form, beside PyTorch's on the same device.

mod peer;

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Context;
use tch::Device;
use umedsam::outln;
use umedsam_train::config::Config;
use umedsam_train::ranks::Ranks;
use umedsam_train::torch;
use umedsam_train::trainer::{Event, Folders, Observer, Trainer};

use crate::kit::Kit;
use peer::Peer;

/// What of the network is trained.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The decoder, with the frozen encoder at work.
    Decoder,
    Whole,
}

/// A row of the table.
struct Setting {
    part: Part,
    sharp: bool,
    precision: &'static str,
    batch: usize,
    /// What is otherwise than a device of this kind has it.
    form: &'static str,
    /// Whether PyTorch takes the same steps.
    beside: bool,
}

impl Setting {
    const fn new(part: Part, sharp: bool, precision: &'static str, batch: usize) -> Self {
        Self { part, sharp, precision, batch, form: "", beside: true }
    }

    const fn alone(self) -> Self {
        Self { beside: false, ..self }
    }

    const fn with_form(self, form: &'static str) -> Self {
        Self { form, beside: false, ..self }
    }

    fn config(&self, kit: &Kit) -> anyhow::Result<Config> {
        let part = match self.part {
            Part::Decoder => "model.trained=['mask_decoder.']",
            Part::Whole => "model.trained=['']",
        };
        let norm = match self.part {
            Part::Decoder => "model.batch-norm=frozen",
            Part::Whole => "model.batch-norm=batch",
        };
        let sharp = format!("sharp-min.kind={}", if self.sharp { "sam" } else { "off" });
        let batch = format!("training.batch={}", self.batch);
        let precision = format!("model.precision={}", self.precision);
        let mut settings = vec![
            part,
            norm,
            &sharp,
            &batch,
            &precision,
            "data.samples-per-epoch=20000",
            "data.default-cap=20000",
            "data.caps={}",
            "training.epochs=1",
            "engine.read-every=5",
        ];
        settings.extend((!self.form.is_empty()).then_some(self.form));
        kit.config("u-medsam", &settings)
    }
}

/// What a setting brought.
#[derive(Default)]
struct Found {
    /// When each step was known.
    steps: Vec<Instant>,
    /// The loss of the first.
    loss: f64,
    /// Part of the time in which the steps waited for samples.
    waited: f64,
    /// Samples at once, if not the batch.
    at_once: Option<usize>,
}

impl Found {
    /// Images a second, without the first look at the losses, before which memory is allocated and kernels are chosen.
    fn rate(&self, batch: usize, read_every: usize) -> Option<f64> {
        let (first, last) = (self.steps.get(read_every - 1)?, self.steps.last()?);
        let counted = self.steps.len() - read_every;
        (counted > 0).then(|| (counted * batch) as f64 / last.duration_since(*first).as_secs_f64())
    }
}

impl Observer for Found {
    fn observe(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Step(progress) => {
                if self.steps.is_empty() {
                    self.loss = progress.loss;
                }
                self.steps.push(Instant::now());
            }
            Event::Smaller { at_once, .. } => self.at_once = Some(at_once),
            Event::Epoch { epoch, .. } if epoch.seconds > 0.0 => self.waited = epoch.waited / epoch.seconds,
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Prints the table, row by row, as far as the time goes; says what it left out.
pub(crate) fn time(kit: &Kit, until: Instant) -> anyhow::Result<()> {
    let cuda = kit.device.is_cuda();
    let peer = Peer::new(kit);
    outln!("PyTorch: {}", peer.as_ref().map_or_else(|why| format!("not run: {why:#}"), ToString::to_string));
    outln!(
        "| trained | SharpMin | precision | batch | form | images/s | waited for data | peak GB | PyTorch images/s | first loss, PyTorch's |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut settings = first_settings(cuda);
    let (mut done, mut best) = (0, (0.0, 2));
    while done < settings.len() {
        let left = until.saturating_duration_since(Instant::now());
        // A row needs some seconds to choose its kernels; what there is no time for is left out, the last rows first.
        let least = Duration::from_secs(if cuda { 8 } else { 2 });
        let share = (left / (settings.len() - done) as u32).clamp(least, Duration::from_secs(10));
        // PyTorch's start takes longer than its steps.
        let own = if settings[done].beside && peer.is_ok() { 3 * least } else { least };
        if left < own {
            outln!("time is over: {} of {} rows left out", settings.len() - done, settings.len());
            break;
        }
        let setting = &settings[done];
        match crate::caught(|| row(kit, setting, share, peer.as_ref().ok())) {
            Ok(Some(rate)) if setting.part == Part::Whole && rate > best.0 => best = (rate, setting.batch),
            Ok(_) => {}
            Err(error) => outln!("| {} | FAILED: {error:#} |", setting.batch),
        }
        done += 1;
        if done == FIRST && cuda {
            settings.extend(further_settings(best.1));
        }
    }
    Ok(())
}

/// The rows that find the best batch.
const FIRST: usize = 4;

fn first_settings(cuda: bool) -> Vec<Setting> {
    let whole = |precision, batch| Setting::new(Part::Whole, true, precision, batch);
    if cuda {
        return vec![whole("bf16", 32), whole("bf16", 64).alone(), whole("bf16", 16).alone(), whole("bf16", 2)];
    }
    let decoder = |precision| Setting::new(Part::Decoder, true, precision, 2);
    vec![decoder("f32"), decoder("f32").with_form("engine.fused-adamw=true"), whole("f32", 2)]
}

/// What is told with the best batch: each arithmetic, each form by itself, the decoder alone.
fn further_settings(batch: usize) -> Vec<Setting> {
    let whole = |sharp, precision, batch| Setting::new(Part::Whole, sharp, precision, batch);
    let mut all = vec![whole(true, "tf32", batch.min(16)).alone(), whole(true, "f32", batch.min(16)).alone()];
    let forms = [
        "engine.fused-attention=false",
        "engine.channels-last=false",
        "engine.fused-adamw=false",
        "engine.cudnn-benchmark=true",
        "engine.read-every=1",
        "engine.deterministic=true",
    ];
    all.extend(forms.map(|form| whole(true, "bf16", batch).with_form(form)));
    let decoder = |sharp, batch| Setting::new(Part::Decoder, sharp, "bf16", batch);
    all.extend([decoder(true, batch), whole(false, "bf16", batch), whole(true, "tf32", 2), whole(true, "f32", 2)]);
    all.extend([decoder(false, batch), decoder(true, 2).alone()]);
    all
}

/// Takes the steps of a setting and prints its row; images a second.
fn row(kit: &Kit, setting: &Setting, share: Duration, peer: Option<&Peer>) -> anyhow::Result<Option<f64>> {
    let config = setting.config(kit)?;
    let folder = kit.place("timed");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    if let Device::Cuda(index) = kit.device {
        torch::free_cached_memory()?;
        torch::reset_peak_memory(index)?;
    }
    let (ranks, mut found) = (Ranks::alone(), Found::default());
    let folders = Folders { data: kit.small()?, validation: None };
    let trainer = Trainer::start(&config, &folders, &kit.weights()?, &folder, kit.device, &ranks, &mut found)?;
    trainer.with_deadline(Instant::now() + share).run()?;
    let read_every = config.engine.on(kit.device).read_every as usize;
    let rate = found.rate(setting.batch, read_every);
    let part = if setting.part == Part::Whole { "whole" } else { "decoder" };
    let batch = found.at_once.map_or(setting.batch.to_string(), |n| format!("{} as {n} at once", setting.batch));
    let mut line = format!("| {part} | {} | {} | {batch} | {} |", setting.sharp, setting.precision, setting.form);
    let shown = rate
        .map_or_else(|| format!("{} steps in {:.0} s", found.steps.len(), share.as_secs_f64()), |r| format!("{r:.1}"));
    let _ = write!(line, " {shown} | {:.1} % |", 100.0 * found.waited);
    match kit.device {
        Device::Cuda(index) => {
            let _ = write!(line, " {:.1} |", torch::peak_memory(index)? as f64 / 1e9);
        }
        _ => line += " |",
    }
    match peer.filter(|_| setting.beside) {
        Some(peer) => {
            if kit.device.is_cuda() {
                // PyTorch needs as much.
                torch::free_cached_memory()?;
            }
            let theirs = peer.run(kit, setting, &config, share).context("PyTorch");
            match theirs {
                Ok(theirs) => {
                    let _ = write!(line, " {:.1} | {:.5}, {:.5} |", theirs.rate, found.loss, theirs.loss);
                }
                Err(error) => {
                    let _ = write!(line, " FAILED: {error:#} | |");
                }
            }
        }
        None => line += " | |",
    }
    outln!("{line}");
    Ok(rate)
}
