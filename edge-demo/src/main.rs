//! The command `umedsam`: segments medical images from boxes, scores segmentations, shows what a model file holds.

#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr, reason = "umedsam::terminal prints")]

mod batch;
mod cache;
mod case;
mod compare;
mod convert;
mod eval;
mod formats;
mod html;
mod info;
mod input;
mod interrupt;
mod labelled;
mod mask;
mod masks;
mod montage;
mod output;
mod pairing;
mod pictures;
mod plane;
mod prompts;
mod report;
mod samples;
mod scans;
mod segment;
mod serve;
mod table;
mod uncertainty;
mod volume;

use std::path::PathBuf;
use std::process::ExitCode;

use cache::CacheArguments;
use clap::{Args, Parser, Subcommand, ValueEnum};
use mask::MaskArguments;
use prompts::PromptArguments;
use umedsam::volume::Start;
use umedsam::{VolumeOptions, ZoomOptions, errln, terminal};
use uncertainty::UncertaintyArguments;

/// Segment medical images from boxes, on the CPU, offline. Without a command: segment the two built-in samples.
#[derive(Debug, Parser)]
#[command(name = "umedsam", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Segment pictures (PNG, JPEG, TIFF, with --box), DICOM and NIfTI (--box, or for volumes --box3d, or
    /// --slice with --box), and NPZ cases
    /// (2D or 3D, with their own boxes).
    ///
    /// Ctrl-C ends the work after the slice in hand: the results of inputs that are done stay, each of them whole, and of the
    /// input in hand nothing is written; the exit status is 130. A second Ctrl-C ends it at once.
    Segment(Box<SegmentArguments>),
    /// Make NPZ cases for training and evaluation of images and label maps: DICOM, NIfTI, pictures.
    Convert(Box<convert::ConvertArguments>),
    /// Score segmentations against the truth in NPZ cases or label maps: DSC and NSD by modality.
    Eval(EvalArguments),
    /// Compare the scores of two models on the same cases: mean differences with 95 % intervals.
    Compare(CompareArguments),
    /// Serve a page to segment on, for this machine's browser, and 3D Slicer's and napari's nnInteractive extensions.
    Serve(serve::ServeArguments),
    /// Show what a model bundle holds.
    Info {
        /// The bundle; the built-in model if left out.
        file: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// How to run a model.
#[derive(Args, Clone, Debug)]
struct ModelArguments {
    /// Model bundle; the built-in model if left out.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Precision to compute in: f32, f16, bf16 or int8; if left out int8 for a model in int8, f32 for any other.
    #[arg(long, value_name = "P")]
    precision: Option<umedsam::Precision>,
    /// Threads; as many as the machine has cores if left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

#[derive(Args, Debug)]
struct SegmentArguments {
    /// Pictures, NPZ cases, NIfTI files, or folders of them; DICOM files, or a folder or ZIP archive of a series.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    prompts: PromptArguments,
    #[command(flatten)]
    scan: scans::ScanArguments,
    #[command(flatten)]
    format: formats::FormatArguments,
    #[command(flatten)]
    batch: batch::BatchArguments,
    /// Folder for the results; made if absent.
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// Also write a PNG of each image with masks and boxes drawn in; of a volume slices through each object, with their
    /// numbers.
    #[arg(long)]
    overlay: bool,
    /// Replace files that are no results of this command, inputs among them.
    #[arg(long)]
    force: bool,
    /// Print one JSON object for each input instead of text; of an input that failed one with `error`.
    #[arg(long)]
    json: bool,
    /// How boxes are carried from slice to slice of a volume.
    #[arg(long, value_name = "HOW", default_value_t, conflicts_with = "slice")]
    propagation: Propagation,
    #[command(flatten)]
    memory: MemoryArguments,
    #[command(flatten)]
    cache: CacheArguments,
    #[command(flatten)]
    zoom: ZoomArguments,
    #[command(flatten)]
    uncertainty: UncertaintyArguments,
    #[command(flatten)]
    mask: MaskArguments,
    #[command(flatten)]
    model: ModelArguments,
}

impl SegmentArguments {
    /// How volumes are segmented.
    fn volume(&self) -> VolumeOptions {
        match self.propagation {
            Propagation::Surest => self.memory.volume(),
            Propagation::Middle => self.memory.volume().with_start(Start::Middle),
            Propagation::Upstream => self.memory.volume().with_upstream_rounding(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Propagation {
    /// From the one of five slices of the box in which the network is surest, and cut to the object's own box
    #[default]
    Surest,
    /// From the middle slice, and cut to the object's own box
    #[value(alias = "cut")]
    Middle,
    /// From the middle slice, as the published LiteMedSAM does it, to the voxel
    Upstream,
}

impl std::fmt::Display for Propagation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Surest => "surest",
            Self::Middle => "middle",
            Self::Upstream => "upstream",
        })
    }
}

/// How much memory an input may take.
#[derive(Args, Clone, Copy, Debug)]
struct MemoryArguments {
    /// Memory that reading one input may take, in MiB: its values as they are stored, and their copy in 8 bits.
    #[arg(long = "memory", value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    mib: u32,
    /// Memory for slices of a volume that are passed upwards by one object and downwards by another, in MiB, 4 a slice;
    /// a slice that finds no room is encoded twice.
    #[arg(long = "slice-memory", value_name = "MIB", default_value_t = (VolumeOptions::new().cache_bytes >> 20) as u32,
        conflicts_with = "slice")]
    slice_mib: u32,
}

