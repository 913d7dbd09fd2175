//! Whole runs, of random weights on small cases.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use common::bench::{Bench, largest};
use tch::{Device, Tensor};
use umedsam_train::config::{Config, ScheduleConfig};
use umedsam_train::ranks::Ranks;
use umedsam_train::trainer::{Epoch, Event, Folders, Observer, Origin, TrainError, Trainer};

fn same(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) {
    same_names(a, b);
    for (name, value) in a {
        assert!(value.equal(&b[name]), "{name}");
    }
}

fn same_names(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) {
    assert!(a.keys().eq(b.keys()));
}

/// Stops after a number of steps.
struct Stop(u64);

impl Observer for Stop {
    fn observe(&mut self, event: Event<'_>) -> ControlFlow<()> {
        if let Event::Step(_) = event {
            self.0 -= 1;
            if self.0 == 0 {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

/// What must not depend on whether a run was stopped.
fn timeless(epochs: Vec<Epoch>) -> Vec<Epoch> {
    epochs.into_iter().map(|epoch| Epoch { seconds: 0.0, encoded: 0, waited: 0.0, ..epoch }).collect()
}

#[test]
fn a_stopped_run_goes_on_to_the_bit_and_the_loss_falls() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let config = bench.config(&[
        "optimizer.learning-rate=1e-3",
        "optimizer.average=0.5",
        "training.checkpoint-steps=2",
        "data.component=0",
        "loss.terms=['dice', 'bce', 'shape-distance', 'iou', 'distillation']",
    ]);
    fs::create_dir(bench.path("judged")).unwrap();
    for case in fs::read_dir(bench.path("cases")).unwrap() {
        let case = case.unwrap();
        fs::copy(case.path(), bench.path("judged").join(case.file_name())).unwrap();
    }
    let start = |run: &str, observer: &mut dyn Observer| {
        let folders = Folders { data: bench.path("cases"), validation: Some(bench.path("judged")) };
        let weights = bench.path("weights.safetensors");
        Trainer::start(&config, &folders, &weights, &bench.path(run), Device::Cpu, &ranks, observer)?.run()
    };
    let straight = start("straight", &mut ()).unwrap();
    assert!(straight.finished && straight.epochs.len() == 3);
    let loss = |epoch: usize| straight.epochs[epoch].losses["dice"];
    assert!(loss(2) < loss(1), "{} after {}", loss(2), loss(1));
    let dsc = |epoch: usize| straight.epochs[epoch].validation.as_ref().unwrap().dsc;
    assert_eq!(straight.best, Some(dsc(1).max(dsc(2))));
    assert!(straight.epochs[2].sigmas["dice"] != 1.0);

    // One whole epoch and a step of the next, in a run of its own.
    assert!(!start("broken", &mut Stop(4)).unwrap().finished);
    assert!(!bench.path("broken/final.safetensors").exists());
    // Weights that other commands take are there at any time; the end replaces them.
    let current = bench.path("broken/current.safetensors");
    same_names(&bench.tensors("broken/current.safetensors"), &bench.tensors("straight/final.safetensors"));
    let error = start("broken", &mut ()).unwrap_err();
    assert!(matches!(error, TrainError::Exists { .. }), "{error}");
    let mut silent = ();
    let again = Trainer::resume(&bench.path("broken"), None, Device::Cpu, &ranks, &mut silent).unwrap();
    let resumed = again.run().unwrap();

    assert!(!current.exists());
    assert_eq!(timeless(resumed.epochs), timeless(straight.epochs));
    for file in ["final.safetensors", "best.safetensors", "last.safetensors"] {
        same(&bench.tensors(&format!("straight/{file}")), &bench.tensors(&format!("broken/{file}")));
    }
    let lines = fs::read_to_string(bench.path("broken/metrics.jsonl")).unwrap();
    let epochs: Vec<Epoch> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(epochs.len(), 3);
    let csv = fs::read_to_string(bench.path("broken/metrics.csv")).unwrap();
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [9 + 5 + 5 + 2; 4], "{csv}");
    assert!(fs::read_to_string(bench.path("broken/curves.svg")).unwrap().contains("shape-distance"));

    // The same data, to the pixel, or none: for training, and for validation.
    let case = |folder: &str| bench.path(&format!("{folder}/2DBox_CT_0.npz"));
    let change = |path: &Path| {
        let mut arrays = Tensor::read_npz(path).unwrap();
        let (_, pixels) = arrays.iter_mut().find(|(name, _)| name == "imgs").unwrap();
        let _ = pixels.g_add_scalar_(1);
        Tensor::write_npz(&arrays, path).unwrap();
    };
    for (folder, named) in [("judged", "validation cases"), ("cases", "the cases")] {
        change(&case(folder));
        let error = Trainer::resume(&bench.path("broken"), Some(3), Device::Cpu, &ranks, &mut ()).err().unwrap();
        assert!(matches!(error, TrainError::State { .. }) && error.to_string().contains(named), "{error}");
    }
}

#[test]
fn two_half_batches_are_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let settings =
        |batch, accumulation| bench.config(&["training.epochs=1", "optimizer.epsilon=1e-3", batch, accumulation]);
    bench.train(&ranks, &settings("training.batch=2", "training.accumulation=1"), "whole");
    bench.train(&ranks, &settings("training.batch=1", "training.accumulation=2"), "halves");
    let (start, whole, halves) = (
        bench.tensors("weights.safetensors"),
        bench.tensors("whole/final.safetensors"),
        bench.tensors("halves/final.safetensors"),
    );
    let moved: f64 = largest(&whole, &start);
    let apart = largest(&whole, &halves);
    assert!(moved > 1e-6 && apart < 1e-3 * moved, "moved {moved:e}, apart {apart:e}");
}

#[test]
fn pieces_of_a_batch_are_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let config = bench.config(&[
        "training.epochs=1",
        "training.batch=3",
        "optimizer.epsilon=1e-3",
        "loss.terms=['dice', 'bce', 'shape-distance', 'iou', 'imitation']",
    ]);
    let train = |at_once, run| {
        let mut silent = ();
        let trainer = bench.start(&ranks, &config, run, &mut silent).unwrap();
        trainer.with_samples_at_once(at_once).run().unwrap().epochs[1].losses.clone()
    };
    // Three at once, and two and one.
    let (whole, pieces) = (train(3, "whole"), train(2, "pieces"));
    for (name, value) in &whole {
        assert!((value - pieces[name]).abs() < 1e-5 * value.abs().max(0.1), "{name}: {value} {}", pieces[name]);
    }
    let tensors = |run: &str| bench.tensors(&format!("{run}/final.safetensors"));
    let (start, whole, pieces) = (bench.tensors("weights.safetensors"), tensors("whole"), tensors("pieces"));
    let (moved, apart) = (largest(&whole, &start), largest(&whole, &pieces));
    assert!(moved > 1e-6 && apart < 1e-3 * moved, "moved {moved:e}, apart {apart:e}");
}

