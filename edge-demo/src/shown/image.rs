//! Images of all kinds of files: reading them, and writing label maps for them.

use std::io::{BufReader, Cursor};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use image::ImageFormat;
use serde_json::{Value, json};
use umedsam::files::{File, is_dir};
use umedsam::intensity::{Intake, Step};
use umedsam::npz::{Boxes, Case, Limits as NpzLimits, NpzError, read_spacing};
use umedsam::{PixelBox, VolumeSize, VoxelBox, terminal};

use super::{Current, Display, Plane, Recent, Shown, Unfit, display, each_set};
use crate::kind::Kind;
use crate::label_file::{Format, Found};
use crate::labels::Grid;
use crate::objects::{Object, check_name};
use crate::overlay::draw;
use crate::pages;
use crate::picture::Picture;
use crate::read::{ReadOptions, read};
use crate::scan::{Origin, Scan, Window};

/// An image or a volume, and what it was read from.
pub struct Image {
    /// What it is called.
    pub name: String,
    /// Its voxels along each axis.
    pub size: VolumeSize,
    /// 1, or 3.
    pub channels: usize,
    /// How its values are shown.
    pub display: Display,
    /// What the network is given.
    pub current: Current,
    source: Source,
    spacing: Option<[f64; 3]>,
    /// The boxes that it brings.
    boxes: Vec<VoxelBox>,
    window: Mutex<Windowed>,
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
pub enum Output {
    /// A label map.
    Labels(Format),
    /// An image with the objects drawn in.
    Overlay,
}

impl Output {
    /// By its name.
    ///
    /// # Errors
    /// If nothing has this name.
    pub fn named(text: &str) -> Result<Self, Unfit> {
        match text {
            "overlay" => Ok(Self::Overlay),
            _ => {
                let format = <Format as clap::ValueEnum>::from_str(text, false);
                format.map(Self::Labels).map_err(|_| Unfit::asked(format!("format is {text}")))
            }
        }
    }

    fn name(self) -> String {
        match self {
            Self::Labels(format) => format.name(),
            Self::Overlay => "overlay".into(),
        }
    }

