//! `umedsam segment`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use umedsam::intensity::{Intake, NumberType};
use umedsam::mask::Spacing;
use umedsam::npz::{Boxes, Case, Limits, Problem, Truth, own_labels, read_affine, read_spacing};
use umedsam::volume::from_fn;
use umedsam::{
    Error, ImageSegmentation, ImageView, Model, PixelBox, Precision, Session, SessionOptions, Stats,
    UncertaintyOptions, ValidationStatus, VolumeOptions, VolumeSize, VoxelBox, ZoomOptions, errln, outln, terminal,
};
use umedsam_demo::labels::Grid;
use umedsam_demo::pages;
use umedsam_demo::scan::{Affine, Applied};

use crate::cache;
use crate::formats::Found;
use crate::input::{Kind, files};
use crate::mask::{MaskArguments, Measures};
use crate::output::{Outputs, Wanted, plan, write_gray};
use crate::overlay::Overlay;
use crate::picture::Picture;
use crate::scans::segment_scan;
use crate::table;
use crate::uncertainty::{self, Uncertainty};
use crate::{ModelArguments, SegmentArguments};

/// What was found in one input.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The input.
    pub(crate) input: String,
    /// Height and width, or depth, height and width.
    pub(crate) shape: Vec<usize>,
    /// What was done to its values.
    pub(crate) intake: Intake,
    /// What else was done while it was read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) applied: Vec<Applied>,
    /// One entry for each box.
    pub(crate) objects: Vec<Object>,
    /// Whether the labels are the case's own numbers, known from its truth.
    pub(crate) own_labels: bool,
    /// Files written.
    pub(crate) written: Vec<PathBuf>,
    /// Images, windows of images and slices encoded.
    pub(crate) encodes: usize,
    /// Those that were in the cache.
    pub(crate) cache_hits: usize,
    /// Milliseconds of each stage.
    pub(crate) ms: Stages,
}

/// One object.
#[derive(Debug, Serialize)]
pub(crate) struct Object {
    /// Its value in the label map: its place among the boxes, from 1, or the case's own number.
    pub(crate) label: u16,
    /// Its name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Pixels or voxels that carry its label.
    pub(crate) size: usize,
    /// The network's own estimate of the IoU (uncalibrated); in 3D the mean over the slices.
    pub(crate) predicted_iou: f32,
    /// How sure the mask is, 0 to 1, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) score: Option<f32>,
    /// Its measures, if they were asked for and it has a pixel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) measures: Option<Measures>,
}

/// Milliseconds of each stage.
#[derive(Debug, Serialize)]
pub(crate) struct Stages {
    read: f64,
    preprocess: f64,
    encode: f64,
    cache: f64,
    decode: f64,
    postprocess: f64,
    write: f64,
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}