#[test]
fn a_device_that_is_looked_at_seldom_does_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let settings = |read_every: &str, fused: &str| {
        bench.config(&["engine.fused-adamw=true", "training.batch=1", "training.checkpoint-steps=2", read_every, fused])
    };
    let often = bench.train(&ranks, &settings("engine.read-every=1", "engine.fused-attention=false"), "often");
    let seldom = bench.train(&ranks, &settings("engine.read-every=5", "engine.fused-attention=false"), "seldom");
    assert_eq!(timeless(often.epochs), timeless(seldom.epochs));
    let [a, b] = ["often", "seldom"].map(|run| bench.tensors(&format!("{run}/last.safetensors")));
    same(&a, &b);
}

#[test]
fn of_boxes_without_labels_the_teachers_masks_are_learnt_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let config = bench.config(&[
        "data.unlabelled=1",
        "training.epochs=1",
        "optimizer.weight-decay=0",
        "loss.weighting=equal",
        "loss.terms=['dice', 'shape-distance', 'iou', 'distillation']",
    ]);
    let losses = &bench.train(&ranks, &config, "run").epochs[1].losses;
    assert_eq!((losses["iou"], losses["shape-distance"]), (0.0, 0.0));
    // It began as the teacher.
    assert!(losses["dice"] > 0.0 && losses["distillation"] < 0.01, "{losses:?}");
    let (before, after) = (bench.tensors("weights.safetensors"), bench.tensors("run/final.safetensors"));
    let moved = |part: &str| before.iter().any(|(name, value)| name.contains(part) && !value.equal(&after[name]));
    assert!(moved("output_upscaling") && !moved("iou_prediction_head"));
}