    /// The ending of its files, and their type.
    pub const fn ending(self) -> (&'static str, &'static str) {
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
pub struct Choice {
    /// The window, as the command names it.
    pub window: Option<String>,
    /// The series of several.
    pub series: Option<String>,
    /// The frame, volume or page, from 0.
    pub frame: Option<usize>,
    /// Bytes that reading it may take.
    pub memory: u64,
}

impl Choice {
    /// Refuses a choice that an image of 8 bits does not leave.
    fn check_bytes(&self, pages: bool) -> Result<(), Unfit> {
        if self.window()? != Window::Auto {
            return Err(Unfit::asked("a window is for DICOM and NIfTI; this image has 8 bits"));
        } else if self.series.is_some() || self.frame.is_some() && !pages {
            return Err(Unfit::asked(
                "a series is of DICOM, and a frame of TIFF and of volumes; this image has neither",
            ));
        }
        Ok(())
    }

    fn window(&self) -> Result<Window, Unfit> {
        self.window.as_deref().map_or(Ok(Window::Auto), |text| text.parse().map_err(Unfit::asked))
    }
}

/// Text of an error, with the client's name of the file instead of where it lies.
fn unreadable(name: &str, problem: impl std::fmt::Display) -> Unfit {
    Unfit::asked(format!("{name}: {problem}"))
}

impl Image {
    /// Reads a picture, where the content of a file is one.
    ///
    /// # Errors
    /// If it is damaged, or takes more memory than it may.
    pub fn of_picture(name: &str, bytes: &[u8], choice: &Choice, recent: &Arc<Recent>) -> Option<Result<Self, Unfit>> {
        let format = image::guess_format(bytes).ok()?;
        let read = || {
            choice.check_bytes(format == ImageFormat::Tiff)?;
            let picture = Picture::of(Cursor::new(bytes), choice.frame, choice.memory);
            Self::picture(name, picture.map_err(|e| unreadable(name, terminal::chain(e.as_ref())))?, recent)
        };
        Some(read())
    }

    /// Reads a file, or a folder of DICOM files.
    ///
    /// # Errors
    /// If it is none that is read, damaged, leaves a choice, or takes more memory than it may.
    pub fn of_file(name: &str, path: &Path, choice: &Choice, recent: &Arc<Recent>) -> Result<Self, Unfit> {
        match Kind::of(path) {
            Some(Kind::Npz) => Self::case(name, path, choice, recent),
            Some(Kind::Picture) => {
                choice.check_bytes(pages::count(path) > 0)?;
                let picture = File::open(path).map_err(|e| unreadable(name, e))?;
                let picture = Picture::of(BufReader::new(picture), choice.frame, choice.memory);
                Self::picture(name, picture.map_err(|e| unreadable(name, terminal::chain(e.as_ref())))?, recent)
            }
            Some(Kind::Scan) => Self::scan(name, path, choice, recent),
            None if is_dir(path) => Self::scan(name, path, choice, recent),
            None => {
                Err(unreadable(name, "NPZ, PNG, JPEG, TIFF, NIfTI and DICOM files are read, and ZIP archives of DICOM"))
            }
        }
    }

    fn picture(name: &str, picture: Picture, recent: &Arc<Recent>) -> Result<Self, Unfit> {
        let view = picture.view()?;
        let (channels, size) =
            (view.channel_count(), VolumeSize { depth: 1, height: view.height(), width: view.width() });
        let windowed = Windowed { range: Some([0.0, 255.0]), ..Windowed::new("", picture.intake(), Vec::new()) };
        Ok(Self::new(name, size, channels, picture.into_pixels(), Source::Picture, None, Vec::new(), windowed, recent))
    }

    fn case(name: &str, path: &Path, choice: &Choice, recent: &Arc<Recent>) -> Result<Self, Unfit> {
        choice.check_bytes(false)?;
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
        Ok(Self::new(name, size, channels, case.pixels, Source::Npz(shape), spacing, boxes, windowed, recent))
    }

    fn scan(name: &str, path: &Path, choice: &Choice, recent: &Arc<Recent>) -> Result<Self, Unfit> {
        let options = ReadOptions::new().with_memory(choice.memory).with_frame(choice.frame);
        let options = options.with_series(choice.series.clone());
        let scan = read(path, &options).map_err(|error| unreadable(name, error.problem))?;
        let (pixels, windowed) = windowed(&scan, choice.window()?, choice.window.as_deref())?;
        let (size, channels, spacing) = (scan.size, scan.channels, scan.spacing);
        let source = Source::Scan(Box::new(scan));
        Ok(Self::new(name, size, channels, pixels, source, spacing, Vec::new(), windowed, recent))
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
        recent: &Arc<Recent>,
    ) -> Self {
        let display = match &source {
            Source::Scan(scan) if channels == 1 => Display::of(&scan.values),
            _ => Display::Bytes,
        };
        let current = Current::new(Shown::new(pixels, channels, size, recent));
        let window = Mutex::new(window);
        Self { name: name.into(), size, channels, display, current, source, spacing, boxes, window }
    }

    /// Bytes that its values and its pixels take.
    pub fn bytes(&self) -> u64 {
        let stored = match (&self.source, &self.display) {
            (Source::Scan(scan), Display::Scaled { .. }) => scan.values.len() * scan.values.number_type().size(),
            _ => 0,
        };
        (self.current.get().pixels.len() + stored) as u64
    }

    /// Gives it boxes that a person would draw.
    #[must_use]
    pub fn with_boxes(self, boxes: &[PixelBox]) -> Self {
        let boxes = boxes.iter().map(|b| VoxelBox::new(b.x0, b.y0, 0.0, b.x1, b.y1, 0.0)).collect();
        Self { boxes, ..self }
    }

    /// Makes the network's 8 bits anew by another window.
    ///
    /// # Errors
    /// If there is no such window, or none for this image.
    pub fn show(&self, asked: &str) -> Result<(), Unfit> {
        let Source::Scan(scan) = &self.source else {
            return Err(Unfit::asked("a window is for DICOM and NIfTI; this image has 8 bits"));
        };
        let window: Window = asked.parse().map_err(Unfit::asked)?;
        let (pixels, windowed) = windowed(scan, window, Some(asked))?;
        self.current.set(self.current.get().anew(pixels));
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = windowed;
        Ok(())
    }

    /// What a client is told of it.
    pub fn describe(&self, id: u64) -> Value {
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
    pub fn slice(&self, plane: Plane) -> (Value, Vec<u8>) {
        let [height, width] = plane.size(self.size);
        let kind = if matches!(self.display, Display::Bytes) { "u8" } else { "i16" };
        let head = json!({ "width": width, "height": height, "channels": self.channels, "type": kind });
        let bytes = match (&self.display, &self.source) {
            (&Display::Scaled { slope, intercept }, Source::Scan(scan)) => {
                display::stored(&scan.values, plane, self.size, slope, intercept)
            }
            _ => plane.values(&self.current.get().pixels, self.size, self.channels),
        };
        (head, bytes)
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
    ///
    /// # Errors
    /// If they are none of this image.
    pub fn labels(&self, objects: &[Vec<(usize, Vec<u32>)>]) -> Result<Vec<u16>, Unfit> {
        let VolumeSize { depth, height, width } = self.size;
        let area = height * width;
        let mut labels = umedsam::memory::zeros(depth * area)?;
        for (object, label) in objects.iter().zip(1u16..) {
            for (z, runs) in object {
                if *z >= depth {
                    return Err(Unfit::asked(format!("slice is {z}; 0 to {} expected", depth - 1)));
                }
                let slice = &mut labels[z * area..][..area];
                each_set(runs, area, |range| slice[range].fill(label))
                    .ok_or_else(|| Unfit::asked(format!("runs of slice {z} are longer than its {area} pixels")))?;
            }
        }
        Ok(labels)
    }

    /// Writes the file of a label map, whose objects have these names.
    ///
    /// # Errors
    /// If the image has no such file, a name cannot be one, or it cannot be written.
    pub fn write(&self, labels: &[u16], names: &[Option<String>], output: Output, path: &Path) -> Result<(), Unfit> {
        if !self.outputs().contains(&output) {
            let outputs: Vec<String> = self.outputs().into_iter().map(Output::name).collect();
            return Err(Unfit::asked(format!("format is {}; {} expected", output.name(), outputs.join(" or "))));
        }
        let objects: Vec<Object> = names
            .iter()
            .zip(1..)
            .map(|(name, label)| {
                let mut object = Object::new(label);
                if let Some(name) = name {
                    check_name(name).map_err(Unfit::asked)?;
                    object.name = Some(name.clone());
                }
                Ok(object)
            })
            .collect::<Result<_, Unfit>>()?;
        let VolumeSize { depth, height, width } = self.size;
        let (scan, shape) = match &self.source {
            Source::Scan(scan) => (Some(&**scan), scan.shape()),
            Source::Npz(shape) => (None, shape.clone()),
            Source::Picture => (None, vec![height, width]),
        };
        match output {
            Output::Overlay => draw(&self.current.get().pixels, labels, width, height, &[], path),
            Output::Labels(format) => {
                let input = Path::new(&self.name);
                format.check(input, depth, scan).map_err(|e| Unfit::asked(terminal::chain(e.as_ref())))?;
                let grid = scan.map_or_else(
                    || {
                        let mut grid = Grid::new(self.size, None);
                        grid.spacing = self.spacing;
                        grid
                    },
                    Grid::from,
                );
                format.write(path, &Found { input, labels, shape: &shape, grid, scan, objects: &objects })
            }
        }
        .map_err(Unfit::Unwritten)
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
fn windowed(scan: &Scan, window: Window, asked: Option<&str>) -> Result<(Vec<u8>, Windowed), Unfit> {
    let shown = scan.to_8bit(window).map_err(|error| Unfit::asked(error.to_string()))?;
    let notes = scan.applied.iter().chain(&shown.applied).map(ToString::to_string).collect();
    let windowed = Windowed::new(asked.unwrap_or("auto"), &shown.intake, notes);
    Ok((shown.pixels, windowed))
}

/// The name of a result, as `umedsam segment` calls it, in plain letters.
pub fn file_name(image: &str, ending: &str) -> String {
    let lower = image.to_ascii_lowercase();
    let endings = [
        ".nii.gz", ".nii", ".dcm.gz", ".dcm", ".zip", ".npz", ".png", ".jpeg", ".jpg", ".tiff", ".tif", ".bmp",
        ".webp", ".nrrd", ".mha",
    ];
    let cut = endings.iter().find(|e| lower.ends_with(*e)).map_or(0, |e| e.len());
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_. ".contains(c) { c } else { '_' };
    let stem: String = image.chars().take(image.chars().count() - cut).map(plain).collect();
    format!("{stem}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_called_after_their_images() {
        assert_eq!(file_name("ct.nii.gz", ".nii.gz"), "ct.nii.gz");
        assert_eq!(file_name("a\"b;é.JPG", ".mask.png"), "a_b__.mask.png");
    }
}
