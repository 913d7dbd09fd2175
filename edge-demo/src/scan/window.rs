//! The 8 bits that the network is given.

use std::fmt;
use std::str::FromStr;

use umedsam::intensity::{self, Intake, Step, Values};
use umedsam::{ImageView, memory};

use super::{Applied, Scan};

/// Which values become black and white.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Window {
    /// The abdomen's for CT; for others percentiles, or the values as they are where all are whole numbers of 0 to 255.
    #[default]
    Auto,
    /// A window of CT by its name.
    Named(&'static str, intensity::Window),
    /// From `center - width / 2` to `center + width / 2`, in the units of the values.
    Numbers {
        /// The value between.
        center: f64,
        /// Above 0.
        width: f64,
    },
    /// The file's own window.
    File,
    /// From the 0.5th to the 99.5th percentile of the values that are not 0.
    Percentiles,
}

const NAMED: [(&str, intensity::Window); 5] = [
    ("abdomen", intensity::Window::ABDOMEN),
    ("lung", intensity::Window::LUNG),
    ("brain", intensity::Window::BRAIN),
    ("mediastinum", intensity::Window::MEDIASTINUM),
    ("bone", intensity::Window::BONE),
];

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(&(name, window)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(Self::Named(name, window));
        }
        match text {
            "auto" => return Ok(Self::Auto),
            "file" => return Ok(Self::File),
            "percentiles" => return Ok(Self::Percentiles),
            _ => {}
        }
        let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[center, width]) if center.is_finite() && width.is_finite() && width > 0.0 => {
                Ok(Self::Numbers { center, width })
            }
            Some(&[_, width]) => Err(format!("a width of {width}; it must be finite and above 0")),
            _ => {
                let names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
                Err(format!("'{text}': {}, file, percentiles, auto, or CENTER,WIDTH expected", names.join(", ")))
            }
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named(name, _) => f.write_str(name),
            Self::Numbers { center, width } => write!(f, "{center},{width}"),
            Self::File => f.write_str("file"),
            Self::Percentiles => f.write_str("percentiles"),
        }
    }
}

/// How a file says that its values are shown.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FileWindow {
    /// The values that become black and white.
    Linear(f64, f64),
    /// By `255 / (1 + exp(-4 (v - center) / width))`.
    Sigmoid {
        /// The value that becomes half bright.
        center: f64,
        /// Above 0.
        width: f64,
    },
    /// By a table.
    Table {
        /// The value of the first entry.
        first: f64,
        /// What values become, from the first on; others become the nearest.
        shown: Vec<u8>,
    },
}

impl FileWindow {
    fn words(&self) -> String {
        match self {
            Self::Linear(low, high) => format!("window {low} to {high}, the file's own"),
            Self::Sigmoid { center, width } => format!("sigmoid window of center {center} and width {width}, the file's own"),
            Self::Table { first, shown } => format!("{} values from {first} on by the file's own VOI LUT", shown.len()),
        }
    }

    fn show(&self, value: f64) -> u8 {
        match self {
            Self::Linear(low, high) => ((value - low) / (high - low) * 255.0) as u8,
            Self::Sigmoid { center, width } => (255.0 / (1.0 + (-4.0 * (value - center) / width).exp())) as u8,
            Self::Table { first, shown } => {
                shown[((value - first).max(0.0) as usize).min(shown.len() - 1)]
            }
        }
    }
}

/// A scan in 8 bits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Eight {
    /// Intensities, slice by slice, row by row, channels interleaved.
    pub pixels: Vec<u8>,
    /// Which window was found.
    pub intake: Intake,
    /// What else was done.
    pub applied: Vec<Applied>,
    size: (usize, usize, usize),
}

impl Eight {
    /// Slice `z`.
    ///
    /// # Errors
    /// [`umedsam::Error::BufferSize`] beyond the last slice, [`umedsam::Error::ImageSize`] if a side is out of bounds.
    pub fn slice(&self, z: usize) -> Result<ImageView<'_>, umedsam::Error> {
        let (height, width, channels) = self.size;
        let pixels = self.pixels.chunks(height * width * channels).nth(z).unwrap_or_default();
        if channels == 1 { ImageView::gray8(pixels, width, height) } else { ImageView::rgb8(pixels, width, height) }
    }
}

/// Why a scan has no 8 bits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// The file's window is asked for, and there is none.
    #[error("the file has no window")]
    NoneInFile,
    /// The values cannot be mapped.
    #[error(transparent)]
    Values(#[from] umedsam::Error),
}