#[test]
fn the_time_ends_a_run_as_its_last_epoch_does() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let config = bench.config(&["training.batch=1", "training.epochs=1000", "validation.every=1000"]);
    let folders = Folders { data: bench.path("cases"), validation: Some(bench.path("cases")) };
    let (weights, run, mut silent) = (bench.path("weights.safetensors"), bench.path("run"), ());
    let trainer = Trainer::start(&config, &folders, &weights, &run, Device::Cpu, &ranks, &mut silent).unwrap();
    let summary = trainer.with_deadline(Instant::now()).run().unwrap();
    assert!(summary.finished && summary.epochs.len() == 2);
    assert_eq!(summary.epochs[1].samples, 1);
    // No time for a validation either.
    assert!(summary.epochs[1].validation.is_none() && run.join("final.safetensors").exists());
}

#[test]
fn the_learning_rate_rises_at_first_and_falls_at_last() {
    let schedule = ScheduleConfig { warm_up: 3, fall: 0.5, ..ScheduleConfig::default() };
    assert_eq!([0, 1, 2, 3].map(|steps| schedule.rate(steps, 0.0)), [0.25, 0.5, 0.75, 1.0]);
    let falling = [0.5, 0.625, 0.75, 1.0].map(|over| schedule.rate(9, over));
    let cosine = f64::midpoint(1.0, f64::sqrt(0.5));
    assert!(falling.iter().zip([1.0, cosine, 0.5, 0.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{falling:?}");
    assert_eq!(ScheduleConfig::default().rate(0, 1.0), 1.0);

    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let settings = ["optimizer.learning-rate=1e-3", "schedule.warm-up=2", "schedule.fall=1"];
    let config = bench.config(&settings);
    let run = |run: &str, deadline: Option<Duration>| {
        let (folders, mut silent) = (Folders { data: bench.path("cases"), validation: None }, ());
        let (weights, run) = (bench.path("weights.safetensors"), bench.path(run));
        let trainer = Trainer::start(&config, &folders, &weights, &run, Device::Cpu, &ranks, &mut silent).unwrap();
        let trainer = match deadline {
            Some(time) => trainer.with_deadline(Instant::now() + time),
            None => trainer,
        };
        trainer.run().unwrap().epochs.iter().map(|epoch| epoch.learning_rate).collect::<Vec<_>>()
    };
    let steps = (config.data.samples_per_epoch.unwrap() / config.training.batch) as u64;
    let last_of = |epoch: u64| 1e-3 * config.schedule.rate(100, (epoch * steps - 1) as f64 / (2 * steps) as f64);
    let rates = run("whole", None);
    assert!((rates[1] - last_of(1)).abs() < 1e-12 && (rates[2] - last_of(2)).abs() < 1e-12, "{rates:?}");
    // A run that time ends has fallen by then, whatever its epochs.
    assert_eq!(run("timed", Some(Duration::ZERO))[1], 0.0);
}

#[test]
fn what_is_not_finite_is_told_late_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    break_tokens(&bench);
    let config = bench.config(&["training.batch=3", "engine.fused-adamw=true", "engine.read-every=2"]);
    let error = bench.start(&ranks, &config, "bad", &mut ()).unwrap().run().unwrap_err();
    assert!(matches!(&error, TrainError::NotFinite { epoch: 1, step: 1, .. }), "{error}");
    let (state, start) = (bench.tensors("bad/last.safetensors"), bench.tensors("weights.safetensors"));
    for (name, value) in state.iter().filter_map(|(name, value)| Some((name.strip_prefix("model.")?, value))) {
        assert!(value.equal(&start[name]), "{name}");
    }
}

/// Weights with which nothing is finite, though they are.
fn break_tokens(bench: &Bench) {
    let mut weights: Vec<(String, Tensor)> = bench.tensors("weights.safetensors").into_iter().collect();
    for (name, value) in &mut weights {
        if name == "mask_decoder.mask_tokens.weight" {
            // Finite itself, as weights that are not are refused at the start.
            *value = &*value * 1e35;
        }
    }
    Tensor::write_safetensors(&weights, bench.path("weights.safetensors")).unwrap();
}

#[test]
fn what_is_not_finite_stops_with_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    break_tokens(&bench);
    let config = bench.config(&["training.batch=3"]);
    let error = bench.start(&ranks, &config, "bad", &mut ()).unwrap().run().unwrap_err();
    let TrainError::NotFinite { epoch: 1, step: 1, batch, .. } = &error else { panic!("{error}") };
    let saved: BTreeMap<String, Tensor> = Tensor::read_safetensors(batch).unwrap().into_iter().collect();
    let shapes: Vec<(&str, Vec<i64>)> = saved.iter().map(|(name, t)| (name.as_str(), t.size())).collect();
    let grid = vec![3, 1, 256, 256];
    let expected = [
        ("0.boxes", vec![3, 4]),
        ("0.embeddings", vec![3, 256, 64, 64]),
        ("0.masks", grid.clone()),
        ("0.shapes", grid),
    ];
    assert_eq!(shapes, expected);
}

#[test]
fn the_sharpest_neighbour_leaves_no_trace_in_batch_norm() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let settings = |kind| {
        bench.config(&[
            "training.epochs=1",
            "data.samples-per-epoch=2",
            "model.batch-norm=batch",
            "model.trained=['image_encoder.neck.']",
            kind,
        ])
    };
    bench.train(&ranks, &settings("sharp-min.kind=off"), "plain");
    bench.train(&ranks, &settings("sharp-min.kind=sam"), "sharp");
    let (plain, sharp) = (bench.tensors("plain/final.safetensors"), bench.tensors("sharp/final.safetensors"));
    let start = bench.tensors("weights.safetensors");
    let mut moved = 0;
    for (name, value) in plain.iter().filter(|(name, _)| name.contains("running_")) {
        assert!(value.equal(&sharp[name]), "{name}");
        moved += usize::from(!value.equal(&start[name]));
    }
    assert!(moved > 40, "{moved}");
    assert!(!plain["image_encoder.neck.0.weight"].equal(&sharp["image_encoder.neck.0.weight"]));
    for name in ["mask_decoder.mask_tokens.weight", "image_encoder.patch_embed.seq.0.c.weight"] {
        assert!(sharp[name].equal(&start[name]), "{name}");
    }
}

