//! What is done to masks after the network, and what is told of them: nothing unless it is asked for.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use umedsam::mask::{CleanOptions, Cleaner, Diameter, MeasureOptions, Measurer, ObjectMeasures, Spacing};
use umedsam::{Error, VolumeSize};
use umedsam_demo::scan::Applied;

#[derive(Args, Clone, Debug, Default)]
pub(crate) struct MaskArguments {
    /// Keep only the largest connected part of each object; parts that touch by a corner are connected.
    #[arg(long)]
    largest: bool,
    /// Fill holes: background that is enclosed by one object, in an image within the image, in a volume on all sides.
    #[arg(long)]
    fill_holes: bool,
    /// Remove connected parts of fewer pixels or voxels.
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_size: usize,
    /// Measure each object: area or volume, extents, longest and perpendicular diameter, mean of its 8-bit intensities.
    #[arg(long)]
    stats: bool,
    /// As --stats, and write a table with a line for each object of all inputs.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub(crate) csv: Option<PathBuf>,
    /// As --stats, and write a page (HTML) of the run with pictures, for people: it needs no other file, and names no more
    /// of an input than its file.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub(crate) report: Option<PathBuf>,
    /// Size of a pixel or, with Z, of a voxel in mm, for --stats, --csv and --report, instead of the input's own; where there is
    /// neither, lengths are in pixels.
    #[arg(long, value_name = "X,Y[,Z]", value_parser = parse_spacing, allow_hyphen_values = true)]
    spacing: Option<Given>,
}

/// A spacing that is given, and whether it is one of voxels.
#[derive(Clone, Copy, Debug)]
struct Given {
    spacing: Spacing,
    solid: bool,
}

/// `x,y` or `x,y,z` in mm.
fn parse_spacing(text: &str) -> Result<Given, String> {
    let numbers: Vec<f64> = text
        .split(',')
        .map(|part| part.trim().parse().map_err(|_| format!("'{part}' is not a number")))
        .collect::<Result<_, _>>()?;
    let spacing = match numbers[..] {
        [x, y] => Spacing::new(x, y, 1.0),
        [x, y, z] => Spacing::new(x, y, z),
        _ => return Err(format!("{} numbers; x,y or x,y,z expected", numbers.len())),
    };
    Ok(Given { spacing: spacing.map_err(|error| error.to_string())?, solid: numbers.len() == 3 })
}

/// Measures of an object. Positions are along x, y and z, in voxels.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measures {
    /// Unit of the lengths: `mm`, or `px` where the spacing is not known.
    pub(crate) unit: &'static str,
    /// In the square of the unit; of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<f64>,
    /// In the cube of the unit; of a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<f64>,
    first: [usize; 3],
    last: [usize; 3],
    /// Lengths along x, y and z.
    extents: [f64; 3],
    centroid: [f64; 3],
    /// The slice of both diameters.
    slice: usize,
    longest_diameter: Line,
    perpendicular_diameter: Line,
    /// Of the 8-bit intensities; of gray inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_intensity: Option<f64>,
}

/// A diameter and its ends, x and y in pixels from the image's upper left corner.
#[derive(Clone, Debug, Serialize)]
struct Line {
    length: f64,
    from: [f64; 2],
    to: [f64; 2],
}

impl From<Diameter> for Line {
    fn from(Diameter { from, to, length, .. }: Diameter) -> Self {
        Self { length, from, to }
    }
}

impl MaskArguments {
    pub(crate) fn clean(&self, labels: &mut [u16], size: VolumeSize) -> Result<(), Error> {
        let mut options = CleanOptions::new().with_min_size(self.min_size);
        (options.largest, options.fill_holes) = (self.largest, self.fill_holes);
        Cleaner::new().clean(labels, size, &options).map(|_| ())
    }

    /// Whether objects are measured.
    pub(crate) fn measures(&self) -> bool {
        self.stats || self.csv.is_some() || self.report.is_some()
    }

    /// Whether a spacing is given that nothing uses.
    pub(crate) fn has_idle_spacing(&self) -> bool {
        self.spacing.is_some() && !self.measures()
    }

