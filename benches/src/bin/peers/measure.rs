//! The measuring itself.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use umedsam::metrics::dice;
use umedsam::{Frame, MODEL_SIDE};
use umedsam_benches::worker::Worker;

use crate::contender::{BASE, Contender, Place};
use crate::inputs::Inputs;

/// What is timed.
pub(crate) const STAGES: [&str; 3] = ["encode", "decode1", "decode16"];

/// Fresh processes for the cold start.
const COLD_STARTS: usize = 3;

/// Pause between two requests: a runtime's threads may go on waiting for work a little after the last one.
const PAUSE: Duration = Duration::from_millis(20);

/// All figures of one contender at one number of threads.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) contender: Contender,
    pub(crate) version: String,
    pub(crate) threads: usize,
    /// For each stage the milliseconds of every run, ascending.
    pub(crate) ms: [Vec<f64>; 3],
    pub(crate) cold_ms: f64,
    pub(crate) peak_mb: f64,
    /// Mean and worst DSC with the masks of the base, if that took part.
    pub(crate) agreement: Option<(f64, f64)>,
}

/// Measures all `contenders` at each number of threads.
pub(crate) fn measure(
    contenders: &[Contender],
    place: &Place<'_>,
    inputs: &Inputs,
    threads: &[usize],
    rounds: usize,
) -> anyhow::Result<Vec<Figures>> {
    let mut figures = Vec::new();
    for &threads in threads {
        let mut found =
            contenders.iter().map(|&contender| fresh(contender, place, threads)).collect::<anyhow::Result<Vec<_>>>()?;
        let mut workers = Vec::new();
        for (contender, figures) in contenders.iter().zip(&mut found) {
            let mut worker = contender.start(place, threads)?;
            figures.version = worker.ask("version")?;
            workers.push(worker);
        }
        agree(&mut workers, &mut found, place, inputs)?;
        alternate(&mut workers, &mut found, rounds)?;
        figures.extend(found);
    }
    Ok(figures)
}

/// Cold start and peak memory.
fn fresh(contender: Contender, place: &Place<'_>, threads: usize) -> anyhow::Result<Figures> {
    eprintln!("cold start of {}, threads: {threads}", contender.name());
    let (mut cold_ms, mut peak_mb) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..COLD_STARTS {
        let start = Instant::now();
        let mut worker = contender.start(place, threads)?;
        let area = worker.ask_number("first")?;
        cold_ms = cold_ms.min(start.elapsed().as_secs_f64() * 1e3);
        ensure!(area > 0.0, "{}: an empty mask", contender.name());
        peak_mb = peak_mb.min(worker.ask_number("peak")?);
    }
    let ms = Default::default();
    Ok(Figures { contender, version: String::new(), threads, ms, cold_ms, peak_mb, agreement: None })
}

/// Compares everyone's masks with the base's.
fn agree(workers: &mut [Worker], figures: &mut [Figures], place: &Place<'_>, inputs: &Inputs) -> anyhow::Result<()> {
    let Some(base) = figures.iter().position(|f| f.contender == BASE) else { return Ok(()) };
    eprintln!("masks");
    let path = place.folder.join("masks");
    let mut masks = Vec::new();
    for worker in workers {
        worker.ask(&format!("masks {}", path.display()))?;
        masks.push(fs::read(&path).context("masks of a worker")?);
    }
    for (bits, figures) in masks.iter().zip(figures) {
        figures.agreement = Some(compare(bits, &masks[base], &inputs.frames)?);
    }
    Ok(())
}

/// Bytes of one mask.
const MASK_BYTES: usize = MODEL_SIDE * MODEL_SIDE / 8;

/// Mean and worst DSC of two lists of masks, each within its picture's part of the grid.
fn compare(a: &[u8], b: &[u8], frames: &[Frame]) -> anyhow::Result<(f64, f64)> {
    let expected = frames.len() * MASK_BYTES;
    ensure!(a.len() == expected && b.len() == expected, "{} and {} bytes of masks, not {expected}", a.len(), b.len());
    let pairs = a.chunks_exact(MASK_BYTES).zip(b.chunks_exact(MASK_BYTES));
    let scores: Vec<f64> = pairs.zip(frames).map(|((a, b), frame)| score(a, b, *frame)).collect();
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    Ok((mean, scores.into_iter().fold(1.0, f64::min)))
}

/// DSC of two masks; two empty ones agree.
fn score(a: &[u8], b: &[u8], frame: Frame) -> f64 {
    let bit = |mask: &[u8], i: usize| mask[i / 8] >> (7 - i % 8) & 1 == 1;
    let (mut both, mut in_a, mut in_b) = (0, 0, 0);
    for y in 0..frame.scaled_height() {
        for i in (y * MODEL_SIDE..).take(frame.scaled_width()) {
            let (a, b) = (bit(a, i), bit(b, i));
            both += usize::from(a && b);
            in_a += usize::from(a);
            in_b += usize::from(b);
        }
    }
    dice(both, in_a, in_b).unwrap_or(1.0)
}

/// Times every stage, one contender after the other.
fn alternate(workers: &mut [Worker], figures: &mut [Figures], rounds: usize) -> anyhow::Result<()> {
    for (stage, name) in STAGES.into_iter().enumerate() {
        let requests = if stage == 0 { rounds } else { rounds * 5 / 2 }.max(1);
        // The first allocates and, in some runtimes, compiles.
        for round in 0..=requests {
            eprint!("\r{name}, threads: {}, round {round} of {requests}   ", figures[0].threads);
            for (worker, figures) in workers.iter_mut().zip(figures.iter_mut()) {
                sleep(PAUSE);
                let ms = worker.ask_number(name)?;
                if round > 0 {
                    figures.ms[stage].push(ms);
                }
            }
        }
        eprintln!();
        figures.iter_mut().for_each(|f| f.ms[stage].sort_unstable_by(f64::total_cmp));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_compared_within_the_picture_only() {
        // A picture half as wide as high: the right half of the grid does not count.
        let frame = Frame::new(128, 256).unwrap();
        let (mut a, mut b) = (vec![0; 2 * MASK_BYTES], vec![0; 2 * MASK_BYTES]);
        a[0] = 0b1100_0000;
        b[0] = 0b0110_0000;
        b[20] = 0xff;
        assert_eq!(compare(&a, &b, &[frame; 2]).unwrap(), (0.75, 0.5));
        assert!(compare(&a, &b[1..], &[frame; 2]).is_err());
    }
}