impl MemoryArguments {
    /// Bytes that reading an input may take.
    fn bytes(self) -> u64 {
        u64::from(self.mib) << 20
    }

    fn volume(self) -> VolumeOptions {
        let bytes = u64::from(self.slice_mib) << 20;
        VolumeOptions::new().with_cache_bytes(usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}

/// Whether to look closer at small objects.
#[derive(Args, Clone, Debug)]
struct ZoomArguments {
    /// Crop around small boxes and encode each crop: more work for finer masks. For images; volumes are not zoomed.
    #[arg(long, value_name = "WHEN", default_value_t)]
    zoom: Zoom,
    /// What a crop shows on each side of its box, 0 to 4 lengths of the box's longer side.
    #[arg(long, value_name = "M", default_value_t = ZoomOptions::new().margin, requires = "zoom",
        value_parser = |text: &str| input::parse_within(text, 0.0..=4.0), allow_hyphen_values = true)]
    zoom_margin: f64,
    /// A box is small if its longer side is at most this share, 0 to 1, of the image's longer side.
    #[arg(long, value_name = "S", default_value_t = ZoomOptions::new().max_share, requires = "zoom",
        value_parser = |text: &str| input::parse_within(text, 0.0..=1.0), allow_hyphen_values = true)]
    zoom_share: f64,
    /// Most crops of an image, each of which takes as long as the whole of it; the others stay in the whole image.
    #[arg(long, value_name = "N", default_value_t = ZoomOptions::new().max_windows, requires = "zoom")]
    zoom_crops: usize,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Zoom {
    /// Small boxes are zoomed into
    Auto,
    /// An image is encoded once, as a whole
    #[default]
    Off,
}

impl std::fmt::Display for Zoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Off => "off",
        })
    }
}

impl Default for ZoomArguments {
    fn default() -> Self {
        let ZoomOptions { margin, max_share, max_windows, .. } = ZoomOptions::new();
        Self { zoom: Zoom::default(), zoom_margin: margin, zoom_share: max_share, zoom_crops: max_windows }
    }
}

impl ZoomArguments {
    /// How to zoom, or nothing.
    fn options(&self) -> Option<ZoomOptions> {
        match self.zoom {
            Zoom::Auto => Some(
                ZoomOptions::new()
                    .with_margin(self.zoom_margin)
                    .with_max_share(self.zoom_share)
                    .with_max_windows(self.zoom_crops),
            ),
            Zoom::Off => None,
        }
    }
}

#[derive(Args, Debug)]
struct EvalArguments {
    /// Folder of NPZ cases with `gts`, or of label maps (NIfTI, DICOM segmentations, gray PNG), or one of them.
    cases: PathBuf,
    /// Folder of segmentations of the same names, NPZ or label maps, or the one of the one case. Where cases and
    /// segmentations tell their place in the patient, they are compared there.
    segs: PathBuf,
    /// The labels that count where the truth is a label map, apart by commas; 5=2 makes 2 of its label 5.
    #[arg(long, value_name = "L[=M],...", default_value = "all", hide_default_value = true,
        value_parser = convert::parse_labels)]
    labels: umedsam_demo::labels::Selection,
    /// Also write one line for each case.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Replace a file that is no table of this command.
    #[arg(long)]
    force: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct CompareArguments {
    /// Reports of the model to compare with, as `eval --json` prints them; of several runs the mean counts.
    #[arg(long, required = true, num_args = 1.., value_name = "REPORT")]
    base: Vec<PathBuf>,
    /// Reports of the other model.
    #[arg(long, required = true, num_args = 1.., value_name = "REPORT")]
    other: Vec<PathBuf>,
    /// A row for each source, the third part of the cases' names, instead of each modality.
    #[arg(long)]
    by_source: bool,
    /// Compare the cases that all reports have, where some lack others.
    #[arg(long)]
    common: bool,
    /// Seed of the bootstrap.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        None => samples::run(),
        Some(Command::Segment(arguments)) => segment::run(&arguments),
        Some(Command::Convert(arguments)) => convert::run(&arguments),
        Some(Command::Eval(arguments)) => eval::run(&arguments),
        Some(Command::Compare(arguments)) => compare::run(&arguments),
        Some(Command::Serve(arguments)) => serve::run(&arguments),
        Some(Command::Info { file, json }) => info::run(file.as_deref(), json),
    };
    match result {
        Ok(()) if terminal::lost() => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("umedsam: {}", terminal::chain(error.as_ref()));
            if error.is::<interrupt::Interrupted>() {
                return interrupt::Interrupted::status().into();
            }
            ExitCode::FAILURE
        }
    }
}
