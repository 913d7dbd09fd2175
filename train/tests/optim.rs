//! AdamW, SharpMin and the learning-rate schedule against PyTorch's, and their way through a checkpoint.
//!
//! tests/golden/optim.py makes the golden values.

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};
use umedsam_train::memory::attempt;
use umedsam_train::optim::{
    AdamW, AdamWOptions, Group, Mode, Plateau, PlateauOptions, Rate, SharpMin, StateError, ThresholdMode,
};

const GOLDEN: &[u8] = include_bytes!("data/optim.safetensors");

fn golden(name: &str) -> Tensor {
    let file = SafeTensors::deserialize(GOLDEN).unwrap();
    let stored = file.tensor(name).unwrap();
    let shape: Vec<i64> = stored.shape().iter().map(|&d| i64::try_from(d).unwrap()).collect();
    assert_eq!(stored.dtype(), Dtype::F32);
    let values: Vec<f32> = stored.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    Tensor::from_slice(&values).view(&shape[..])
}

fn golden_f64(name: &str) -> Vec<f64> {
    let file = SafeTensors::deserialize(GOLDEN).unwrap();
    let stored = file.tensor(name).unwrap();
    assert_eq!(stored.dtype(), Dtype::F64);
    stored.data().as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect()
}

/// The generator's numbers: multiples of 2^-10 in -1..1, a tenth of them zero.
fn tensor(k: u64, shape: &[i64], step: u64, scale: f32) -> Tensor {
    let value = |i: u64| {
        let h = (i * 2_654_435_761 + k * 40_503 + step * 97_777) % (1 << 32);
        if h.is_multiple_of(10) { 0.0 } else { (((h >> 11) % 2048) as f32 - 1024.0) / 1024.0 * scale }
    };
    let count = shape.iter().product::<i64>().unsigned_abs();
    Tensor::from_slice(&(0..count).map(value).collect::<Vec<f32>>()).view(shape)
}

fn bits(t: &Tensor) -> Vec<u32> {
    Vec::<f32>::try_from(&t.detach().reshape([-1])).unwrap().into_iter().map(f32::to_bits).collect()
}

/// Equal but for the roundings of 50 steps: on the make of CPU that the golden values are from the bits are equal; on
/// others, even with the same vector units, libtorch's last bit differs.
fn check(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let difference = ((found - expected).abs().max() / expected.abs().max()).double_value(&[]);
    // A tensor of zeros must be one.
    assert!(difference.is_nan() && found.equal(expected) || difference <= 1e-6, "{what}: {difference:e}");
}

const SHAPES: [(&str, &[i64]); 5] =
    [("weight", &[9, 13]), ("bias", &[37]), ("late", &[5]), ("scalar", &[]), ("never", &[3])];

fn options() -> AdamWOptions {
    AdamWOptions { learning_rate: 3e-3, ..AdamWOptions::default() }
}

/// The generator's parameters, in its order and in an optimizer.
fn training() -> (Vec<Tensor>, AdamW) {
    tch::set_num_threads(1);
    let parameters: Vec<Tensor> =
        (0..).zip(SHAPES).map(|(k, (_, shape))| tensor(k, shape, 0, 1.0).set_requires_grad(true)).collect();
    let group = |indices: &[usize], weight_decay| Group {
        parameters: indices.iter().map(|&i| (SHAPES[i].0.to_owned(), parameters[i].shallow_clone())).collect(),
        weight_decay,
        rate: Rate::Times(1.0),
    };
    let groups = vec![group(&[0, 2], 0.01), group(&[1, 3, 4], 0.0)];
    let optimizer = AdamW::new(groups, options());
    (parameters, optimizer)
}

fn step(parameters: &[Tensor], optimizer: &mut AdamW, step: u64) {
    optimizer.zero_grad();
    for ((k, (name, shape)), parameter) in (0..).zip(SHAPES).zip(parameters) {
        if name == "never" || name == "late" && step % 3 != 1 {
            continue;
        }
        let gradient = tensor(k, shape, step, f32::powi(2.0, (step % 7) as i32 - 5));
        (parameter * gradient).sum(None::<Kind>).backward();
    }
    optimizer.set_learning_rate(if step <= 20 { 3e-3 } else { 7e-4 });
    optimizer.step();
}

fn state(optimizer: &AdamW) -> HashMap<String, Tensor> {
    optimizer.state().into_iter().collect()
}

