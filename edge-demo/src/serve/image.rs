//! Images that clients send, or that the command line names: reading them, and writing label maps for them.

use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;
use clap::ValueEnum;
use serde_json::json;
use umedsam::intensity::{Intake, Step};
use umedsam::npz::{Boxes, Case, Limits as NpzLimits, NpzError, read_spacing};
use umedsam::{PixelBox, VolumeSize, VoxelBox, errln, terminal};
use umedsam_demo::labels::Grid;
use umedsam_demo::objects::{Object, check_name};
use umedsam_demo::read::{ReadOptions, read};
use umedsam_demo::scan::{Origin, Scan, Window};

use super::bits::each_set;
use super::held::{Current, Display, Shared, Shown};
use super::limits::Room;
use super::planes::Plane;
use super::pool::Detached;
use super::refusal::Refusal;
use crate::formats::{Format, Found};
use crate::input::Kind;
use crate::output::Outputs;
use crate::overlay::draw;
use crate::picture::Picture;

/// An image or a volume of a client.
pub(super) struct Image {
    pub(super) name: String,
    pub(super) size: VolumeSize,
    pub(super) channels: usize,
    pub(super) display: Display,
    pub(super) current: Current,
    source: Source,
    spacing: Option<[f64; 3]>,
    /// The boxes that it brings.
    boxes: Vec<VoxelBox>,
    window: Mutex<Windowed>,
    /// Encodes ahead, the newest request's.
    pub(super) ahead: Mutex<Vec<Detached>>,
    _room: Room,
}

/// What the network's 8 bits were made by.
#[derive(Clone, Debug, Default)]
struct Windowed {
    asked: String,
    /// Values that became black and white.
    range: Option<[f64; 2]>,
    notes: Vec<String>,
}

/// The kind of an image, with what a writer of labels needs.
enum Source {
    Picture,
    Npz(Vec<usize>),
    Scan(Box<Scan>),
}

/// What is written of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Labels(Format),
    /// An image with the objects drawn in.
    Overlay,
}

impl Output {
    pub(super) fn named(text: &str) -> Option<Self> {
        match text {
            "overlay" => Some(Self::Overlay),
            _ => Format::from_str(text, false).ok().map(Self::Labels),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Labels(format) => {
                format.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
            }
            Self::Overlay => "overlay".into(),
        }
    }

    /// The ending of its files, and their type.
    pub(super) const fn ending(self) -> (&'static str, &'static str) {
        match self {
            Self::Overlay => (".overlay.png", "image/png"),
            Self::Labels(format) => (
                format.ending(),
                match format {
                    Format::Png => "image/png",
                    Format::Npz => "application/zip",
                    Format::Nifti => "application/gzip",
                    Format::Seg => "application/dicom",
                    Format::Nrrd => "application/octet-stream",
                    Format::Geojson => "application/geo+json",
                    Format::Coco => "application/json",
                },
            ),
        }
    }
}

/// What is to be read of a file, and within which memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    pub(super) window: Option<String>,
    pub(super) series: Option<String>,
    pub(super) frame: Option<usize>,
    pub(super) memory: u64,
}

impl Choice {
    fn window(&self) -> Result<Window, Refusal> {
        self.window.as_deref().map_or(Ok(Window::Auto), |text| text.parse().map_err(Refusal::bad))
    }
}

/// Text of an error, with the client's name of the file instead of where it lies.
fn unreadable(name: &str, problem: impl std::fmt::Display) -> Refusal {
    Refusal::bad(format!("{name}: {problem}"))
}

impl Image {
    /// Reads the bytes of a file that a client sent. They pass through a file of `folder` where a reader needs one.
    pub(super) fn of_bytes(
        name: &str,
        bytes: &[u8],
        folder: &Path,
        choice: &Choice,
        shared: &Shared,
    ) -> Result<Self, Refusal> {
        if image::guess_format(bytes).is_ok() {
            let picture = Picture::of(Cursor::new(bytes), choice.frame, choice.memory);
            return Self::picture(name, picture.map_err(|e| unreadable(name, terminal::chain(e.as_ref())))?, shared);
        }
        let ending = if name.to_ascii_lowercase().ends_with(".npz") { ".npz" } else { "" };
        let written = tempfile::Builder::new().suffix(ending).tempfile_in(folder).and_then(|mut file| {
            file.write_all(bytes)?;
            file.flush()?;
            Ok(file.into_temp_path())
        });
        let path = written.map_err(|error| {
            errln!("umedsam: {name}: {error}");
            Refusal::new(StatusCode::INSUFFICIENT_STORAGE, format!("{name}: there was no room for a temporary file"))
        })?;
        Self::of_file(name, &path, choice, shared)
    }

