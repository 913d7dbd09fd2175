//! Losses, optimizers, memory: what a step is made of.

use std::collections::BTreeMap;

use anyhow::Context;
use tch::{Cuda, Device, Kind, Reduction, Tensor, no_grad};
use umedsam_train::config::QuantizationConfig;
use umedsam_train::loss::{Outputs, Term};
use umedsam_train::memory;
use umedsam_train::optim::{AdamW, AdamWOptions, Group, Rate, SharpMin};
use umedsam_train::torch;

use super::scene::Scene;
use super::{REFERENCE, Table, apart, rms_apart};

/// Rounding of sums over 65,536 pixels.
const LOSS: f64 = 1e-5;
/// Rounding of a single operation on values of the order of 1.
const ROUNDING: f64 = 1e-6;

pub(super) fn check(scene: &Scene, table: &mut Table) -> anyhow::Result<()> {
    if scene.device.is_cuda() {
        losses(scene, table);
    } else {
        table.skip("losses: values and gradients", REFERENCE);
    }
    optimizers(scene, table);
    placement(scene, table);
    devices(scene, table);
    shortage(scene, table)
}

/// Every loss and its gradients, of logits that are right in part.
fn losses(scene: &Scene, table: &mut Table) {
    let leaf = |t: &Tensor, device| t.to_device(device).detach().copy().set_requires_grad(true);
    let noise = (Tensor::arange(2 * 256 * 256, (Kind::Float, Device::Cpu)) * 0.37).sin().view([2, 1, 256, 256]);
    let logits = (&scene.batches[0].masks - 0.5) * 6.0 + noise * 2.0;
    let iou = Tensor::from_slice(&[0.8f32, 0.4]).view([2, 1]);
    let embeddings = (Tensor::arange(2 * 16 * 64, (Kind::Float, Device::Cpu)) * 0.11).cos().view([2, 16, 8, 8]);
    let run = |term: Term, device: Device, batch: usize| {
        let batch = &scene.batches[batch];
        let [logits, iou, own] = [&logits, &iou, &embeddings].map(|t| leaf(t, device));
        let teacher = no_grad(|| &logits * 0.9 + 0.1);
        let other = no_grad(|| &own * 1.05 + 0.01);
        let outputs = Outputs {
            logits: &logits,
            iou: &iou,
            mask: &batch.masks,
            shape: batch.shapes.as_ref().expect("shapes"),
            teacher: &teacher,
            embeddings: [&own, &other],
        };
        let value = term.evaluate(&outputs);
        value.backward();
        let gradients: Vec<Tensor> = [logits, iou, own].iter().map(Tensor::grad).filter(Tensor::defined).collect();
        (value, gradients)
    };
    for term in Term::ALL {
        let (expected, found) = (run(term, Device::Cpu, 0), run(term, scene.device, 1));
        // A gradient that is a sign may turn at single pixels.
        let error = if term == Term::ShapeDistance { rms_apart } else { apart };
        let gradients = expected.1.iter().zip(&found.1).map(|(e, f)| error(e, f)).fold(0.0, f64::max);
        let same = expected.1.len() == found.1.len() && !expected.1.is_empty();
        // Divergences are differences of larger sums.
        let bound = if matches!(term, Term::Distillation | Term::Imitation) { 10.0 * LOSS } else { LOSS };
        table.row(&format!("loss {}: value", term.name()), apart(&expected.0, &found.0), bound);
        table.row(&format!("loss {}: gradient", term.name()), if same { gradients } else { f64::NAN }, LOSS);
    }
}

/// Parameters of several shapes with gradients, and one without.
fn parameters(device: Device) -> Vec<Tensor> {
    let shapes: [&[i64]; 5] = [&[64, 32], &[320], &[], &[3, 5, 7], &[4, 4]];
    let all = shapes.iter().zip(1..).map(|(shape, i)| {
        let count = shape.iter().product::<i64>();
        let values = (Tensor::arange(count, (Kind::Float, Device::Cpu)) * (0.1 * f64::from(i))).sin().view(*shape);
        values.to_device(device).set_requires_grad(true)
    });
    all.collect()
}

fn fill_gradients(parameters: &[Tensor], step: i32) {
    let losses: Vec<Tensor> =
        parameters[..4].iter().map(|p| (p * (1.0 + f64::from(step))).cos().sum(Kind::Float)).collect();
    Tensor::stack(&losses, 0).sum(Kind::Float).backward();
}