#[test]
fn averaged_weights_have_averaged_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let settings = |average| {
        bench.config(&[
            "training.epochs=1",
            "training.batch=1",
            "data.samples-per-epoch=2",
            "model.batch-norm=batch",
            "model.trained=['image_encoder.neck.']",
            "optimizer.learning-rate=1e-2",
            "sharp-min.kind=off",
            average,
        ])
    };
    // The same two steps without an average, stopped after the first and after the second.
    let plain = settings("optimizer.average=0");
    assert!(!bench.start(&ranks, &plain, "one", &mut Stop(1)).unwrap().run().unwrap().finished);
    bench.train(&ranks, &plain, "two");
    // Both averages outlast a stop between the steps.
    let averaged = settings("optimizer.average=0.5");
    assert!(!bench.start(&ranks, &averaged, "averaged", &mut Stop(1)).unwrap().run().unwrap().finished);
    Trainer::resume(&bench.path("averaged"), None, Device::Cpu, &ranks, &mut ()).unwrap().run().unwrap();
    let (one, two) = (bench.tensors("one/current.safetensors"), bench.tensors("two/final.safetensors"));
    let found = bench.tensors("averaged/final.safetensors");
    let (mut statistics, mut parameters) = (0, 0);
    for (name, value) in &found {
        // The last step counts twice as much as the one before.
        let expected = (&one[name] + &two[name] * 2.0) / 3.0;
        let largest = |t: Tensor| t.abs().max().double_value(&[]);
        let (apart, between) = (largest(value - &expected), largest(&two[name] - &one[name]));
        assert!(apart <= 1e-6 * (1.0 + largest(expected)) && apart <= 1e-3 * between + 1e-6, "{name}: {apart:e}");
        statistics += usize::from(name.contains(".running_") && between > 1e-4);
        parameters += usize::from(name.starts_with("image_encoder.neck.") && between > 1e-4);
    }
    assert!(statistics > 40 && parameters == 6, "{statistics} {parameters}");
}