    /// Reads a file, or a folder of DICOM files.
    pub(super) fn of_file(name: &str, path: &Path, choice: &Choice, shared: &Shared) -> Result<Self, Refusal> {
        match Kind::of(path) {
            Some(Kind::Npz) => Self::case(name, path, choice, shared),
            Some(Kind::Picture) => {
                let picture = std::fs::read(path).map_err(|e| unreadable(name, e))?;
                let picture = Picture::of(Cursor::new(picture), choice.frame, choice.memory);
                Self::picture(name, picture.map_err(|e| unreadable(name, terminal::chain(e.as_ref())))?, shared)
            }
            Some(Kind::Scan) => Self::scan(name, path, choice, shared),
            None if path.is_dir() => Self::scan(name, path, choice, shared),
            None => {
                Err(unreadable(name, "NPZ, PNG, JPEG, TIFF, NIfTI and DICOM files are read, and ZIP archives of DICOM"))
            }
        }
    }

    fn picture(name: &str, picture: Picture, shared: &Shared) -> Result<Self, Refusal> {
        let view = picture.view()?;
        let (channels, size) =
            (view.channel_count(), VolumeSize { depth: 1, height: view.height(), width: view.width() });
        let windowed = Windowed { range: Some([0.0, 255.0]), ..Windowed::new("", picture.intake(), Vec::new()) };
        Self::new(name, size, channels, picture.into_pixels(), Source::Picture, None, Vec::new(), windowed, shared)
    }

    fn case(name: &str, path: &Path, choice: &Choice, shared: &Shared) -> Result<Self, Refusal> {
        let limits = NpzLimits::new().with_peak_bytes(choice.memory);
        let fail = |error: NpzError| {
            let array = error.array.map(|array| format!("array '{array}': ")).unwrap_or_default();
            unreadable(name, format!("{array}{}", error.problem))
        };
        let case = Case::read(path, &limits).map_err(fail)?;
        let spacing = read_spacing(path, &limits).map_err(fail)?;
        let boxes = match &case.boxes {
            Boxes::Plane(boxes) => boxes.iter().map(|b| VoxelBox::new(b.x0, b.y0, 0.0, b.x1, b.y1, 0.0)).collect(),
            Boxes::Volume(boxes) => boxes.clone(),
        };
        let (size, channels, shape) = (case.shape.volume(), case.shape.channels, case.shape.labels());
        let windowed = Windowed { range: Some([0.0, 255.0]), ..Windowed::new("", &case.intake, Vec::new()) };
        Self::new(name, size, channels, case.pixels, Source::Npz(shape), spacing, boxes, windowed, shared)
    }