/// Segments every input; a failing one is reported and does not stop the others.
pub(crate) fn run(arguments: &SegmentArguments) -> anyhow::Result<()> {
    let mut files = files(&arguments.inputs)?;
    for (path, kind) in &mut files {
        *kind = kind.with_boxes(path, !arguments.boxes3d.is_empty());
    }
    for (path, kind) in &files {
        match kind {
            Kind::Picture if arguments.boxes.is_empty() => {
                bail!("{}: a picture needs at least one --box x0,y0,x1,y1", path.display())
            }
            Kind::Npz if !arguments.boxes.is_empty() || !arguments.boxes3d.is_empty() => {
                bail!("{}: an NPZ case brings its own boxes; --box is for pictures", path.display())
            }
            Kind::Scan if arguments.boxes.is_empty() && arguments.boxes3d.is_empty() => {
                bail!("{}: a volume needs at least one --box3d x0,y0,z0,x1,y1,z1, an image one --box", path.display())
            }
            _ => {}
        }
    }
    let (zoom, uncertainty) = (arguments.zoom.options(), arguments.uncertainty.options());
    if zoom.is_some() && uncertainty.is_some() {
        bail!("--uncertainty is for whole images, and does not go with --zoom auto");
    }
    let options = PlaneOptions { zoom, uncertainty, mask: &arguments.mask };
    let wanted = Wanted {
        overlay: arguments.overlay,
        uncertainty: uncertainty.is_some(),
        force: arguments.force,
        formats: &arguments.format.formats,
    };
    let outputs = plan(&files, &arguments.out, wanted)?;
    let only_of_scans = !arguments.boxes3d.is_empty() || arguments.scan.is_given();
    if only_of_scans && !files.iter().any(|(_, kind)| *kind == Kind::Scan) {
        bail!("--box3d, --window, --series and --gaps are for DICOM, NIfTI and the like, and no input is any of them");
    }
    let paged = |path: &Path, kind: Kind| match kind {
        Kind::Npz => false,
        Kind::Scan => true,
        Kind::Picture => pages::count(path) > 0,
    };
    if arguments.scan.frame.is_some() && !files.iter().any(|(path, kind)| paged(path, *kind)) {
        bail!("--frame is for TIFF, DICOM, NIfTI and the like, and no input is any of them");
    }
    let mut session = open(&arguments.model)?;
    session.set_cache(arguments.cache.open()?);
    let progress = bar(files.len() as u64, "files");
    let (mut failures, mut reports) = (0, Vec::new());
    for ((path, kind), outputs) in files.iter().zip(&outputs) {
        progress.set_message(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let result = match kind {
            Kind::Npz => segment_case(&mut session, path, outputs, arguments, &options),
            Kind::Picture => segment_file(&mut session, path, outputs, arguments, &options),
            Kind::Scan => segment_scan(&mut session, path, outputs, arguments, &options),
        };
        progress.suspend(|| cache::print_notes(&session));
        progress.suspend(|| match result {
            Ok(report) => {
                if arguments.json {
                    outln!("{}", serde_json::json!(report));
                } else {
                    print(&report);
                }
                reports.extend(arguments.mask.csv.is_some().then_some(report));
            }
            Err(error) => {
                failures += 1;
                let error = terminal::chain(error.as_ref());
                if arguments.json {
                    outln!("{}", serde_json::json!({ "input": path.display().to_string(), "error": error }));
                }
                errln!("umedsam: {error}");
            }
        });
        progress.inc(1);
    }
    progress.finish_and_clear();
    if let Some(path) = &arguments.mask.csv {
        table::write(path, &reports)?;
    }
    if failures > 0 {
        bail!("{failures} of {} inputs failed", files.len());
    }
    Ok(())
}

/// A session on the model that the arguments name, or on the built-in one.
pub(crate) fn open(arguments: &ModelArguments) -> anyhow::Result<Session> {
    let model = match &arguments.model {
        Some(path) => Model::load(path)?,
        None => Model::bundled()?,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.map_or(cores, usize::from);
    let mut options = SessionOptions::new().with_threads(threads);
    options.precision = arguments.precision;
    if let Some(note) = note(&model, arguments.precision) {
        errln!("umedsam: validation: {note}");
    }
    let session = model.session(&options)?;
    if let Some(reason) = session.fallback() {
        errln!("umedsam: not fused, about three times slower: {reason}");
    }
    Ok(session)
}

/// What a person should know of the model's accuracy before using it: nothing if it passed the gate as it is computed.
fn note(model: &Model, precision: Option<Precision>) -> Option<String> {
    match (model.validation(), precision) {
        (ValidationStatus::Passed(report), Some(other)) if other != report.model.precision => {
            Some(format!("none in {other}: this model passed the accuracy gate in {}", report.model.precision))
        }
        (ValidationStatus::Passed(_), _) => None,
        (status, _) => Some(status.to_string()),
    }
}

/// A progress bar on standard error, drawn only where that is a terminal.
fn bar(length: u64, unit: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) =
        ProgressStyle::with_template(&format!("{{bar:30}} {{pos}}/{{len}} {unit} {{msg}} ({{eta}} left)"))
    {
        bar.set_style(style);
    }
    bar
}

fn segment_file(
    session: &mut Session,
    path: &Path,
    outputs: &Outputs,
    arguments: &SegmentArguments,
    options: &PlaneOptions<'_>,
) -> anyhow::Result<Report> {
    let start = Instant::now();
    let picture = Picture::read(path, arguments.scan.frame, arguments.memory.bytes())?;
    let read = start.elapsed();
    let name = path.display().to_string();
    let told = arguments.format.objects((1..=u16::MAX).take(arguments.boxes.len()));
    let told = told.with_context(|| name.clone())?;
    let input = Input { name: &name, picture: &picture, boxes: &arguments.boxes, told: &told, read };
    let found = segment_picture(session, &input, options, outputs);
    let mut report = found.with_context(|| path.display().to_string())?;
    let page = |index| Applied::Frame { index, of: pages::count(path) };
    report.applied.extend(arguments.scan.frame.map(page));
    Ok(report)
}

/// How an image is segmented.
pub(crate) struct PlaneOptions<'a> {
    pub(crate) zoom: Option<ZoomOptions>,
    pub(crate) uncertainty: Option<UncertaintyOptions>,
    pub(crate) mask: &'a MaskArguments,
}