#[test]
fn adamw_is_that_of_pytorch() {
    let (parameters, mut optimizer) = training();
    for n in 1..=50 {
        step(&parameters, &mut optimizer, n);
        if n == 1 || n == 50 {
            for ((name, _), parameter) in SHAPES.iter().zip(&parameters) {
                check(parameter, &golden(&format!("adamw.{n}.{name}")), &format!("{name} after {n}"));
            }
        }
    }
    let state = state(&optimizer);
    // A step count and two averages for each parameter but the one that never moved.
    assert_eq!(state.len(), 3 * 4 + 1);
    assert_eq!(state["never.step"].int64_value(&[]), 0);
    for (name, _) in &SHAPES[..4] {
        let steps = golden(&format!("adamw.state.{name}.step"));
        assert_eq!(state[&format!("{name}.step")].int64_value(&[]), steps.double_value(&[]) as i64, "{name}");
        for average in ["exp_avg", "exp_avg_sq"] {
            check(&state[&format!("{name}.{average}")], &golden(&format!("adamw.state.{name}.{average}")), name);
        }
    }
}

#[test]
fn a_restored_state_goes_on_with_the_same_bits() {
    let (parameters, mut optimizer) = training();
    let (others, mut other) = training();
    for n in 1..=5 {
        step(&parameters, &mut optimizer, n);
    }
    let saved = state(&optimizer);
    tch::no_grad(|| others.iter().zip(&parameters).for_each(|(o, p)| o.shallow_clone().copy_(p)));
    other.restore(&saved).unwrap();
    for n in 6..=12 {
        step(&parameters, &mut optimizer, n);
        step(&others, &mut other, n);
    }
    for ((name, _), (a, b)) in SHAPES.iter().zip(parameters.iter().zip(&others)) {
        assert_eq!(bits(a), bits(b), "{name}");
    }
    // What was saved did not move on with the optimizers.
    assert_eq!(saved["weight.step"].int64_value(&[]), 5);
    assert_ne!(bits(&saved["weight.exp_avg"]), bits(&state(&optimizer)["weight.exp_avg"]));
}

#[test]
fn a_state_that_does_not_fit_changes_nothing() {
    let (parameters, mut optimizer) = training();
    step(&parameters, &mut optimizer, 1);
    let before = state(&optimizer);
    let mut broken = |name: &str, value: Option<Tensor>| {
        let mut state: HashMap<String, Tensor> =
            before.iter().map(|(name, t)| (name.clone(), if t.dim() == 0 { t.copy() } else { t + 1.0 })).collect();
        match value {
            Some(value) => drop(state.insert(name.into(), value)),
            None => drop(state.remove(name)),
        }
        optimizer.restore(&state).unwrap_err()
    };
    let float = (Kind::Float, Device::Cpu);
    let error = broken("scalar.step", None);
    assert!(matches!(&error, StateError::Missing { tensor } if tensor == "scalar.step"), "{error}");
    let error = broken("bias.exp_avg_sq", Some(Tensor::zeros([36], float)));
    assert!(matches!(&error, StateError::Shape { tensor, .. } if tensor == "bias.exp_avg_sq"), "{error}");
    let error = broken("bias.exp_avg", Some(Tensor::zeros([37], (Kind::Double, Device::Cpu))));
    assert!(matches!(&error, StateError::Kind { tensor, .. } if tensor == "bias.exp_avg"), "{error}");
    for value in [-1.0f32, 1.5, f32::NAN] {
        let error = broken("bias.step", Some(Tensor::from(value)));
        assert!(matches!(&error, StateError::Steps { tensor, .. } if tensor == "bias.step"), "{error}");
    }
    let after = state(&optimizer);
    assert_eq!(before.len(), after.len());
    assert!(before.iter().all(|(name, t)| t.equal(&after[name])));
}

const NET: [(&str, &[i64]); 4] = [("w1", &[6, 4]), ("b1", &[6]), ("w2", &[1, 6]), ("b2", &[1])];

fn net() -> Vec<Tensor> {
    tch::set_num_threads(1);
    (60..).zip(NET).map(|(k, (_, shape))| tensor(k, shape, 1, 0.5).set_requires_grad(true)).collect()
}

