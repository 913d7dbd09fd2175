//! `umedsam convert`: images with label maps as cases for training and evaluation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use umedsam::files::same;
use umedsam::intensity::{Intake, NumberType};
use umedsam::metrics::group;
use umedsam::npz::{Boxes, NewCase, Shape, is_case, write_case};
use umedsam::{PixelBox, VolumeSize, VoxelBox, errln, outln, terminal};
use umedsam_demo::labels::{Grid, LabelMap, Orientation, Selection};
use umedsam_demo::read::{self, ReadOptions, read};
use umedsam_demo::scan::{Affine, Applied, Origin};

use crate::batch::BatchArguments;
use crate::formats::series;
use crate::input::packed;
use crate::labelled;
use crate::pairing::{Maps, bare, stem};
use crate::plane::page;
use crate::scans::ScanArguments;
use umedsam_demo::kind::Kind;
use umedsam_demo::picture::Picture;

#[derive(Args, Debug)]
pub(crate) struct ConvertArguments {
    /// An image: a picture, a NIfTI or DICOM file, a folder or ZIP archive of a DICOM series. Or a folder of such, with a
    /// folder in it for each DICOM series.
    images: PathBuf,
    /// Its label map: NIfTI, a DICOM segmentation, a gray or indexed PNG or TIFF. Or a folder of label maps, which have the
    /// names of the images, with `.seg`, `_mask`, `_gt` or the like behind them or not.
    maps: PathBuf,
    /// Folder for the cases, `3DBox_MODALITY_NAME.npz` or `2DBox_MODALITY_NAME.npz`; made if absent.
    #[arg(long, value_name = "DIR", default_value = "cases")]
    out: PathBuf,
    /// The labels that are kept, apart by commas, all if left out; 5=2 makes 2 of label 5.
    #[arg(long, value_name = "L[=M],...", default_value = "all", hide_default_value = true,
        value_parser = parse_labels)]
    labels: Selection,
    /// Number the labels of each case 1, 2, 3 and so on, in their order, without those that are not there.
    #[arg(long)]
    renumber: bool,
    /// Pass over images without a label, which are an error otherwise.
    #[arg(long)]
    skip_empty: bool,
    /// The modality, which is the second part of the cases' names and decides on the window; if left out that of DICOM.
    #[arg(long, value_name = "M", value_parser = parse_modality)]
    modality: Option<String>,
    /// Turn volumes so that x, y and z point to these sides of the patient, R or L, A or P and S or I, such as LPS; if left
    /// out they stay as they are stored.
    #[arg(long, value_name = "XYZ")]
    orient: Option<Orientation>,
    #[command(flatten)]
    scan: ScanArguments,
    #[command(flatten)]
    batch: BatchArguments,
    /// Memory that an image may take, and its label map, in MiB.
    #[arg(long = "memory", value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    mib: u32,
    /// Replace files that are no results of this command.
    #[arg(long)]
    force: bool,
    /// Print one JSON object for each image instead of text; of one that failed with `error`.
    #[arg(long)]
    json: bool,
}

impl ConvertArguments {
    /// Whether something is asked for that pictures do not have.
    fn is_of_scans(&self) -> bool {
        self.scan.is_given() || self.orient.is_some()
    }
}

pub(crate) fn parse_labels(text: &str) -> Result<Selection, String> {
    if text == "all" { Ok(Selection::all()) } else { text.parse() }
}

fn parse_modality(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        true => Ok(text.into()),
        false => Err(format!("'{text}': letters, digits and hyphens expected")),
    }
}