impl PlaneOptions<'_> {
    /// The label map, and how sure it is if that is asked for.
    pub(crate) fn segment(
        &self,
        session: &mut Session,
        image: &ImageView<'_>,
        boxes: &[PixelBox],
    ) -> Result<(ImageSegmentation, Option<Uncertainty>), Error> {
        match &self.uncertainty {
            Some(options) => {
                let (found, uncertainty) = uncertainty::segment(session, image, boxes, options)?;
                Ok((found, Some(uncertainty)))
            }
            None => Ok((session.segment_image(image, boxes, self.zoom.as_ref())?, None)),
        }
    }
}

/// A picture that was read.
pub(crate) struct Input<'a> {
    pub(crate) name: &'a str,
    pub(crate) picture: &'a Picture,
    pub(crate) boxes: &'a [PixelBox],
    /// What is told of its objects.
    pub(crate) told: &'a [umedsam_demo::objects::Object],
    /// How long it took to read.
    pub(crate) read: Duration,
}

/// Segments a picture and writes its label map.
pub(crate) fn segment_picture(
    session: &mut Session,
    input: &Input<'_>,
    options: &PlaneOptions<'_>,
    outputs: &Outputs,
) -> anyhow::Result<Report> {
    let &Input { name, picture, boxes, told, read } = input;
    let before = session.stats();
    let view = picture.view()?;
    let (width, height) = (view.width(), view.height());
    let (mut found, uncertainty) = options.segment(session, &view, boxes)?;
    let start = Instant::now();
    let size = VolumeSize { depth: 1, height, width };
    options.mask.clean(&mut found.labels, size)?;
    let mut objects = objects(&found.labels, &found.predicted_iou, uncertainty.as_ref());
    if options.mask.measures() {
        let measured = options.mask.measure(&found.labels, picture.pixels(), size, false, None, objects.len())?;
        objects.iter_mut().zip(measured).for_each(|(object, measures)| object.measures = measures);
    }
    let masks = start.elapsed();
    let start = Instant::now();
    let (shape, grid) = (vec![height, width], Grid::new(size, None));
    let input = Path::new(name);
    outputs.write(&Found { input, labels: &found.labels, shape: &shape, grid, scan: None, objects: told })?;
    self::name(&mut objects, told);
    if let Some(path) = &outputs.overlay {
        draw(picture.pixels(), &found.labels, width, height, boxes, path)?;
    }
    write_maps(outputs, uncertainty.as_ref(), width, height)?;
    let written = outputs.paths().cloned().collect();
    let after = session.stats();
    let stages = stages(before, after, read, after.postprocess - before.postprocess + masks, start.elapsed());
    let (encodes, cache_hits) = (after.encodes - before.encodes, after.cache_hits - before.cache_hits);
    let intake = picture.intake().clone();
    Ok(Report {
        input: name.into(),
        shape,
        intake,
        applied: Vec::new(),
        objects,
        own_labels: false,
        written,
        encodes,
        cache_hits,
        ms: stages,
    })
}

/// Puts names to objects.
pub(crate) fn name(objects: &mut [Object], told: &[umedsam_demo::objects::Object]) {
    let named = |told: &umedsam_demo::objects::Object| told.name.is_some() || told.code.is_some();
    objects.iter_mut().zip(told).filter(|(_, told)| named(told)).for_each(|(o, told)| o.name = Some(told.title()));
}