#[test]
fn the_sharpest_neighbour_is_the_networks() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    // Uncertainties that stand at 1 weigh each loss by a half. Were they in the norm, the perturbation would be shorter.
    let settings = |weights: &[&str]| {
        let step = ["training.epochs=1", "data.samples-per-epoch=2", "sharp-min.rho=0.5", "optimizer.epsilon=1e-3"];
        bench.config(&[&step[..], weights].concat())
    };
    let halves = "loss.weights={ dice = 0.5, bce = 0.5, shape-distance = 0.5, iou = 0.5 }";
    let equal = bench.train(&ranks, &settings(&["loss.weighting=equal", halves]), "equal");
    let learnt = bench.train(&ranks, &settings(&[]), "learnt");
    let gradient = |epochs: &[Epoch]| epochs[1].gradient.unwrap();
    let (expected, found) = (gradient(&equal.epochs), gradient(&learnt.epochs));
    assert!((found / expected - 1.0).abs() < 1e-5, "{found} {expected}");
    let tensors = |run: &str| bench.tensors(&format!("{run}/final.safetensors"));
    let moved = largest(&tensors("equal"), &bench.tensors("weights.safetensors"));
    let apart = largest(&tensors("equal"), &tensors("learnt"));
    assert!(moved > 1e-6 && apart < 1e-3 * moved, "moved {moved:e}, apart {apart:e}");
}

#[test]
fn uncertainties_move_by_a_rate_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let run = |rate: &str, run| {
        // The network stays nearly as it is.
        let settings =
            ["optimizer.learning-rate=1e-9", "sharp-min.kind=off", "training.batch=3", "data.jitter=0", rate];
        bench.train(&ranks, &bench.config(&settings), run).epochs
    };
    // Four steps of Adam, each of the rate or, on the way to the place of rest, somewhat less.
    let dice = run("loss.learning-rate=0.1", "fast")[2].sigmas["dice"];
    assert!((0.6..0.8).contains(&dice), "{dice}");
    let slow = run("loss.learning-rate=1e-9", "slow")[2].sigmas["dice"];
    assert!((slow - 1.0).abs() < 1e-6, "{slow}");
}

#[test]
fn what_cannot_be_trained_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let error = |settings: &[&str]| {
        bench.start(&ranks, &bench.config(settings), "none", &mut ()).and_then(Trainer::run).unwrap_err()
    };
    let nothing = error(&["model.trained=['mask_decoder.', 'mask_decoder.nothing']"]);
    assert!(matches!(&nothing, TrainError::NothingTrained { names } if names.len() == 1), "{nothing}");
    let few = error(&["training.batch=7"]);
    assert!(matches!(few, TrainError::TooFewSamples { samples: 6, step: 7 }), "{few}");
    let modality = error(&["data.caps.Xray=3", "data.caps.Xary=5"]);
    assert!(matches!(&modality, TrainError::UnknownModality { name, .. } if name == "Xary"), "{modality}");
    let absent = bench.path("absent.safetensors");
    let origin = Origin { weights: &bench.path("weights.safetensors"), teacher: Some(&absent) };
    let folders = Folders { data: bench.path("cases"), validation: None };
    let start = |config: &Config| {
        let mut silent = ();
        let run = bench.path("none");
        Trainer::start(config, &folders, origin, &run, Device::Cpu, &ranks, &mut silent).err().unwrap()
    };
    let unasked = start(&bench.config(&[]));
    assert!(matches!(unasked, TrainError::TeacherUnasked { .. }), "{unasked}");
    let missing = start(&bench.config(&["loss.terms=['dice', 'imitation']"]));
    assert!(missing.to_string().contains("absent.safetensors"), "{missing}");
    let unwatched = error(&["schedule.watch=validation"]);
    assert!(matches!(unwatched, TrainError::NothingWatched), "{unwatched}");
    assert!(!bench.path("none").exists());
    fs::create_dir(bench.path("none")).unwrap();
    fs::write(bench.path("none/best.safetensors"), b"somebody's").unwrap();
    let taken = error(&[]);
    assert!(matches!(taken, TrainError::Exists { .. }), "{taken}");
    fs::remove_dir_all(bench.path("none")).unwrap();
    // Uncertainties have a gradient of their own, which is no excuse; nor is what else is trained.
    for weighting in ["equal", "kendall"] {
        let trained = "model.trained=['mask_decoder.', 'prompt_encoder.mask_downscaling']";
        let unreached = error(&[trained, &format!("loss.weighting={weighting}")]);
        assert!(matches!(&unreached, TrainError::NothingReached { names } if names.len() == 1), "{unreached}");
        fs::remove_dir_all(bench.path("none")).unwrap();
    }
}

