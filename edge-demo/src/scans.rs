//! `umedsam segment` on DICOM and NIfTI.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use umedsam::Session;
use umedsam::mask::Spacing;
use umedsam_demo::dicom::Segmentation;
use umedsam_demo::labels::Grid;
use umedsam_demo::read::{ReadOptions, read};
use umedsam_demo::scan::{Applied, Window};

use crate::SegmentArguments;
use crate::output::Outputs;
use crate::pictures::Drawn;
use crate::plane::{PlaneOptions, write_maps};
use crate::prompts::{Prompts, Task};
use crate::report::{Report, network, objects, put_names, stages};
use crate::volume::{Found, follow, segment_volume};
use umedsam_demo::label_file::{self, Format};

/// How DICOM and NIfTI are read.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScanArguments {
    /// The values shown from black to white: abdomen, lung, brain, mediastinum or bone (for CT), file (the file's own),
    /// percentiles (the 0.5th to the 99.5th of those that are not 0), or CENTER,WIDTH. auto is the abdomen's for CT, and
    /// percentiles for all others. For DICOM and NIfTI.
    #[arg(long, value_name = "W", default_value_t, allow_hyphen_values = true)]
    pub(crate) window: Window,
    /// The series of a folder or archive with several: its number in the list, or the end of its UID; up to four
    /// digits are a number.
    #[arg(long, value_name = "N|UID")]
    series: Option<String>,
    /// One volume of a 4D file, one frame of a multi-frame one, or one page of a TIFF, from 0.
    #[arg(long, value_name = "I")]
    pub(crate) frame: Option<usize>,
    /// Read a DICOM series all the same where slices are missing.
    #[arg(long)]
    gaps: bool,
}

impl ScanArguments {
    /// Whether anything is asked for that only DICOM and NIfTI have.
    pub(crate) fn is_given(&self) -> bool {
        self.window != Window::Auto || self.series.is_some() || self.gaps
    }

    pub(crate) fn options(&self, memory: u64) -> ReadOptions {
        let options = ReadOptions::new().with_memory(memory).with_frame(self.frame).with_series(self.series.clone());
        if self.gaps { options.with_gaps() } else { options }
    }
}

/// Segments an image or a volume, and writes its label map as a DICOM segmentation or NIfTI.
pub(crate) fn segment_scan(
    session: &mut Session,
    path: &Path,
    outputs: &Outputs,
    arguments: &SegmentArguments,
    prompts: &Prompts,
    options: &PlaneOptions<'_>,
) -> anyhow::Result<Report> {
    let named = || path.display().to_string();
    let start = Instant::now();
    let mut scan = read(path, &arguments.scan.options(arguments.memory.bytes()))?;
    let shown = scan.to_8bit(arguments.scan.window).with_context(named)?;
    // The network sees 8 bits only, and the values take twice their memory.
    scan.values = umedsam::intensity::Values::U8(Vec::new());
    let read = start.elapsed();
    let (size, shape, is_volume) = (scan.size, scan.shape(), scan.size.depth > 1);
    let (task, asked) = prompts.task(&scan).with_context(named)?;
    outputs.check(path, size.depth, Some(&scan))?;
    let respaced = options.mask.check_spacing(is_volume, scan.spacing).with_context(named)?;
    let told = arguments.format.objects((1..=u16::MAX).take(task.count())).with_context(named)?;
    let seg = outputs.labels.iter().any(|(format, _)| *format == Format::Seg);
    let unplaced = seg && scan.affine.is_some() && Segmentation::of(&scan).is_ok_and(|seg| !seg.is_placed());
    let before = session.stats();
    let start = Instant::now();
    if is_volume && options.uncertainty.is_some() {
        bail!("{}: a volume; --uncertainty is for images", named());
    }
    let slice = |z| shown.slice(z);
    let (found, uncertainty) = match &task {
        Task::Plane(boxes) => {
            let (found, uncertainty) = options.segment(session, &slice(0)?, boxes).with_context(named)?;
            let ways = Vec::new();
            (Found { labels: found.labels, predicted_iou: found.predicted_iou, ways }, uncertainty)
        }
        Task::Follow(z, boxes) => (follow(session, slice, size, *z, boxes).with_context(named)?, None),
        Task::Volume(boxes) => {
            (segment_volume(session, slice, size, boxes, &arguments.volume()).with_context(named)?, None)
        }
    };
    let Found { mut labels, predicted_iou, ways } = found;
    let network = network(session.stats()) - network(before);
    options.mask.clean(&mut labels, size)?;
    let mut objects = objects(&labels, &predicted_iou, uncertainty.as_ref(), &ways);
    if options.mask.measures() {
        let spacing = scan.spacing.map(|[x, y, z]| Spacing::new(x, y, z)).transpose()?;
        let measured = options.mask.measure(&labels, &shown.pixels, size, is_volume, spacing, objects.len())?;
        objects.iter_mut().zip(measured).for_each(|(object, measures)| object.measures = measures);
    }
    let postprocess: Duration = start.elapsed().saturating_sub(network);
    let start = Instant::now();
    let (input, grid) = (path, Grid::from(&scan));
    let found = label_file::Found { input, labels: &labels, shape: &shape, grid, scan: Some(&scan), objects: &told };
    outputs.write(&found)?;
    put_names(&mut objects, &told);
    let spacing = scan.spacing.map(|[x, y, _]| [x, y]);
    let (boxes, slice) = (&task.planes(), task.slice());
    let drawn = Drawn { pixels: &shown.pixels, labels: &labels, size, spacing, boxes, slice };
    let pictures = drawn.draw(outputs, options.mask.report.is_some())?;
    write_maps(outputs, uncertainty.as_ref(), size.width, size.height)?;
    let written = outputs.paths().cloned().collect();
    let after = session.stats();
    let ms = stages(before, after, read, postprocess, start.elapsed());
    let (encodes, cache_hits) = (after.encodes - before.encodes, after.cache_hits - before.cache_hits);
    let mut applied = [scan.applied, shown.applied, asked].concat();
    applied.extend(respaced);
    if unplaced {
        let note = "the segmentation has no place in the patient, as the images name no frame of reference";
        applied.push(Applied::Note(note.into()));
    }
    Ok(Report {
        input: named(),
        shape,
        intake: shown.intake,
        applied,
        objects,
        own_labels: false,
        written,
        encodes,
        cache_hits,
        ms,
        pictures,
    })
}