/// What was made of one image.
#[derive(Debug, Serialize)]
struct Report {
    input: String,
    labels: String,
    /// Height and width, or depth, height and width.
    shape: Vec<usize>,
    /// Size of a voxel along x, y and z in mm.
    spacing: Option<[f64; 3]>,
    /// The sides of the patient that x, y and z point to.
    axes: Option<String>,
    /// What was done to the values.
    intake: Intake,
    /// What else was done to the image, and to the label map.
    applied: Vec<Applied>,
    applied_to_labels: Vec<Applied>,
    objects: Vec<Object>,
    /// The case; none of an image without a label.
    written: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Object {
    label: u16,
    /// The name that it has in the label map.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Labels of the label map that became this one, which are there.
    from: BTreeSet<u16>,
    size: usize,
}

/// Converts every image; one that fails is reported and does not stop the others.
pub(crate) fn run(arguments: &ConvertArguments) -> anyhow::Result<()> {
    let (pairs, failures) = pairs(&arguments.images, &arguments.maps)?;
    let mut stems: BTreeMap<String, &Path> = BTreeMap::new();
    for (image, _) in &pairs {
        if let Some(other) = stems.insert(stem(image), image) {
            bail!("{} and {} would become one case", other.display(), image.display());
        }
    }
    if arguments.is_of_scans() && !pairs.is_empty() && pairs.iter().all(|(image, _)| is_picture(image)) {
        bail!("--window, --series, --gaps and --orient are for DICOM, NIfTI and the like, and no image is any of them");
    }
    fs::create_dir_all(&arguments.out).with_context(|| format!("{}: make folder", arguments.out.display()))?;
    let (mut pairs, mut failures) = (arguments.batch.share(pairs), arguments.batch.share(failures));
    let before = pairs.len();
    pairs.retain(|(image, map)| {
        let made = made_before(image, &arguments.out);
        !arguments.batch.is_done(&[image, map], made.as_deref(), is_case)
    });
    if pairs.len() < before {
        errln!("umedsam: {} of {before} images are done already", before - pairs.len());
    }
    let count = pairs.len() + failures.len();
    let (mut seen, mut empty) = (BTreeSet::new(), 0);
    for (image, map) in &pairs {
        match convert(image, map, arguments) {
            Ok(report) => {
                seen.extend(report.objects.iter().flat_map(|object| object.from.iter().copied()));
                empty += usize::from(report.written.is_none());
                if arguments.json {
                    outln!("{}", serde_json::json!(report));
                } else {
                    print(&report);
                }
            }
            Err(error) => failures.push((image.clone(), terminal::chain(error.as_ref()))),
        }
    }
    for (image, error) in &failures {
        if arguments.json {
            outln!("{}", serde_json::json!({ "input": image.display().to_string(), "error": error }));
        }
        errln!("umedsam: {error}");
    }
    if !failures.is_empty() {
        bail!("{} of {count} images and label maps failed", failures.len());
    }
    // What others do, or did, may have them.
    if !arguments.batch.is_whole() {
        return Ok(());
    }
    if let Some(label) = arguments.labels.asked().find(|label| !seen.contains(label)) {
        bail!("label {label} is in no label map");
    }
    if empty == count {
        bail!("no image has a label");
    }
    Ok(())
}

/// Images with their label maps.
type Pairs = Vec<(PathBuf, PathBuf)>;
/// Files and what is wrong with them.
type Failures = Vec<(PathBuf, String)>;

/// Images with their label maps, and what has no counterpart.
fn pairs(images: &Path, maps: &Path) -> anyhow::Result<(Pairs, Failures)> {
    for path in [images, maps] {
        if !path.exists() {
            bail!("{}: no such file or folder", path.display());
        }
    }
    // Images would be taken for their own label maps.
    if same(images, maps) {
        bail!("{}: images and label maps are to be apart, in two folders or files", images.display());
    }
    if !maps.is_dir() || images.is_dir() && has_slices(images)? {
        return Ok((vec![(images.into(), maps.into())], Vec::new()));
    }
    if !images.is_dir() {
        bail!("{}: a folder of label maps is for a folder of images; of one image, name the file", maps.display());
    }
    let (mut maps, mut pairs, mut failures) = (Maps::list(maps)?, Vec::new(), Vec::new());
    for image in entries(images)? {
        let hidden = image.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let known = Kind::by_name(&image).or_else(|| packed(&image));
        if hidden || !(matches!(known, Some(Kind::Picture | Kind::Scan)) || read::holds_dicom(&image)) {
            continue;
        }
        match maps.of(&image) {
            Ok(map) => pairs.push((image, map)),
            Err(error) => failures.push((image, error.to_string())),
        }
    }
    if pairs.is_empty() && failures.is_empty() {
        bail!("{}: no picture, NIfTI or DICOM file or series in this folder", images.display());
    }
    failures.extend(maps.unused().map(|map| (map.clone(), format!("{}: no image of this name", map.display()))));
    Ok((pairs, failures))
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).and_then(|entries| entries.map(|e| Ok(e?.path())).collect::<Result<Vec<_>, _>>());
    let mut paths = entries.with_context(|| folder.display().to_string())?;
    paths.sort();
    Ok(paths)
}

/// Whether a folder is a DICOM series: files of it are DICOM.
fn has_slices(folder: &Path) -> anyhow::Result<bool> {
    Ok(entries(folder)?.iter().any(|path| path.is_file() && read::holds_dicom(path)))
}

/// An image in 8 bits.
struct Image {
    pixels: Vec<u8>,
    channels: usize,
    grid: Grid,
    origin: Option<Origin>,
    modality: Option<String>,
    intake: Intake,
    applied: Vec<Applied>,
}

