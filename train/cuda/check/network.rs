//! The network's values and gradients, in every form and arithmetic.

use tch::{Device, Kind, Tensor, no_grad};
use umedsam_train::config::{Precision, QuantizationConfig};
use umedsam_train::{autocast, torch};

use super::scene::{Net, Scene};
use super::{REFERENCE, Table, apart, rms_apart};

/// Rounding of f32, through thirty layers and back.
const F32: f64 = 1e-4;
const GRADIENT: f64 = 1e-3;

pub(super) fn check(scene: &Scene, table: &mut Table) {
    let plain = QuantizationConfig::default();
    let reference = scene.net(Device::Cpu, &plain);
    let [cpu, device] = &scene.batches;
    let expected = no_grad(|| reference.forward(cpu, false));
    let gradients = reference.gradients(cpu, false);
    let [mut fused, net] = [(); 2].map(|()| scene.net(scene.device, &plain));
    if scene.device.is_cuda() {
        let found = no_grad(|| net.forward(device, false));
        for ((what, expected), found) in ["logits", "predicted IoU", "embeddings"].iter().zip(&expected).zip(&found) {
            table.row(&format!("network, f32: {what}"), apart(expected, found), F32);
        }
        table.row("network, f32: gradients", worst(&gradients, &net.gradients(device, false)), GRADIENT);
    } else {
        table.skip("network, f32: values and gradients", REFERENCE);
    }
    fused.model.fuse_attention(true);
    let found = no_grad(|| fused.forward(device, false));
    table.row("attention in one operation: logits", apart(&expected[0], &found[0]), F32);
    table.row("attention in one operation: gradients", worst(&gradients, &fused.gradients(device, false)), GRADIENT);
    let images = device.images.as_ref().expect("images");
    let last = images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
    let found = no_grad(|| net.model.encode(&last, false));
    table.row("channels last: embeddings", apart(&expected[2], &found), F32);

    if scene.device.is_cuda() {
        let allowed = torch::allow_tf32(true);
        let found = no_grad(|| net.forward(device, false));
        let back = torch::allow_tf32(false);
        table.fact("TF32 is switched", &format!("{allowed:?} {back:?}"), allowed.is_ok() && back.is_ok());
        table.row("TF32: embeddings (rms)", rms_apart(&expected[2], &found[2]), 1e-2);
    } else {
        table.skip("TF32", "a CPU has none");
    }
    for (name, net) in [("bf16", &net), ("bf16, attention in one operation", &fused)] {
        let found = no_grad(|| {
            let _autocast = autocast::bf16(scene.device);
            net.forward(device, false)
        });
        table.row(&format!("{name}: embeddings (rms)"), rms_apart(&expected[2], &found[2]), 0.15);
        table.row(&format!("{name}: 1 - DSC of the masks"), 1.0 - dsc(&expected[0], &found[0]), 0.1);
        let gradients_found = bf16_gradients(scene, net);
        table.row(&format!("{name}: direction of the gradient"), 1.0 - cosine(&gradients, &gradients_found), 0.3);
    }
    in_8_bits(scene, &expected[2], table);
    if scene.device.is_cuda() {
        statistics(scene, table);
    } else {
        table.skip("BatchNorm of the batch", REFERENCE);
    }
}

/// The network as devices compute it in 8 bits, and its gradients as if nothing were rounded.
///
/// A last bit decides on which side of the edge between two steps an activation falls, and the next layers make much of it:
/// with inputs that are changed by a ten-millionth the CPU is 3e-2 from itself. What is asked is less than what rounding
/// does to the embeddings, which a network that rounds otherwise would not meet.
fn in_8_bits(scene: &Scene, floats: &Tensor, table: &mut Table) {
    let config = QuantizationConfig { enabled: true, precision: Precision::F32, ..QuantizationConfig::default() };
    let [cpu, device] = &scene.batches;
    let [reference, net] = [Device::Cpu, scene.device].map(|device| scene.net(device, &config));
    let expected = no_grad(|| reference.forward(cpu, false));
    let rounding = rms_apart(floats, &expected[2]);
    let nudged = device.nudged(1.0 + 1e-7);
    let other = if scene.device.is_cuda() { device } else { &nudged };
    let found = no_grad(|| net.forward(other, false));
    table.row("8 bits: embeddings (rms)", rms_apart(&expected[2], &found[2]), 0.8 * rounding);
    let [expected, found] = [(&reference, cpu), (&net, other)].map(|(net, batch)| net.gradients(batch, false));
    table.row("8 bits: direction of the gradient", 1.0 - cosine(&expected, &found), 0.2);
}

/// BatchNorm by the batch's statistics, and what it leaves in the running ones.
fn statistics(scene: &Scene, table: &mut Table) {
    let plain = QuantizationConfig::default();
    let [expected, found] =
        [(Device::Cpu, &scene.batches[0]), (scene.device, &scene.batches[1])].map(|(device, batch)| {
            let net = scene.net(device, &plain);
            let gradients = net.gradients(batch, true);
            let running = net.variables.variables().into_iter().filter(|(name, _)| name.contains("running_"));
            let mut running: Vec<(String, Tensor)> = running.collect();
            running.sort_by(|a, b| a.0.cmp(&b.0));
            (gradients, running)
        });
    table.row("BatchNorm of the batch: gradients", worst(&expected.0, &found.0), 1e-2);
    table.row("BatchNorm of the batch: running statistics", worst(&expected.1, &found.1), GRADIENT);
}

fn bf16_gradients(scene: &Scene, net: &Net) -> Vec<(String, Tensor)> {
    for (_, mut variable) in net.variables.variables() {
        variable.zero_grad();
    }
    let _autocast = autocast::bf16(scene.device);
    net.gradients(&scene.batches[1], false)
}

/// The worst tensor's difference, as a part of its length; tensors that are nothing beside all others don't count.
fn worst(expected: &[(String, Tensor)], found: &[(String, Tensor)]) -> f64 {
    if expected.is_empty() || !expected.iter().map(|e| &e.0).eq(found.iter().map(|f| &f.0)) {
        return f64::INFINITY;
    }
    let length = |t: &Tensor| t.to_kind(Kind::Double).norm().double_value(&[]);
    let all = expected.iter().map(|(_, t)| length(t).powi(2)).sum::<f64>().sqrt();
    let large = expected.iter().zip(found).filter(|((_, t), _)| length(t) > 1e-5 * all);
    large.map(|((_, e), (_, f))| rms_apart(e, f)).fold(0.0, f64::max)
}

/// Cosine of the angle between two gradients.
fn cosine(expected: &[(String, Tensor)], found: &[(String, Tensor)]) -> f64 {
    let flat = |all: &[(String, Tensor)]| {
        let flat = |(_, t): &(String, Tensor)| t.to_device(Device::Cpu).to_kind(Kind::Double).view(-1);
        Tensor::cat(&all.iter().map(flat).collect::<Vec<_>>(), 0)
    };
    let (a, b) = (flat(expected), flat(found));
    if a.size() != b.size() {
        return f64::NAN;
    }
    (a.dot(&b) / (a.norm() * b.norm())).double_value(&[])
}

/// DSC of the masks.
fn dsc(expected: &Tensor, found: &Tensor) -> f64 {
    let mask = |t: &Tensor| t.to_device(Device::Cpu).gt(0.0).to_kind(Kind::Double);
    let (a, b) = (mask(expected), mask(found));
    let sum = |t: Tensor| t.sum(Kind::Double).double_value(&[]);
    2.0 * sum(&a * &b) / (sum(a) + sum(b)).max(1.0)
}
