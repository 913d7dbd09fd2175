//! Whole runs on the device, beside the same runs on the CPU.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::ensure;
use tch::{Device, Kind, Tensor};
use umedsam::outln;
use umedsam_train::config::{Config, EncoderSize};
use umedsam_train::ranks::Ranks;
use umedsam_train::trainer::{Event, Folders, Observer, TrainError, Trainer};

use super::{REFERENCE, Table};
use crate::kit::Kit;

/// What a run brought.
struct Outcome {
    /// The total loss of every step.
    losses: Vec<f64>,
    weights: BTreeMap<String, Tensor>,
}

/// Notes the losses, and stops after some steps.
struct Notes {
    losses: Vec<f64>,
    steps: usize,
}

impl Observer for Notes {
    fn observe(&mut self, event: Event<'_>) -> ControlFlow<()> {
        if let Event::Step(progress) = event {
            self.losses.push(progress.loss);
            if self.losses.len() >= self.steps {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// Runs `steps` steps in the folder `name` of the work folder, or goes on with what is there.
fn run(kit: &Kit, config: &Config, device: Device, name: &str, steps: usize) -> Result<Outcome, anyhow::Error> {
    let (folder, ranks) = (kit.place(name), Ranks::alone());
    let mut notes = Notes { losses: Vec::new(), steps };
    let trainer = if folder.join("last.safetensors").exists() {
        Trainer::resume(&folder, None, device, &ranks, &mut notes)?
    } else {
        let folders = Folders { data: kit.small()?, validation: None };
        Trainer::start(config, &folders, &kit.weights()?, &folder, device, &ranks, &mut notes)?
    };
    trainer.run()?;
    Ok(Outcome { losses: notes.losses, weights: weights(&folder.join("last.safetensors"))? })
}

fn weights(state: &Path) -> anyhow::Result<BTreeMap<String, Tensor>> {
    let tensors = Tensor::read_safetensors(state)?;
    Ok(tensors.into_iter().filter_map(|(name, t)| Some((name.strip_prefix("model.")?.to_string(), t))).collect())
}

/// How far two runs went apart, as a part of how far the first went from where both began; and of their losses.
fn runs_apart(kit: &Kit, expected: &Outcome, found: &Outcome) -> anyhow::Result<(f64, f64)> {
    let origin = kit.origin()?;
    let length = |difference: &dyn Fn(&str, &Tensor) -> Tensor| {
        let parts = expected.weights.iter().filter(|(_, t)| t.kind() == Kind::Float).map(|(name, value)| {
            difference(name, value).to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[])
        });
        parts.sum::<f64>().sqrt()
    };
    let moved = length(&|name, value| value - &origin[name]);
    let apart = length(&|name, value| value - &found.weights[name]);
    ensure!(moved > 0.0, "the run moved nothing");
    ensure!(expected.losses.len() == found.losses.len(), "{} and {} steps", expected.losses.len(), found.losses.len());
    let losses = expected.losses.iter().zip(&found.losses).map(|(e, f)| (e - f).abs() / e.abs().max(0.1));
    Ok((apart / moved, losses.fold(0.0, f64::max)))
}

pub(super) fn check(kit: &Kit, table: &mut Table) -> anyhow::Result<()> {
    if kit.device.is_cuda() {
        beside_the_cpu(kit, table)?;
    } else {
        table.skip("steps of the whole model", REFERENCE);
    }
    // On the device alone, where the CPU would take long: the same run done otherwise.
    let (batch, samples) = if kit.device.is_cuda() { (4, 24) } else { (1, 6) };
    let size = [format!("training.batch={batch}"), format!("data.samples-per-epoch={samples}")];
    let decoder = |settings: &[&str]| {
        let own =
            ["model.trained=['mask_decoder.']", "training.epochs=1", "optimizer.epsilon=1e-3", &size[0], &size[1]];
        kit.config("u-medsam", &[&own, settings].concat())
    };
    let strict = decoder(&["engine.deterministic=true", "engine.read-every=1"])?;
    let straight = run(kit, &strict, kit.device, "straight", 6)?;
    let again = run(kit, &strict, kit.device, "again", 6)?;
    let equal = straight.weights.iter().all(|(name, value)| value.equal(&again.weights[name]));
    table.fact("deterministic: two runs are equal to the bit", if equal { "yes" } else { "no" }, equal);
    run(kit, &strict, kit.device, "broken", 3)?;
    let resumed = run(kit, &strict, kit.device, "broken", 3)?;
    let equal = straight.weights.iter().all(|(name, value)| value.equal(&resumed.weights[name]));
    table.fact("deterministic: a run that was stopped goes on to the bit", if equal { "yes" } else { "no" }, equal);
    let seldom = decoder(&["engine.deterministic=true", "engine.read-every=3", "engine.fused-adamw=true"])?;
    let found = run(kit, &seldom, kit.device, "seldom", 6)?;
    let (weights, losses) = runs_apart(kit, &straight, &found)?;
    table.row("losses read every third step, AdamW in one kernel: losses", losses, 1e-4);
    table.row("losses read every third step, AdamW in one kernel: parameters", weights, 1e-2);
    not_finite(kit, &seldom, table)?;
    restore(kit)
}

/// Steps of everything that is trained: of all parameters, SharpMin's two passes, AdamW.
fn beside_the_cpu(kit: &Kit, table: &mut Table) -> anyhow::Result<()> {
    // A step of AdamW at its start is the gradient's sign, whatever its size: a larger epsilon makes it the gradient.
    let tame = ["optimizer.epsilon=1e-3", "data.samples-per-epoch=16", "engine.read-every=1"];
    for (name, norm) in [("frozen BatchNorm", "frozen"), ("BatchNorm of the batch", "batch")] {
        let norm = format!("model.batch-norm={norm}");
        let whole = ["model.trained=['']", "training.batch=2", "training.epochs=1", &norm];
        let config = kit.config("u-medsam", &[&whole, &tame[..]].concat())?;
        let run = |device, at: &str| run(kit, &config, device, &format!("{at}-{name}"), 2);
        let (weights, losses) = runs_apart(kit, &run(Device::Cpu, "cpu")?, &run(kit.device, "device")?)?;
        table.row(&format!("two steps of the whole model, SharpMin, {name}: losses"), losses, 1e-3);
        table.row(&format!("two steps of the whole model, SharpMin, {name}: parameters"), weights, 2e-2);
    }
    Ok(())
}

/// A loss that is not finite ends a run, and the state that it left is the one before.
fn not_finite(kit: &Kit, config: &Config, table: &mut Table) -> anyhow::Result<()> {
    let mut broken: Vec<(String, Tensor)> = kit.origin()?.into_iter().collect();
    for (name, value) in &mut broken {
        if name == "mask_decoder.mask_tokens.weight" {
            *value = &*value * 1e35;
        }
    }
    let file = kit.place("broken.safetensors");
    Tensor::write_safetensors(&broken, &file)?;
    let (folder, ranks, mut silent) = (kit.place("not-finite"), Ranks::alone(), ());
    let folders = Folders { data: kit.small()?, validation: None };
    let trainer = Trainer::start(config, &folders, &file, &folder, kit.device, &ranks, &mut silent)?;
    let told = match trainer.run() {
        Err(TrainError::NotFinite { epoch: 1, step: 1, .. }) => "in step 1".to_string(),
        Err(error) => format!("another error: {error}"),
        Ok(_) => "no error".into(),
    };
    let state = weights(&folder.join("last.safetensors"))?;
    let kept = broken.iter().all(|(name, value)| state.get(name).is_none_or(|t| t.equal(value)));
    table.fact("a loss that is not finite is told, and moves nothing", &told, told == "in step 1" && kept);
    Ok(())
}

/// Settings of libtorch that a run has left behind.
fn restore(kit: &Kit) -> anyhow::Result<()> {
    Ok(umedsam_train::cuda::configure(kit.device, &Config::default())?)
}

/// The first two steps of a training, in f32 on two samples, on the device and on the CPU.
///
/// # Errors
/// If they are not the same: then nothing that the device trains is to be believed.
pub(crate) fn prove(kit: &Kit, config: &Config) -> anyhow::Result<()> {
    if !kit.device.is_cuda() {
        outln!("  not compared: {REFERENCE}");
        return Ok(());
    }
    if config.model.encoder != EncoderSize::Lite {
        outln!("  not compared: the encoder begins with random weights, others on each device");
        return Ok(());
    }
    let mut config = config.clone();
    config.model.precision = umedsam_train::config::Precision::F32;
    (config.training.batch, config.training.accumulation, config.training.epochs) = (2, 1, 1);
    config.data.samples_per_epoch = Some(4);
    // The few cases for checks need not have all of them.
    config.data.without.clear();
    config.optimizer.epsilon = 1e-3;
    config.optimizer.average = 0.0;
    let [expected, found] = [("prove-cpu", Device::Cpu), ("prove-device", kit.device)]
        .map(|(name, device)| run(kit, &config, device, name, 2));
    let (expected, found) = (expected?, found?);
    let (weights, losses) = runs_apart(kit, &expected, &found)?;
    for (step, (e, f)) in expected.losses.iter().zip(&found.losses).enumerate() {
        outln!("  step {}: loss {e:.6} on the CPU, {f:.6} on the device", step + 1);
    }
    outln!("  the parameters are {weights:.1e} of their way apart");
    // In 8 bits an activation at the edge between two steps falls to one side or the other.
    let (loss_bound, bound) = if config.quantization.enabled { (0.1, 0.9) } else { (1e-2, 2e-2) };
    ensure!(losses < loss_bound && weights < bound, "the device does not take the CPU's steps");
    restore(kit)
}