/// Whether it is read as a picture, of which one page of several is taken.
fn is_picture(path: &Path) -> bool {
    let kind = Kind::by_name(path).filter(|_| path.is_file()).map(|kind| kind.with_boxes(path, true));
    kind == Some(Kind::Picture)
}

fn open(path: &Path, arguments: &ConvertArguments) -> anyhow::Result<Image> {
    let memory = u64::from(arguments.mib) << 20;
    let modality = arguments.modality.clone();
    if is_picture(path) {
        let picture = Picture::read(path, arguments.scan.frame, memory)?;
        let (height, width, channels) = picture.shape();
        let (intake, grid) = (picture.intake().clone(), Grid::new(VolumeSize { depth: 1, height, width }, None));
        let pixels = picture.into_pixels();
        let mut applied = Vec::new();
        if arguments.is_of_scans() {
            let note = "--window, --series, --gaps and --orient are for DICOM, NIfTI and the like: not used";
            applied.push(Applied::Note(note.into()));
        }
        applied.extend(arguments.scan.frame.map(|index| page(path, index)));
        return Ok(Image { pixels, channels, grid, origin: None, modality, intake, applied });
    }
    let mut scan = read(path, &arguments.scan.options(memory))?;
    scan.modality = modality.or(scan.modality);
    let shown = scan.to_8bit(arguments.scan.window).with_context(|| path.display().to_string())?;
    let (grid, applied) = (Grid::from(&scan), [scan.applied, shown.applied].concat());
    let (channels, origin, intake) = (scan.channels, Some(scan.origin), shown.intake);
    Ok(Image { pixels: shown.pixels, channels, grid, origin, modality: scan.modality, intake, applied })
}

fn convert(path: &Path, map: &Path, arguments: &ConvertArguments) -> anyhow::Result<Report> {
    let named = || path.display().to_string();
    let mut image = open(path, arguments)?;
    let volume = image.grid.size.depth > 1;
    if let Some(orientation) = arguments.orient.filter(|_| volume) {
        let turned = image.grid.oriented(orientation);
        let turned = turned.with_context(|| format!("{}: no place in the patient that --orient needs", named()))?;
        image.pixels = image.grid.same(&turned)?.arranged(&image.pixels, image.channels)?;
        let before = image.grid.affine.map(|affine| affine.axes()).unwrap_or_default();
        image.applied.push(Applied::Note(format!("axes that point to {before} turned to {orientation}")));
        image.grid = turned;
    }
    let labels = labelled::read(map, &ReadOptions::new().with_memory(u64::from(arguments.mib) << 20))?;
    let mut found = labels.on(&image.grid, series(image.origin.as_ref()), &arguments.labels)?;
    let objects = objects(&mut found, arguments.renumber);
    let modality = image.modality.as_deref().map(modality);
    let written = if objects.is_empty() {
        if !arguments.skip_empty {
            bail!("{}: none of the labels that are asked for is there (--skip-empty passes over such)", map.display());
        }
        None
    } else {
        let output = output(path, modality.as_deref(), volume, arguments)?;
        write(&output, &image, &found, volume)?;
        Some(output)
    };
    let VolumeSize { depth, height, width } = image.grid.size;
    Ok(Report {
        input: named(),
        labels: map.display().to_string(),
        shape: if volume { vec![depth, height, width] } else { vec![height, width] },
        spacing: image.grid.spacing,
        axes: image.grid.affine.filter(|_| volume).map(|affine: Affine| affine.axes()),
        intake: image.intake,
        applied: image.applied,
        applied_to_labels: found.applied,
        objects,
        written,
    })
}

/// The labels that are there, numbered anew if that is asked for.
fn objects(map: &mut LabelMap, renumber: bool) -> Vec<Object> {
    let mut sizes = vec![0usize; 1 << 16];
    map.labels.iter().for_each(|&label| sizes[usize::from(label)] += 1);
    let mut numbers = vec![0u16; 1 << 16];
    let mut objects = Vec::with_capacity(map.from.len());
    for ((&label, from), number) in map.from.iter().zip(1..) {
        let (name, from, size) = (map.names.get(&label).cloned(), from.clone(), sizes[usize::from(label)]);
        numbers[usize::from(label)] = number;
        objects.push(Object { label: if renumber { number } else { label }, name, from, size });
    }
    if renumber {
        map.labels.iter_mut().for_each(|label| *label = numbers[usize::from(*label)]);
    }
    objects
}

