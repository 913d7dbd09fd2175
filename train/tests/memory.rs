//! A run on a machine that is too small for its batch. The only test of its program, which is kept from growing.

#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::ops::ControlFlow;
use std::process::{Command, id};

use common::bench::{Bench, largest};
use umedsam_train::ranks::Ranks;
use umedsam_train::trainer::{Event, Observer};

/// Room beside what the program has when it begins to train: two samples take half of it, six twice as much.
const ROOM: u64 = 800 << 20;

/// Notes how many samples go through the network together, each time that it is fewer.
#[derive(Default)]
struct Notes(Vec<usize>);

impl Observer for Notes {
    fn observe(&mut self, event: Event<'_>) -> ControlFlow<()> {
        if let Event::Smaller { at_once, .. } = event {
            self.0.push(at_once);
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn a_batch_that_does_not_fit_goes_through_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let config = bench.config(&[
        "model.trained=['image_encoder.neck.']",
        "sharp-min.kind=off",
        "optimizer.epsilon=1e-3",
        "training.batch=6",
        "training.epochs=1",
        "training.workers=1",
    ]);
    bench.train(&ranks, &config, "roomy");
    let mut notes = Notes::default();
    let trainer = bench.start(&ranks, &config, "narrow", &mut notes).unwrap();
    // Pages, the first of which is the size of the address space.
    let pages: u64 = fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
    let limit = format!("--as={}", pages * 4096 + ROOM);
    let status = Command::new("prlimit").args(["--pid", &id().to_string(), &limit]).status();
    assert!(status.expect("prlimit of util-linux").success());
    umedsam_train::memory::silence_shortages();
    assert!(trainer.run().unwrap().finished);
    assert!(!notes.0.is_empty() && notes.0.last() < Some(&6), "{:?}", notes.0);
    let [start, roomy, narrow] =
        ["weights", "roomy/final", "narrow/final"].map(|file| bench.tensors(&format!("{file}.safetensors")));
    let (moved, apart) = (largest(&roomy, &start), largest(&roomy, &narrow));
    assert!(moved > 1e-5 && apart < 0.05 * moved, "{:?}: moved {moved:e}, apart {apart:e}", notes.0);
}