    /// Refuses a spacing that says nothing of the distance of a volume's slices, and tells where one takes the place of
    /// the input's own.
    pub(crate) fn check_spacing(&self, is_volume: bool, stored: Option<[f64; 3]>) -> anyhow::Result<Option<Applied>> {
        let Some(Given { spacing, solid }) = self.spacing else { return Ok(None) };
        if is_volume && !solid {
            bail!("a volume, whose --spacing is X,Y,Z");
        }
        let [x, y, z] = [spacing.x(), spacing.y(), spacing.z()];
        let axes = if is_volume { 3 } else { 2 };
        let other = stored.filter(|stored| stored[..axes] != [x, y, z][..axes]);
        Ok(other.map(|stored| {
            let words = |lengths: [f64; 3]| lengths[..axes].iter().map(f64::to_string).collect::<Vec<_>>().join(" x ");
            Applied::Note(format!(
                "measured by --spacing, {} mm, not the file's own {}",
                words([x, y, z]),
                words(stored)
            ))
        }))
    }

    /// Measures of the objects 1 to `count`, nothing for one without a voxel. `pixels` are interleaved where they are not
    /// gray. `stored` is the input's own spacing.
    pub(crate) fn measure(
        &self,
        labels: &[u16],
        pixels: &[u8],
        size: VolumeSize,
        is_volume: bool,
        stored: Option<Spacing>,
        count: usize,
    ) -> Result<Vec<Option<Measures>>, Error> {
        let spacing = self.spacing.map(|given| given.spacing).or(stored);
        let options = MeasureOptions::new().with_spacing(spacing.unwrap_or_default()).with_diameters();
        let mut measurer = Measurer::new();
        let found = if pixels.len() == labels.len() {
            measurer.measure_with_intensities(labels, pixels, size, &options)?
        } else {
            measurer.measure(labels, size, &options)?
        };
        let unit = if spacing.is_some() { "mm" } else { "px" };
        let mut measures = vec![None; count];
        for object in found {
            measures[usize::from(object.label) - 1] = Measures::new(object, is_volume, unit);
        }
        Ok(measures)
    }
}

impl Measures {
    fn new(object: &ObjectMeasures, is_volume: bool, unit: &'static str) -> Option<Self> {
        let found = object.diameters?;
        Some(Self {
            unit,
            area: (!is_volume).then(|| object.area()),
            volume: is_volume.then(|| object.volume()),
            first: object.first,
            last: object.last,
            extents: object.extents(),
            centroid: object.centroid,
            slice: found.z,
            longest_diameter: found.diameters.longest.into(),
            perpendicular_diameter: found.diameters.perpendicular.into(),
            mean_intensity: object.mean_intensity,
        })
    }

    /// All numbers, in the order of the table.
    pub(crate) fn numbers(&self) -> Vec<Option<f64>> {
        let whole = |v: [usize; 3]| v.map(|v| Some(v as f64));
        let [first, last] = [whole(self.first), whole(self.last)];
        let lengths = [self.extents.map(Some), self.centroid.map(Some)].concat();
        let diameters = [self.longest_diameter.length, self.perpendicular_diameter.length, self.slice as f64].map(Some);
        let sizes = [self.area, self.volume];
        [&sizes[..], &first, &last, &lengths, &diameters, &[self.mean_intensity]].concat()
    }

    /// A line for people.
    pub(crate) fn words(&self) -> String {
        let Self { unit, longest_diameter: long, perpendicular_diameter: across, extents: [x, y, z], .. } = self;
        let size = match (self.area, self.volume) {
            (_, Some(volume)) => format!("{volume:.1} {unit}3, extents {x:.1} x {y:.1} x {z:.1}"),
            (area, None) => format!("{:.1} {unit}2, extents {x:.1} x {y:.1}", area.unwrap_or_default()),
        };
        let slice = if self.volume.is_some() { format!(" in slice {}", self.slice) } else { String::new() };
        let mean = self.mean_intensity.map_or(String::new(), |mean| format!(", mean intensity {mean:.1} of 255"));
        format!("{size}, diameters {:.1} x {:.1} {unit}{slice}{mean}", long.length, across.length)
    }
}