pub(crate) fn objects(labels: &[u16], confidence: &[f32], uncertainty: Option<&Uncertainty>) -> Vec<Object> {
    let mut sizes = vec![0usize; confidence.len() + 1];
    for &label in labels {
        sizes[usize::from(label)] += 1;
    }
    let score = |i: usize| uncertainty.map(|u| u.scores[i]);
    let object = |(i, &predicted_iou): (usize, &f32)| {
        let (label, size) = ((i + 1) as u16, sizes[i + 1]);
        Object { label, name: None, size, predicted_iou, score: score(i), measures: None }
    };
    confidence.iter().enumerate().map(object).collect()
}

/// Writes the maps of an image, if there are any.
pub(crate) fn write_maps(
    outputs: &Outputs,
    found: Option<&Uncertainty>,
    width: usize,
    height: usize,
) -> anyhow::Result<()> {
    if let (Some(maps), Some(found)) = (&outputs.uncertainty, found) {
        write_gray(&maps.probabilities, &found.probabilities, width, height)?;
        write_gray(&maps.entropy, &found.entropy, width, height)?;
    }
    Ok(())
}

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

fn segment_case(
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
    let numbers = (1..=u16::MAX).take(case.boxes.len());
    let told = arguments.format.objects(own.clone().unwrap_or_else(|| numbers.collect()));
    let told = told.with_context(|| path.display().to_string())?;
    let affine = read_affine(path, &limits)?.map(Affine).filter(Affine::is_regular);
    let (mut labels, predicted_iou, uncertainty, mut postprocess) = match &case.boxes {
        Boxes::Plane(boxes) => {
            let (found, uncertainty) =
                options.segment(session, &case.slice(0)?, boxes).with_context(|| path.display().to_string())?;
            (found.labels, found.predicted_iou, uncertainty, session.stats().postprocess - before.postprocess)
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
            (found.labels, found.predicted_iou, None, rest)
        }
    };
    let start = Instant::now();
    arguments.mask.clean(&mut labels, size)?;
    let mut objects = objects(&labels, &predicted_iou, uncertainty.as_ref());
    if arguments.mask.measures() {
        let is_volume = case.shape.depth.is_some();
        let measured = arguments.mask.measure(&labels, &case.pixels, size, is_volume, lengths, objects.len())?;
        objects.iter_mut().zip(measured).for_each(|(object, measures)| object.measures = measures);
    }
    postprocess += start.elapsed();
    let start = Instant::now();
    if let Some(overlay) = &outputs.overlay {
        let boxes: Vec<PixelBox> = match &case.boxes {
            Boxes::Plane(boxes) => boxes.clone(),
            Boxes::Volume(boxes) => boxes.iter().map(|b| b.plane).collect(),
        };
        draw_slice(&case.pixels, &labels, size, &boxes, overlay)?;
    }
    if let Some(own) = &own {
        labels.iter_mut().filter(|l| **l > 0).for_each(|l| *l = own[usize::from(*l) - 1]);
        objects.iter_mut().zip(own).for_each(|(object, &label)| object.label = label);
    }
    let shape = case.shape.labels();
    let grid = Grid::new(size, affine).with_spacing(spacing);
    outputs.write(&Found { input: path, labels: &labels, shape: &shape, grid, scan: None, objects: &told })?;
    name(&mut objects, &told);
    write_maps(outputs, uncertainty.as_ref(), case.shape.width, case.shape.height)?;
    let written = outputs.paths().cloned().collect();
    let after = session.stats();
    let stages = stages(before, after, read, postprocess, start.elapsed());
    let (encodes, cache_hits) = (after.encodes - before.encodes, after.cache_hits - before.cache_hits);
    let input = path.display().to_string();
    let own_labels = own.is_some();
    let applied = Vec::new();
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
    })
}

