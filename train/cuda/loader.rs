//! What the threads that make batches deliver, with a network of one layer: whether data are what bounds a training.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};
use umedsam::outln;
use umedsam_train::data::{Dataset, Drawing, Loader, Task, plan};

use crate::kit::Kit;

const BATCH: usize = 32;
/// Cores of a rented machine, of which two have other work.
const CORES: usize = 16;

/// Prints images a second of one thread, two, four ... up to the machine's cores.
pub(crate) fn measure(kit: &Kit, until: Instant) -> anyhow::Result<()> {
    let mut config = kit.config("u-medsam", &["data.samples-per-epoch=20000", "data.default-cap=20000"])?;
    config.data.caps.clear();
    let start = Instant::now();
    let dataset = Arc::new(Dataset::read(&kit.cases()?, &config.data, |_, _| {})?);
    outln!("{} cases read in {:.1} s", dataset.entries().len(), start.elapsed().as_secs_f64());
    let drawings: Vec<Drawing> = plan(dataset.entries(), &config.data, 0, 0)
        .into_iter()
        .zip(0..)
        .map(|(entry, position)| Drawing::random(&dataset, entry, &config.data, 0, 0, position))
        .collect();
    let batches: Vec<Vec<Drawing>> = drawings.chunks_exact(BATCH).map(<[Drawing]>::to_vec).collect();
    let task = Task {
        dataset,
        cache: None,
        min_area: config.data.min_area,
        shape: true,
        images: true,
        share: false,
        device: kit.device,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let counts: Vec<usize> = std::iter::successors(Some(1), |n| Some(2 * n)).take_while(|&n| n <= cores).collect();
    outln!(
        "| threads | images/s | a thread | with {} of {CORES} cores, if each gives as much |\n|---|---|---|---|",
        CORES - 2
    );
    let mut left = counts.len() as u32;
    for threads in counts {
        let share = until.saturating_duration_since(Instant::now()) / left;
        left -= 1;
        let rate = rate(&task, &batches, threads, share);
        let each = rate / threads as f64;
        outln!("| {threads} | {rate:.0} | {each:.0} | {:.0} |", each * (CORES - 2) as f64);
    }
    Ok(())
}

fn rate(task: &Task, batches: &[Vec<Drawing>], threads: usize, share: Duration) -> f64 {
    let layer = Tensor::ones([8, 3, 1, 1], (Kind::Float, task.device)) / 3.0;
    // Depends on every batch, so that no part of the work is left out.
    let mut sum = Tensor::zeros([], (Kind::Float, task.device));
    let (start, mut images) = (Instant::now(), 0);
    // More than any machine makes in the time.
    let mut lists = batches.iter().cycle().cloned();
    while start.elapsed() < share {
        let loader = Loader::new(task, lists.by_ref().take(batches.len()).collect(), threads);
        for staged in loader {
            let Ok(staged) = staged else { return f64::NAN };
            let batch = staged.to_device(task.device);
            let images_in = batch.images.as_ref().expect("images");
            let strided = images_in.conv2d(&layer, None::<&Tensor>, [4, 4], [0, 0], [1, 1], 1);
            sum += strided.mean(Kind::Float) + batch.masks.mean(Kind::Float);
            sum += batch.shapes.expect("shapes").mean(Kind::Float);
            images += staged.names.len();
            if start.elapsed() >= share {
                break;
            }
        }
    }
    // Waits for the device.
    if task.device != Device::Cpu && sum.double_value(&[]).is_nan() {
        return f64::NAN;
    }
    images as f64 / start.elapsed().as_secs_f64()
}