#[test]
fn a_damaged_state_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let resume = |run: &Path| Trainer::resume(run, None, Device::Cpu, &ranks, &mut ()).err().unwrap();
    let config = bench.config(&["training.epochs=0"]);
    bench.train(&ranks, &config, "run");
    let state = bench.path("run/last.safetensors");
    let whole = fs::read(&state).unwrap();
    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&state, &whole[..length]).unwrap();
        let error = resume(&bench.path("run"));
        assert!(matches!(error, TrainError::Store(_)), "{length}: {error}");
    }
    fs::copy(bench.path("run/final.safetensors"), &state).unwrap();
    let error = resume(&bench.path("run"));
    assert!(error.to_string().contains("metadata"), "{error}");
    let error = resume(&bench.path("absent"));
    assert!(error.to_string().contains("absent"), "{error}");
}

#[test]
fn tf32_is_no_arithmetic_of_a_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let error = bench.start(&ranks, &bench.config(&["model.precision=tf32"]), "none", &mut ()).err().unwrap();
    assert!(matches!(error, TrainError::Cuda(_)) && !bench.path("none").exists(), "{error}");
}

#[test]
fn the_forms_of_a_cuda_device_give_the_same_gradients() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let run = |form: &str, run: &str| {
        let settings = [
            "training.epochs=1",
            "data.samples-per-epoch=2",
            "model.trained=['image_encoder.layers.2.', 'image_encoder.neck.']",
            "optimizer.epsilon=1e-3",
            form,
        ];
        let losses = bench.train(&ranks, &bench.config(&settings), run).epochs[1].losses.clone();
        (losses, bench.tensors(&format!("{run}/final.safetensors")))
    };
    let start = bench.tensors("weights.safetensors");
    let (plain, weights) = run("engine.fused-attention=false", "plain");
    let moved = largest(&weights, &start);
    for form in ["fused-attention", "channels-last", "fused-adamw"] {
        let (losses, other) = run(&format!("engine.{form}=true"), form);
        for (name, value) in &plain {
            assert!((value - losses[name]).abs() < 1e-5 * value.abs().max(0.1), "{form}, {name}");
        }
        let apart = largest(&weights, &other);
        // The weights are of the order of 1, where f32 has steps of 1e-7.
        assert!(moved > 2e-5 && apart < 1e-6, "{form}: moved {moved:e}, apart {apart:e}");
    }
}

#[test]
fn autocast_changes_little() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let losses = |precision: &str, run| {
        let precision = format!("model.precision={precision}");
        let settings = ["training.epochs=1", "data.samples-per-epoch=2", "sharp-min.kind=off", &precision];
        let epoch = &bench.train(&ranks, &bench.config(&settings), run).epochs[1];
        epoch.losses.clone()
    };
    let (exact, cast) = (losses("f32", "exact"), losses("bf16", "cast"));
    for (name, value) in &exact {
        let apart = (value - cast[name]).abs();
        assert!(apart < 0.03 * value.abs().max(0.1), "{name}: {value} and {}", cast[name]);
    }
    // In bf16 indeed.
    assert_ne!(exact, cast);
}

#[test]
fn an_encoder_of_another_size_begins_anew_if_all_of_it_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let settings = ["model.encoder=small", "training.batch=1", "data.samples-per-epoch=1", "training.epochs=1"];
    let config = |trained| bench.config(&[&settings[..], &[trained]].concat());
    let error = bench.start(&ranks, &config("model.trained=['mask_decoder.']"), "none", &mut ()).err().unwrap();
    assert!(matches!(error, TrainError::EncoderSize { .. }) && !bench.path("none").exists(), "{error}");
    bench.train(&ranks, &config("model.trained=['image_encoder.']"), "small");
    let (start, small) = (bench.tensors("weights.safetensors"), bench.tensors("small/final.safetensors"));
    assert!(small.len() < start.len());
    assert!(small["mask_decoder.mask_tokens.weight"].equal(&start["mask_decoder.mask_tokens.weight"]));
    assert_eq!(small["image_encoder.neck.0.weight"].size(), [256, 256, 1, 1]);
}
