//! Whether a device computes what the CPU computes: the network, the losses, the optimizers, whole runs. The plain forms
//! on the CPU, which the tests compare with PyTorch, are what everything is held against.

mod network;
mod pieces;
pub(crate) mod runs;
mod scene;

use std::time::Instant;

use anyhow::ensure;
use tch::{Kind, Tensor};

use crate::kit::Kit;
use scene::Scene;
use umedsam::outln;

/// Why a CPU is not compared with itself.
const REFERENCE: &str = "this device is the reference";

/// What was compared, and how it came out.
pub(crate) struct Table {
    rows: usize,
    failed: Vec<String>,
    skipped: usize,
    last: Instant,
}

impl Table {
    pub(crate) fn new() -> Self {
        outln!("| compared | error | bound | | s |\n|---|---|---|---|---|");
        Self { rows: 0, failed: Vec::new(), skipped: 0, last: Instant::now() }
    }

    /// An error, which is to be at most its bound.
    pub(crate) fn row(&mut self, name: &str, error: f64, bound: f64) {
        // NaN is not at most anything.
        let good = error <= bound;
        outln!(
            "| {name} | {error:.2e} | {bound:.0e} | {} | {:.1} |",
            if good { "ok" } else { "FAILED" },
            self.seconds()
        );
        self.rows += 1;
        if !good {
            self.failed.push(name.into());
        }
    }

    /// Something that holds or not.
    pub(crate) fn fact(&mut self, name: &str, found: &str, holds: bool) {
        outln!("| {name} | {found} | | {} | {:.1} |", if holds { "ok" } else { "FAILED" }, self.seconds());
        self.rows += 1;
        if !holds {
            self.failed.push(name.into());
        }
    }

    /// What could not be compared here.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        outln!("| {name} | not compared: {why} | | | |");
        self.skipped += 1;
    }

    fn seconds(&mut self) -> f64 {
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        seconds
    }

    fn end(&self) -> anyhow::Result<()> {
        outln!("{} compared, {} failed, {} not compared", self.rows, self.failed.len(), self.skipped);
        ensure!(self.rows > 0, "nothing was compared");
        ensure!(self.failed.is_empty(), "failed: {}", self.failed.join("; "));
        Ok(())
    }
}

/// Compares everything; an error at the end if something is beyond its bound.
pub(crate) fn check(kit: &Kit) -> anyhow::Result<()> {
    let mut table = Table::new();
    let scene = Scene::new(kit)?;
    network::check(&scene, &mut table);
    pieces::check(&scene, &mut table)?;
    runs::check(kit, &mut table)?;
    table.end()
}

/// The greatest difference of two tensors, which may be on different devices, as a part of the first one's greatest value.
pub(crate) fn apart(expected: &Tensor, found: &Tensor) -> f64 {
    let double = |t: &Tensor| t.detach().to_device(tch::Device::Cpu).to_kind(Kind::Double);
    let (expected, found) = (double(expected), double(found));
    if expected.size() != found.size() {
        return f64::INFINITY;
    }
    let scale = expected.abs().max().double_value(&[]).max(1e-30);
    (expected - found).abs().max().double_value(&[]) / scale
}

/// The root of the mean squared difference, as a part of that of the expected values.
pub(crate) fn rms_apart(expected: &Tensor, found: &Tensor) -> f64 {
    let double = |t: &Tensor| t.detach().to_device(tch::Device::Cpu).to_kind(Kind::Double);
    let (expected, found) = (double(expected), double(found));
    if expected.size() != found.size() {
        return f64::INFINITY;
    }
    (&expected - found).norm().double_value(&[]) / expected.norm().double_value(&[]).max(1e-30)
}
