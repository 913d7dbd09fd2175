//! Our side: a worker that segments NPZ files.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use umedsam::npz::{Boxes, Case, Limits, write_segs};
use umedsam::volume::from_fn;
use umedsam::{Precision, Session, SessionOptions, VolumeOptions};
use umedsam_benches::{load_model, worker};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    threads: usize,
    precision: Precision,
    #[arg(long)]
    model: Option<PathBuf>,
}

/// Answers `CASE.npz OUT.npz` by the seconds from the file to the written segmentation, and the slices encoded.
pub(crate) fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let options = SessionOptions::new().with_threads(arguments.threads).with_precision(arguments.precision);
    let mut session = load_model(arguments.model.as_deref())?.session(&options)?;
    worker::serve(|request| {
        let (case, out) = request.split_once(' ').context("a request is two files")?;
        let encodes = session.stats().encodes;
        let start = Instant::now();
        segment(&mut session, Path::new(case), Path::new(out)).with_context(|| case.to_owned())?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(format!("{seconds} {}", session.stats().encodes - encodes))
    })
}

fn segment(session: &mut Session, path: &Path, out: &Path) -> anyhow::Result<()> {
    let case = Case::read(path, &Limits::new())?;
    let labels = match &case.boxes {
        Boxes::Plane(boxes) => {
            let view = case.slice(0)?;
            let frame = view.frame();
            let prompts = boxes.iter().enumerate().map(|(i, b)| frame.to_model(b, i)).collect::<Result<Vec<_>, _>>()?;
            let embedding = session.encode(&view)?;
            let mut labels = vec![0u16; view.width() * view.height()];
            session.decode(&embedding, &prompts, |i, logits, _| {
                logits.paint((i + 1) as u16, &mut labels);
            })?;
            labels
        }
        Boxes::Volume(boxes) => {
            // What stands beside it is upstream's procedure.
            let options = VolumeOptions::new().with_upstream_rounding();
            let go_on = |_, _| ControlFlow::Continue(());
            let slices = from_fn(|z| case.slice(z));
            session.segment_volume(slices, case.shape.volume(), boxes, &options, go_on)?.labels
        }
    };
    Ok(write_segs(out, &labels, &case.shape.labels())?)
}