/// The challenge's name of a modality that DICOM has a code for.
fn modality(code: &str) -> String {
    match code {
        "PT" => "PET",
        "CR" | "DX" | "RG" | "XA" | "RF" => "XRay",
        "MG" => "Mammography",
        "ES" => "Endoscopy",
        "SM" | "GM" => "Microscopy",
        other => other,
    }
    .chars()
    .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
    .collect()
}

/// The case that was made of an image before, if there is one.
fn made_before(image: &Path, folder: &Path) -> Option<PathBuf> {
    let own = stem(image);
    let named = |path: &PathBuf| {
        let stem = stem(path);
        stem == own || bare(&stem) == own
    };
    let mut found = entries(folder).ok()?.into_iter().filter(|path| named(path) && is_case(path));
    found.next().filter(|_| found.next().is_none())
}

/// The case's file, in whose place there is nothing, or a case that was made before.
fn output(path: &Path, modality: Option<&str>, volume: bool, arguments: &ConvertArguments) -> anyhow::Result<PathBuf> {
    let (stem, dimensions) = (stem(path), if volume { "3D" } else { "2D" });
    let name = match (group(&stem), modality) {
        (("other", "-"), Some(modality)) => format!("{dimensions}Box_{modality}_{stem}.npz"),
        _ => format!("{stem}.npz"),
    };
    let output = arguments.out.join(name);
    if output.symlink_metadata().is_ok() && !is_case(&output) && !arguments.force {
        bail!("{}: is there, and is no case of umedsam convert; --force replaces it", output.display());
    }
    Ok(output)
}

fn write(output: &Path, image: &Image, map: &LabelMap, volume: bool) -> anyhow::Result<()> {
    let VolumeSize { depth, height, width } = image.grid.size;
    let case = NewCase {
        pixels: &image.pixels,
        shape: Shape { depth: volume.then_some(depth), height, width, channels: image.channels },
        labels: &map.labels,
        boxes: &boxes(map, volume),
        spacing: image.grid.spacing,
        affine: image.grid.affine.map(|affine| affine.0),
    };
    Ok(write_case(output, &case)?)
}

/// The box around each label, in the order of the labels.
fn boxes(map: &LabelMap, volume: bool) -> Boxes {
    let VolumeSize { height, width, .. } = map.grid.size;
    let mut extents: BTreeMap<u16, [[usize; 2]; 3]> = BTreeMap::new();
    for (row, labels) in map.labels.chunks_exact(width).enumerate() {
        let mut x = 0;
        for run in labels.chunk_by(|a, b| a == b) {
            if run[0] > 0 {
                let at = [[x, x + run.len() - 1], [row % height; 2], [row / height; 2]];
                let extent = extents.entry(run[0]).or_insert(at);
                for ([low, high], [from, to]) in extent.iter_mut().zip(at) {
                    (*low, *high) = ((*low).min(from), (*high).max(to));
                }
            }
            x += run.len();
        }
    }
    let corners = extents.values().map(|extent| extent.map(|side| side.map(|v| v as f64)));
    if volume {
        let solid = |[[x0, x1], [y0, y1], [z0, z1]]: [[f64; 2]; 3]| VoxelBox::new(x0, y0, z0, x1, y1, z1);
        Boxes::Volume(corners.map(solid).collect())
    } else {
        let flat = |[[x0, x1], [y0, y1], _]: [[f64; 2]; 3]| PixelBox::new(x0, y0, x1, y1);
        Boxes::Plane(corners.map(flat).collect())
    }
}

/// A report for people.
fn print(report: &Report) {
    let shape: Vec<String> = report.shape.iter().map(usize::to_string).collect();
    let axes = report.axes.as_ref().map_or(String::new(), |axes| format!(", axes to {axes}"));
    outln!("{} ({}{axes})", report.input, shape.join("x"));
    if report.intake != Intake::new(NumberType::U8) {
        outln!("  values {}", report.intake);
    }
    report.applied.iter().for_each(|applied| outln!("  {applied}"));
    report.applied_to_labels.iter().for_each(|applied| outln!("  labels: {applied}"));
    let unit = if report.shape.len() == 3 { "voxels" } else { "px" };
    for Object { label, name, from, size } in &report.objects {
        let name = name.as_ref().map_or(String::new(), |name| format!(" '{name}'"));
        let from: Vec<String> = from.iter().map(u16::to_string).collect();
        let from = if from == [label.to_string()] { String::new() } else { format!("   from {}", from.join(", ")) };
        outln!("  label {label:<3}{name} {size:>9} {unit}{from}");
    }
    match &report.written {
        Some(path) => outln!("  -> {}", path.display()),
        None => outln!("  passed over: none of the labels is there"),
    }
}