    fn scan(name: &str, path: &Path, choice: &Choice, shared: &Shared) -> Result<Self, Refusal> {
        let options = ReadOptions::new().with_memory(choice.memory).with_frame(choice.frame);
        let options = options.with_series(choice.series.clone());
        let scan = read(path, &options).map_err(|error| unreadable(name, error.problem))?;
        let (pixels, windowed) = windowed(&scan, choice.window()?, choice.window.as_deref())?;
        let (size, channels, spacing) = (scan.size, scan.channels, scan.spacing);
        let source = Source::Scan(Box::new(scan));
        Self::new(name, size, channels, pixels, source, spacing, Vec::new(), windowed, shared)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields")]
    fn new(
        name: &str,
        size: VolumeSize,
        channels: usize,
        pixels: Vec<u8>,
        source: Source,
        spacing: Option<[f64; 3]>,
        boxes: Vec<VoxelBox>,
        window: Windowed,
        shared: &Shared,
    ) -> Result<Self, Refusal> {
        let (display, stored) = match &source {
            Source::Scan(scan) if channels == 1 => {
                (Display::of(&scan.values), scan.values.len() * scan.values.number_type().size())
            }
            _ => (Display::Bytes, 0),
        };
        let room = super::held::room(&shared.budget, (pixels.len() + stored) as u64)?;
        let current = Current::new(Shown::new(pixels, channels, size, shared));
        let (window, ahead) = (Mutex::new(window), Mutex::default());
        Ok(Self {
            name: name.into(),
            size,
            channels,
            display,
            current,
            source,
            spacing,
            boxes,
            window,
            ahead,
            _room: room,
        })
    }

    /// Gives it boxes that a person would draw.
    pub(super) fn with_boxes(self, boxes: &[PixelBox]) -> Self {
        let boxes = boxes.iter().map(|b| VoxelBox::new(b.x0, b.y0, 0.0, b.x1, b.y1, 0.0)).collect();
        Self { boxes, ..self }
    }

    /// Makes the network's 8 bits anew by another window.
    pub(super) fn show(&self, asked: &str) -> Result<(), Refusal> {
        let Source::Scan(scan) = &self.source else {
            return Err(Refusal::bad("a window is for DICOM and NIfTI; this image has 8 bits"));
        };
        let window: Window = asked.parse().map_err(Refusal::bad)?;
        let (pixels, windowed) = windowed(scan, window, Some(asked))?;
        self.current.set(self.current.get().anew(pixels));
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = windowed;
        Ok(())
    }

    /// What a client is told of it.
    pub(super) fn describe(&self, id: u64) -> serde_json::Value {
        let VolumeSize { depth, height, width } = self.size;
        let window = self.window.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let boxes = self.boxes.iter().map(|b| [b.plane.x0, b.plane.y0, b.z0, b.plane.x1, b.plane.y1, b.z1]);
        let (modality, axes) = match &self.source {
            Source::Scan(scan) => (scan.modality.clone(), scan.affine.map(|affine| affine.axes())),
            _ => (None, None),
        };
        json!({
            "image": id,
            "name": self.name,
            "shape": [depth, height, width],
            "channels": self.channels,
            "spacing": self.spacing,
            "modality": modality,
            "axes": axes,
            "stored": match self.display {
                Display::Bytes => json!({ "type": "u8", "slope": 1.0, "intercept": 0.0 }),
                Display::Scaled { slope, intercept } => json!({ "type": "i16", "slope": slope, "intercept": intercept }),
            },
            "inverted": matches!(&self.source, Source::Scan(scan) if scan.display.inverted),
            "window": window.asked,
            "range": window.range,
            "notes": window.notes,
            "boxes": boxes.collect::<Vec<_>>(),
            "formats": self.outputs().into_iter().map(Output::name).collect::<Vec<_>>(),
        })
    }

    /// A slice as the client sees it: 8 bits, or whole numbers of 16 bits, little endian.
    pub(super) fn slice(&self, plane: Plane) -> Vec<u8> {
        match (&self.display, &self.source) {
            (&Display::Scaled { slope, intercept }, Source::Scan(scan)) => {
                super::held::stored(&scan.values, plane, self.size, slope, intercept)
            }
            _ => plane.values(&self.current.get().pixels, self.size, self.channels),
        }
    }

    /// What can be written of it, its own format first.
    fn outputs(&self) -> Vec<Output> {
        let mut formats = match &self.source {
            Source::Picture => vec![Format::Png, Format::Npz],
            Source::Npz(_) => vec![Format::Npz, Format::Nifti, Format::Nrrd],
            Source::Scan(scan) => match scan.origin {
                Origin::Dicom(_) => vec![Format::Seg, Format::Nifti, Format::Nrrd, Format::Npz],
                _ => vec![Format::Nifti, Format::Nrrd, Format::Npz],
            },
        };
        let flat = self.size.depth == 1;
        if flat {
            formats.extend([Format::Geojson, Format::Coco]);
            formats.extend((!matches!(self.source, Source::Picture)).then_some(Format::Png));
        }
        formats.into_iter().map(Output::Labels).chain(flat.then_some(Output::Overlay)).collect()
    }

    /// A label map of the objects' runs in each slice along axis 0; later objects hide earlier ones.
    pub(super) fn labels(&self, objects: &[Vec<(usize, Vec<u32>)>]) -> Result<Vec<u16>, Refusal> {
        let VolumeSize { depth, height, width } = self.size;
        let area = height * width;
        let mut labels = umedsam::memory::zeros(depth * area)?;
        for (object, label) in objects.iter().zip(1u16..) {
            for (z, runs) in object {
                if *z >= depth {
                    return Err(Refusal::bad(format!("slice is {z}; 0 to {} expected", depth - 1)));
                }
                let slice = &mut labels[z * area..][..area];
                each_set(runs, area, |range| slice[range].fill(label))
                    .ok_or_else(|| Refusal::bad(format!("runs of slice {z} are longer than its {area} pixels")))?;
            }
        }
        Ok(labels)
    }

    /// The file of a label map, whose objects have these names.
    pub(super) fn write(
        &self,
        labels: &[u16],
        names: &[Option<String>],
        output: Output,
        folder: &Path,
    ) -> Result<Vec<u8>, Refusal> {
        if !self.outputs().contains(&output) {
            let outputs: Vec<String> = self.outputs().into_iter().map(Output::name).collect();
            return Err(Refusal::bad(format!("format is {}; {} expected", output.name(), outputs.join(" or "))));
        }
        let objects: Vec<Object> = names
            .iter()
            .zip(1..)
            .map(|(name, label)| {
                let mut object = Object::new(label);
                if let Some(name) = name {
                    check_name(name).map_err(Refusal::bad)?;
                    object.name = Some(name.clone());
                }
                Ok(object)
            })
            .collect::<Result<_, Refusal>>()?;
        // The error may name folders of this machine.
        let failed = |error: &(dyn std::error::Error + 'static)| {
            errln!("umedsam: {}{}: {}", self.name, output.ending().0, terminal::chain(error));
            Refusal::failed()
        };
        let folder = tempfile::tempdir_in(folder).map_err(|e| failed(&e))?;
        let path = folder.path().join(format!("labels{}", output.ending().0));
        let VolumeSize { depth, height, width } = self.size;
        let (scan, shape) = match &self.source {
            Source::Scan(scan) => (Some(&**scan), scan.shape()),
            Source::Npz(shape) => (None, shape.clone()),
            Source::Picture => (None, vec![height, width]),
        };
        match output {
            Output::Overlay => draw(&self.current.get().pixels, labels, width, height, &[], &path),
            Output::Labels(format) => {
                let outputs = Outputs { labels: vec![(format, path.clone())], overlay: None, uncertainty: None };
                let input = Path::new(&self.name);
                outputs.check(input, depth, scan).map_err(|e| Refusal::bad(terminal::chain(e.as_ref())))?;
                let grid = scan.map_or_else(
                    || {
                        let mut grid = Grid::new(self.size, None);
                        grid.spacing = self.spacing;
                        grid
                    },
                    Grid::from,
                );
                outputs.write(&Found { input, labels, shape: &shape, grid, scan, objects: &objects })
            }
        }
        .map_err(|e| failed(e.as_ref()))?;
        std::fs::read(&path).map_err(|e| failed(&e))
    }
}

impl Windowed {
    fn new(asked: &str, intake: &Intake, mut notes: Vec<String>) -> Self {
        let range = intake.steps.iter().find_map(|step| match step {
            Step::Window { low, high, .. } => Some([*low, *high]),
            _ => None,
        });
        notes.extend(intake.steps.iter().map(ToString::to_string));
        Self { asked: asked.into(), range, notes }
    }
}

/// The network's 8 bits.
fn windowed(scan: &Scan, window: Window, asked: Option<&str>) -> Result<(Vec<u8>, Windowed), Refusal> {
    let shown = scan.to_8bit(window).map_err(|error| Refusal::bad(error.to_string()))?;
    let notes = scan.applied.iter().chain(&shown.applied).map(ToString::to_string).collect();
    let windowed = Windowed::new(asked.unwrap_or("auto"), &shown.intake, notes);
    Ok((shown.pixels, windowed))
}