fn optimizers(scene: &Scene, table: &mut Table) {
    let moved = |device: Device, adaptive| {
        let parameters = parameters(device);
        fill_gradients(&parameters, 1);
        let before: Vec<Tensor> = parameters.iter().map(|p| p.detach().copy()).collect();
        let rule = SharpMin { adaptive, ..SharpMin::default() };
        let perturbation = rule.perturb(&parameters);
        let moved: Vec<Tensor> = parameters.iter().zip(&before).map(|(p, b)| p.detach() - b).collect();
        perturbation.undo();
        (moved, parameters.iter().zip(&before).all(|(p, b)| p.equal(b)))
    };
    for (name, adaptive) in [("SAM", false), ("ASAM", true)] {
        let (expected, (found, back)) = (moved(Device::Cpu, adaptive).0, moved(scene.device, adaptive));
        // Differences of numbers of the order of 1.
        let error = expected.iter().zip(&found).map(|(e, f)| apart(&(e + 1.0), &(f + 1.0))).fold(0.0, f64::max);
        if scene.device.is_cuda() {
            table.row(&format!("SharpMin, {name}: the way up"), error, ROUNDING);
        }
        table.fact(&format!("SharpMin, {name}: and back, to the bit"), if back { "yes" } else { "no" }, back);
    }
    let trained = |device: Device, fused| {
        let parameters = parameters(device);
        let named = parameters.iter().zip(0..).map(|(p, i)| (format!("p{i}"), p.shallow_clone())).collect();
        let options = AdamWOptions { learning_rate: 1e-2, fused, ..AdamWOptions::default() };
        let mut optimizer =
            AdamW::new(vec![Group { parameters: named, weight_decay: 0.01, rate: Rate::Times(1.0) }], options);
        for step in 0..10 {
            optimizer.zero_grad();
            fill_gradients(&parameters, step);
            optimizer.step();
        }
        (parameters, optimizer)
    };
    let expected = trained(Device::Cpu, false).0;
    for (name, fused) in [("AdamW", false), ("AdamW in one kernel", true)] {
        let (found, mut optimizer) = trained(scene.device, fused);
        let error = expected.iter().zip(&found).map(|(e, f)| apart(e, f)).fold(0.0, f64::max);
        if scene.device.is_cuda() || fused {
            table.row(&format!("{name}: ten steps"), error, 1e-5);
        }
        if fused {
            let before: Vec<Tensor> = found.iter().map(|p| p.detach().copy()).collect();
            let not_finite = Tensor::from(1f32).to_device(scene.device);
            optimizer.step_unless(Some(&not_finite));
            let still = found.iter().zip(&before).all(|(p, b)| p.equal(b));
            table.fact(
                "AdamW in one kernel: no step where the device finds NaN",
                if still { "yes" } else { "no" },
                still,
            );
        }
    }
    let parameters = parameters(scene.device);
    fill_gradients(&parameters, 2);
    let gradients: Vec<Tensor> = parameters.iter().map(Tensor::grad).filter(Tensor::defined).collect();
    let squares: Vec<f64> =
        gradients.iter().map(|g| g.to_kind(Kind::Double).norm().double_value(&[]).powi(2)).collect();
    let expected = Tensor::from(squares.iter().sum::<f64>().sqrt());
    match torch::norm(&gradients) {
        Ok(found) => table.row("length of the gradient", apart(&expected, &found), ROUNDING),
        Err(error) => table.fact("length of the gradient", &error.to_string(), false),
    }
}

/// A tensor that no machine has room for is an error that is caught, and the device works afterwards.
fn shortage(scene: &Scene, table: &mut Table) -> anyhow::Result<()> {
    let caught = memory::attempt(|| Tensor::zeros([1 << 46], (Kind::Float, scene.device))).err();
    let text = caught.as_ref().map_or("not an error".into(), ToString::to_string);
    let ones = Tensor::ones([100], (Kind::Float, scene.device)).sum(Kind::Float).double_value(&[]);
    table.fact(
        "a want of memory is caught",
        &text.chars().take(60).collect::<String>(),
        caught.is_some() && ones == 100.0,
    );
    if scene.device.is_cuda() {
        torch::free_cached_memory().context("free cached memory")?;
    }
    Ok(())
}

/// Nothing stays behind on the CPU.
fn placement(scene: &Scene, table: &mut Table) {
    let net = scene.net(scene.device, &QuantizationConfig::default());
    let variables: Vec<Tensor> = net.variables.variables().into_values().collect();
    let batch = &scene.batches[1];
    let mut tensors: Vec<&Tensor> = variables.iter().collect();
    tensors.extend([&batch.boxes, &batch.masks]);
    tensors.extend(batch.images.iter().chain(&batch.shapes));
    let there = tensors.iter().filter(|t| t.device() == scene.device).count();
    table.fact("tensors on the device", &format!("{there} of {}", tensors.len()), there == tensors.len());
    match scene.device {
        Device::Cuda(_) => {
            table.fact("batches are pinned", if scene.pinned { "yes" } else { "no" }, scene.pinned);
        }
        _ => table.skip("batches are pinned", "a CPU reads all memory alike"),
    }
}

/// Half of the batch on each of two devices, as two ranks have it.
fn devices(scene: &Scene, table: &mut Table) {
    let name = "two devices: mean of their gradients";
    let count = if scene.device.is_cuda() { Cuda::device_count() } else { 0 };
    if count < 2 {
        return table.skip(name, &format!("{count} CUDA devices"));
    }
    let gradients = |device: usize, start: i64, length: i64| -> BTreeMap<String, Tensor> {
        let device = Device::Cuda(device);
        let net = scene.net(device, &QuantizationConfig::default());
        let part = |t: &Tensor| t.narrow(0, start, length).to_device(device);
        let whole = &scene.batches[0];
        let [images, boxes, masks] = [whole.images.as_ref().expect("images"), &whole.boxes, &whole.masks].map(part);
        let (logits, _) = net.model.decode(&net.model.encode(&images, false), &boxes);
        (logits.binary_cross_entropy_with_logits(&masks, None::<Tensor>, None::<Tensor>, Reduction::Mean)).backward();
        let reached = |(name, t): (String, Tensor)| t.grad().defined().then(|| (name, t.grad().to_device(Device::Cpu)));
        net.variables.variables().into_iter().filter_map(reached).collect()
    };
    let (whole, first, second) = (gradients(0, 0, 2), gradients(0, 0, 1), gradients(1, 1, 1));
    let length = |t: &Tensor| t.norm().double_value(&[]);
    let all = whole.values().map(|t| length(t).powi(2)).sum::<f64>().sqrt();
    let worst = whole.iter().filter(|(_, t)| length(t) > 1e-5 * all).map(|(name, expected)| {
        match (first.get(name), second.get(name)) {
            (Some(a), Some(b)) => rms_apart(expected, &((a + b) * 0.5)),
            _ => f64::NAN,
        }
    });
    table.row(name, worst.fold(0.0, f64::max), 1e-3);
}