impl Scan {
    /// Maps the scan to 8 bits, with one window for all slices. RGB of 8 bits stays as it is. Padding, and values that
    /// are NaN or infinite, have no part in percentiles and become 0.
    ///
    /// # Errors
    /// [`WindowError`] if the file's window is asked for and there is none, if no window can be found, or without
    /// memory.
    pub fn to_8bit(&self, window: Window) -> Result<Eight, WindowError> {
        let mut applied = Vec::new();
        let kind = self.values.number_type();
        let size = (self.size.height, self.size.width, self.channels);
        let hides = |v: f64| !v.is_finite() || self.display.padding.is_some_and(|(a, b)| (a..=b).contains(&v));
        let hidden = self.count_hidden(hides);
        let (mut pixels, intake) = if self.channels == 3 && matches!(self.values, Values::U8(_)) {
            (mapped(&self.values, |v| v as u8)?, Intake::new(kind))
        } else {
            let found = match window {
                Window::Auto if self.modality.as_deref() == Some("CT") => {
                    applied.push(Applied::Note("CT without a window is shown in the abdomen's".into()));
                    Some(intensity::Window::ABDOMEN)
                }
                Window::Auto if hidden == 0 && whole_bytes(&self.values) => None,
                Window::Auto | Window::Percentiles => Some(intensity::Window::Percentile),
                Window::Named(_, window) => Some(window),
                Window::Numbers { center, width } => Some(level(center - width / 2.0, center + width / 2.0)),
                Window::File => None,
            };
            let own = self.display.window.as_ref().filter(|_| window == Window::File);
            if window == Window::File && own.is_none() {
                return Err(WindowError::NoneInFile);
            }
            let mut intake = Intake::new(kind);
            let pixels = match (found, own) {
                (None, None) => mapped(&self.values, |v| v as u8)?,
                (None, Some(own)) => {
                    applied.push(Applied::Note(own.words()));
                    mapped(&self.values, |v| own.show(v))?
                }
                (Some(window), _) => {
                    let (pixels, step) = match hidden {
                        0 => self.values.to_u8(window)?,
                        _ => without(&self.values, window, hides)?,
                    };
                    intake.steps.push(step);
                    pixels
                }
            };
            (pixels, intake)
        };
        if self.display.inverted {
            pixels.iter_mut().for_each(|p| *p = 255 - *p);
            applied.push(Applied::Note("inverted: low values are bright (MONOCHROME1)".into()));
        }
        if hidden > 0 {
            let mut shown = pixels.iter_mut();
            for_each(&self.values, |v| {
                if let Some(pixel) = shown.next().filter(|_| hides(v)) {
                    *pixel = 0;
                }
            });
            applied.push(Applied::Note(format!("{hidden} values that are padding or not finite are shown as 0")));
        }
        Ok(Eight { pixels, intake, applied, size })
    }

    /// How many values are not to be seen; integers are finite, which saves a look at each.
    fn count_hidden(&self, hides: impl Fn(f64) -> bool) -> usize {
        let mut count = 0;
        if self.display.padding.is_some() || matches!(self.values, Values::F32(_) | Values::F64(_)) {
            for_each(&self.values, |v| count += usize::from(hides(v)));
        }
        count
    }
}

fn level(low: f64, high: f64) -> intensity::Window {
    intensity::Window::Level { level: (low / 2.0 + high / 2.0) as f32, width: (high - low) as f32 }
}

fn whole_bytes(values: &Values) -> bool {
    let mut whole = true;
    for_each(values, |v| whole &= v == f64::from(v as u8));
    whole
}

/// Each value as a byte.
fn mapped(values: &Values, byte: impl Fn(f64) -> u8) -> Result<Vec<u8>, umedsam::Error> {
    let mut pixels = memory::with_room(values.len())?;
    for_each(values, |v| pixels.push(byte(v)));
    Ok(pixels)
}

/// As [`Values::to_u8`], by a window that is found without the hidden values, which become 0.
fn without(
    values: &Values,
    window: intensity::Window,
    hides: impl Fn(f64) -> bool,
) -> Result<(Vec<u8>, Step), umedsam::Error> {
    let (shown, step) = kept(values, |v| !hides(v))?.to_u8(window)?;
    let mut shown = shown.into_iter();
    let mut pixels = memory::with_room(values.len())?;
    for_each(values, |v| pixels.push(if hides(v) { 0 } else { shown.next().unwrap_or_default() }));
    Ok((pixels, step))
}

/// The values that are to be kept.
fn kept(values: &Values, keeps: impl Fn(f64) -> bool) -> Result<Values, umedsam::Error> {
    macro_rules! each {
        ($($kind:ident),*) => {
            match values {
                $(Values::$kind(all) => {
                    let mut kept = memory::with_room(all.len())?;
                    kept.extend(all.iter().filter(|&&v| keeps(intensity::Number::to_f64(v))));
                    Values::$kind(kept)
                })*
            }
        };
    }
    Ok(each!(U8, I8, U16, I16, U32, I32, U64, I64, F32, F64))
}

fn for_each(values: &Values, mut f: impl FnMut(f64)) {
    macro_rules! each {
        ($($kind:ident),*) => {
            match values {
                $(Values::$kind(v) => v.iter().for_each(|&x| f(intensity::Number::to_f64(x))),)*
            }
        };
    }
    each!(U8, I8, U16, I16, U32, I32, U64, I64, F32, F64);
}