pub(crate) fn segment_volume<'a>(
    session: &mut Session,
    slice: impl FnMut(usize) -> Result<ImageView<'a>, Error>,
    size: VolumeSize,
    boxes: &[VoxelBox],
    options: &VolumeOptions,
) -> Result<umedsam::VolumeSegmentation, Error> {
    let progress = bar(0, "slices");
    let found = session.segment_volume(from_fn(slice), size, boxes, options, |done, total| {
        progress.set_length(total as u64);
        progress.set_position(done as u64);
        ControlFlow::Continue(())
    });
    progress.finish_and_clear();
    found
}

/// Draws an image, or a volume's slice with the most labelled voxels.
pub(crate) fn draw_slice(
    pixels: &[u8],
    labels: &[u16],
    size: VolumeSize,
    boxes: &[PixelBox],
    path: &Path,
) -> anyhow::Result<()> {
    let VolumeSize { height, width, .. } = size;
    let channels = pixels.len() / labels.len();
    let area = |slice: &[u16]| slice.iter().filter(|&&l| l > 0).count();
    let slices = labels.chunks_exact(width * height);
    let z = slices.enumerate().max_by_key(|(_, slice)| area(slice)).map_or(0, |(z, _)| z);
    let pixels = &pixels[z * width * height * channels..][..width * height * channels];
    let labels = &labels[z * width * height..][..width * height];
    draw(pixels, labels, width, height, boxes, path)
}

fn draw(
    pixels: &[u8],
    labels: &[u16],
    width: usize,
    height: usize,
    boxes: &[PixelBox],
    path: &Path,
) -> anyhow::Result<()> {
    let mut overlay = Overlay::new(pixels, width, height)?;
    overlay.masks(labels);
    for (b, label) in boxes.iter().zip(1..) {
        overlay.frame(b, label);
    }
    overlay.save(path)
}

/// Time spent on all that comes before masks.
pub(crate) fn network(stats: Stats) -> Duration {
    stats.preprocess + stats.encode + stats.cache + stats.decode
}

pub(crate) fn stages(before: Stats, after: Stats, read: Duration, postprocess: Duration, write: Duration) -> Stages {
    Stages {
        read: ms(read),
        preprocess: ms(after.preprocess - before.preprocess),
        encode: ms(after.encode - before.encode),
        cache: ms(after.cache - before.cache),
        decode: ms(after.decode - before.decode),
        postprocess: ms(postprocess),
        write: ms(write),
    }
}

/// A report for people.
pub(crate) fn print(report: &Report) {
    let shape: Vec<String> = report.shape.iter().map(usize::to_string).collect();
    outln!("{} ({})", report.input, shape.join("x"));
    if report.intake != Intake::new(NumberType::U8) {
        outln!("  values {}", report.intake);
    }
    for applied in &report.applied {
        outln!("  {applied}");
    }
    let unit = if report.shape.len() == 3 { "voxels" } else { "px" };
    if report.own_labels {
        outln!("  numbered as its truth numbers them");
    }
    const SHOWN: usize = 12;
    for o in report.objects.iter().take(SHOWN) {
        let empty = if o.size == 0 { "   (empty: nothing found, or hidden by a later object)" } else { "" };
        let score = o.score.map_or(String::new(), |score| format!("   score {score:.3}"));
        let name = o.name.as_ref().map_or(String::new(), |name| format!(" '{name}'"));
        outln!(
            "  object {:<3}{name} {:>9} {unit}   predicted IoU {:.3}{score}{empty}",
            o.label,
            o.size,
            o.predicted_iou
        );
        if let Some(measures) = &o.measures {
            measures.print();
        }
    }
    if report.objects.len() > SHOWN {
        outln!("  ... {} more objects", report.objects.len() - SHOWN);
    }
    let m = &report.ms;
    let cache = match report.cache_hits {
        0 => String::new(),
        hits => format!(", cache {:.0} (x{hits})", m.cache),
    };
    outln!(
        "  read {:.0} ms, preprocess {:.1}, encode {:.0} (x{}){cache}, decode {:.0}, postprocess {:.1}, write {:.0}",
        m.read,
        m.preprocess,
        m.encode,
        report.encodes,
        m.decode,
        m.postprocess,
        m.write
    );
    for path in &report.written {
        outln!("  -> {}", path.display());
    }
}