/// The generator's loss. The third input is zero, and the gradients of its weights are.
fn net_loss(net: &[Tensor]) -> Tensor {
    let x = tensor(50, &[8, 4], 1, 2.0);
    let _ = x.select(1, 2).zero_();
    let y = tensor(51, &[8, 1], 1, 1.0);
    ((x.matmul(&net[0].tr()) + &net[1]).tanh().matmul(&net[2].tr()) + &net[3] - y).square().mean(None::<Kind>)
}

fn close(found: &Tensor, expected: &Tensor, tolerance: f64) -> bool {
    found.size() == expected.size() && (found - expected).abs().max().double_value(&[]) < tolerance
}

#[test]
fn sharp_min_around_adamw_is_sam_and_asam() {
    let asam = SharpMin { rho: 0.5, adaptive: true, eta: 0.01 };
    for (case, sharp_min) in [("sam", SharpMin::default()), ("asam", asam)] {
        let net = net();
        let names = NET.iter().map(|(name, _)| (*name).to_owned());
        let parameters = names.zip(net.iter().map(Tensor::shallow_clone)).collect();
        let options = AdamWOptions { learning_rate: 0.02, ..AdamWOptions::default() };
        let mut optimizer = AdamW::new(vec![Group { parameters, weight_decay: 0.01, rate: Rate::Times(1.0) }], options);
        for n in 0..5 {
            optimizer.zero_grad();
            net_loss(&net).backward();
            let before: Vec<Vec<u32>> = net.iter().map(bits).collect();
            let perturbation = sharp_min.perturb(optimizer.parameters());
            if n == 0 {
                for ((name, _), worst) in NET.iter().zip(&net) {
                    assert!(close(worst, &golden(&format!("{case}.worst.{name}")), 1e-6), "{case} {name}");
                }
            }
            optimizer.zero_grad();
            net_loss(&net).backward();
            perturbation.undo();
            assert!(net.iter().map(bits).eq(before));
            optimizer.step();
        }
        for ((name, _), found) in NET.iter().zip(&net) {
            let expected = golden(&format!("{case}.{name}"));
            assert!(close(found, &expected, 2e-5), "{case} {name}: {found:?} {expected:?}");
        }
    }
}

#[test]
fn a_perturbation_has_the_length_rho_and_ends_with_its_scope() {
    let net = net();
    let before: Vec<Tensor> = net.iter().map(Tensor::copy).collect();
    let moved = || -> f64 {
        net.iter()
            .zip(&before)
            .map(|(a, b)| (a - b).to_kind(Kind::Double).square().sum(None::<Kind>).double_value(&[]))
            .sum()
    };
    // Without gradients nothing moves, though not even a norm is there.
    drop(SharpMin::default().perturb(&net));
    net_loss(&net).backward();
    {
        let _perturbation = SharpMin::default().perturb(&net);
        assert!((moved().sqrt() - 0.05).abs() < 1e-6, "{}", moved().sqrt());
    }
    assert_eq!(moved(), 0.0);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _perturbation = SharpMin::default().perturb(&net);
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(panicked.is_err() && moved() == 0.0);

    // A gradient of zero moves nothing, and of one too small to be squared makes no NaN.
    for factor in [0.0, 1e-30] {
        for adaptive in [false, true] {
            for parameter in &net {
                let _ = parameter.grad().fill_(factor);
            }
            let _perturbation = SharpMin { adaptive, ..SharpMin::default() }.perturb(&net);
            assert!(if factor == 0.0 { moved() == 0.0 } else { moved() < 0.1 }, "{factor}: {}", moved());
        }
    }
}

fn schedules() -> [PlateauOptions; 6] {
    let base = PlateauOptions::default();
    [
        base,
        PlateauOptions { factor: 0.1, patience: 2, cooldown: 3, ..base },
        PlateauOptions { mode: Mode::Max, patience: 1, ..base },
        PlateauOptions { threshold_mode: ThresholdMode::Abs, threshold: 0.05, patience: 0, min_lr: 2e-5, ..base },
        PlateauOptions {
            mode: Mode::Max,
            threshold_mode: ThresholdMode::Abs,
            patience: 3,
            cooldown: 1,
            factor: 0.5,
            eps: 1e-5,
            ..base
        },
        PlateauOptions { patience: 0, factor: 0.7, cooldown: 2, min_lr: 1e-6, threshold: 0.0, ..base },
    ]
}

