//! Segmenting NPZ cases, which bring their own boxes.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use umedsam::mask::Spacing;
use umedsam::npz::{Boxes, Case, Limits, Problem, Truth, own_labels, read_affine, read_spacing};
use umedsam::{PixelBox, Session, errln};
use umedsam_demo::labels::Grid;
use umedsam_demo::scan::Affine;

use crate::SegmentArguments;
use crate::output::Outputs;
use crate::pictures::Drawn;
use crate::plane::{PlaneOptions, write_maps};
use crate::report::{Report, network, objects, put_names, stages};
use crate::volume::segment_volume;
use umedsam_demo::label_file::Found;

/// Reads a case, and tells how to raise the limit where it is over it.
fn read_case(path: &Path, limits: &Limits) -> anyhow::Result<Case> {
    Case::read(path, limits).map_err(|error| match error.problem {
        Problem::TooLarge { .. } => anyhow!("{error} (--memory)"),
        _ => error.into(),
    })
}

/// The numbers that the case's truth has for its boxes, if it has some that are not 1, 2, 3 and so on.
fn own_numbers(path: &Path, case: &Case, limits: &Limits) -> Option<Vec<u16>> {
    let truth = match Truth::read(path, limits) {
        Ok(truth) => truth,
        Err(error) => {
            if !matches!(error.problem, Problem::Missing) {
                errln!("umedsam: objects are numbered from 1: {error}");
            }
            return None;
        }
    };
    let own = (truth.shape == case.shape.labels()).then(|| own_labels(&truth.labels, &truth.shape, &case.boxes))??;
    own.iter().zip(1..).any(|(&label, n)| label != n).then_some(own)
}

/// Segments a case by its own boxes.
pub(crate) fn segment_case(
    session: &mut Session,
    path: &Path,
    outputs: &Outputs,
    arguments: &SegmentArguments,
    options: &PlaneOptions<'_>,
) -> anyhow::Result<Report> {
    let start = Instant::now();
    let limits = Limits::new().with_peak_bytes(arguments.memory.bytes());
    let case = read_case(path, &limits)?;
    let own = own_numbers(path, &case, &limits);
    let spacing = read_spacing(path, &limits)?;
    let lengths = spacing.map(|[x, y, z]| Spacing::new(x, y, z)).transpose()?;
    let read = start.elapsed();
    let before = session.stats();
    let size = case.shape.volume();
    outputs.check(path, size.depth, None)?;
    let respaced = arguments.mask.check_spacing(case.shape.depth.is_some(), spacing);
    let respaced = respaced.with_context(|| path.display().to_string())?;
    let numbers = (1..=u16::MAX).take(case.boxes.len());
    let told = arguments.format.objects(own.clone().unwrap_or_else(|| numbers.collect()));
    let told = told.with_context(|| path.display().to_string())?;
    let affine = read_affine(path, &limits)?.map(Affine).filter(Affine::is_regular);
    let (mut labels, predicted_iou, uncertainty, ways, mut postprocess) = match &case.boxes {
        Boxes::Plane(boxes) => {
            let (found, uncertainty) =
                options.segment(session, &case.slice(0)?, boxes).with_context(|| path.display().to_string())?;
            let postprocess = session.stats().postprocess - before.postprocess;
            (found.labels, found.predicted_iou, uncertainty, Vec::new(), postprocess)
        }
        Boxes::Volume(_) if options.uncertainty.is_some() => {
            bail!("{}: a volume; --uncertainty is for images", path.display())
        }
        Boxes::Volume(boxes) => {
            let start = Instant::now();
            let found = segment_volume(session, |z| case.slice(z), size, boxes, &arguments.volume())
                .with_context(|| path.display().to_string())?;
            let spent = session.stats();
            let rest = start.elapsed().saturating_sub(network(spent) - network(before));
            (found.labels, found.predicted_iou, None, found.ways, rest)
        }
    };
    let start = Instant::now();
    arguments.mask.clean(&mut labels, size)?;
    let mut objects = objects(&labels, &predicted_iou, uncertainty.as_ref(), &ways);
    if arguments.mask.measures() {
        let is_volume = case.shape.depth.is_some();
        let measured = arguments.mask.measure(&labels, &case.pixels, size, is_volume, lengths, objects.len())?;
        objects.iter_mut().zip(measured).for_each(|(object, measures)| object.measures = measures);
    }
    postprocess += start.elapsed();
    let start = Instant::now();
    let boxes: Vec<PixelBox> = match &case.boxes {
        Boxes::Plane(boxes) => boxes.clone(),
        Boxes::Volume(boxes) => boxes.iter().map(|b| b.plane).collect(),
    };
    let flat = spacing.map(|[x, y, _]| [x, y]);
    let drawn = Drawn { pixels: &case.pixels, labels: &labels, size, spacing: flat, boxes: &boxes, slice: None };
    let pictures = drawn.draw(outputs, options.mask.report.is_some())?;
    if let Some(own) = &own {
        labels.iter_mut().filter(|l| **l > 0).for_each(|l| *l = own[usize::from(*l) - 1]);
        objects.iter_mut().zip(own).for_each(|(object, &label)| object.label = label);
    }
    let shape = case.shape.labels();
    let grid = Grid::new(size, affine).with_spacing(spacing);
    outputs.write(&Found { input: path, labels: &labels, shape: &shape, grid, scan: None, objects: &told })?;
    put_names(&mut objects, &told);
    write_maps(outputs, uncertainty.as_ref(), case.shape.width, case.shape.height)?;
    let written = outputs.paths().cloned().collect();
    let after = session.stats();
    let stages = stages(before, after, read, postprocess, start.elapsed());
    let (encodes, cache_hits) = (after.encodes - before.encodes, after.cache_hits - before.cache_hits);
    let input = path.display().to_string();
    let own_labels = own.is_some();
    let applied = respaced.into_iter().collect();
    Ok(Report {
        input,
        shape,
        intake: case.intake,
        applied,
        objects,
        own_labels,
        written,
        encodes,
        cache_hits,
        ms: stages,
        pictures,
    })
}