#[test]
fn the_schedule_is_that_of_pytorch_and_survives_json_at_every_step() {
    let series = golden_f64("plateau.series");
    for (case, options) in schedules().into_iter().enumerate() {
        let start = if case == 5 { vec![f64::NAN, f64::INFINITY] } else { Vec::new() };
        let expected = golden_f64(&format!("plateau.{case}"));
        assert_eq!(expected.len(), start.len() + series.len());
        let (mut plateau, mut rate) = (Plateau::new(options), 5e-5);
        for (n, (&metric, expected)) in start.iter().chain(&series).zip(expected).enumerate() {
            let json = serde_json::to_string(&plateau).unwrap();
            let restored: Plateau = serde_json::from_str(&json).unwrap();
            assert_eq!(restored, plateau, "{json}");
            plateau = restored;
            rate = plateau.step(metric, rate);
            assert_eq!(rate.to_bits(), expected.to_bits(), "case {case}, metric {n}: {rate} {expected}");
        }
        assert!(rate < 5e-5, "case {case} never came to a plateau");
    }
    let parsed: PlateauOptions = serde_json::from_str(r#"{"mode": "max", "min-lr": 1e-7}"#).unwrap();
    assert_eq!(parsed, PlateauOptions { mode: Mode::Max, min_lr: 1e-7, ..PlateauOptions::default() });
    assert!(serde_json::from_str::<PlateauOptions>(r#"{"patient": 3}"#).is_err());
}

#[test]
fn a_fused_step_is_a_step_unless_the_device_finds_nan() {
    let shapes: [&[i64]; 3] = [&[7, 5], &[11], &[]];
    let parameter = |i: i64, shape: &&[i64]| {
        let count = shape.iter().product::<i64>();
        let values = (Tensor::arange(count, (Kind::Float, Device::Cpu)) + i).sin().view(*shape);
        values.set_requires_grad(true)
    };
    let set = || -> Vec<Tensor> { shapes.iter().zip(0..).map(|(shape, i)| parameter(i, shape)).collect() };
    let optimizer = |parameters: &[Tensor], fused| {
        let named = |range: std::ops::Range<usize>| {
            range.map(|i| (format!("p{i}"), parameters[i].shallow_clone())).collect::<Vec<_>>()
        };
        let groups = vec![
            Group { parameters: named(0..2), weight_decay: 0.01, rate: Rate::Times(1.0) },
            Group { parameters: named(2..3), weight_decay: 0.0, rate: Rate::Own(3e-2) },
        ];
        AdamW::new(groups, AdamWOptions { learning_rate: 1e-2, fused, ..AdamWOptions::default() })
    };
    let (plain, fused) = (set(), set());
    let (mut by_tensor, mut at_once) = (optimizer(&plain, false), optimizer(&fused, true));
    for step in 0..20 {
        for (parameters, optimizer) in [(&plain, &mut by_tensor), (&fused, &mut at_once)] {
            optimizer.zero_grad();
            // The second has no gradient at first, so that its steps count otherwise.
            let reached = parameters.iter().zip(0..).filter(|(_, i)| *i != 1 || step > 4);
            let losses: Vec<Tensor> = reached.map(|(p, i)| (p * (step + i)).cos().sum(Kind::Float)).collect();
            Tensor::stack(&losses, 0).sum(Kind::Float).backward();
            optimizer.step();
        }
    }
    for (a, b) in plain.iter().zip(&fused) {
        let apart = (a - b).abs().max().double_value(&[]);
        assert!(apart < 1e-6, "{apart}");
    }
    let before: Vec<Tensor> = fused.iter().map(Tensor::copy).collect();
    at_once.step_unless(Some(&Tensor::from(1f32)));
    assert!(fused.iter().zip(&before).all(|(p, b)| p.equal(b)));
    at_once.step_unless(Some(&Tensor::from(0f32)));
    assert!(fused.iter().zip(&before).all(|(p, b)| !p.equal(b)));
}

#[test]
fn what_there_is_no_memory_for_is_an_error_and_other_panics_go_on() {
    let shortage = attempt(|| Tensor::zeros([1 << 50], (Kind::Float, Device::Cpu))).unwrap_err();
    assert!(shortage.to_string().contains("allocate"), "{shortage}");
    assert_eq!(attempt(|| 3), Ok(3));
    let panic = std::panic::catch_unwind(|| attempt(|| panic!("another matter"))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"another matter"));
}
