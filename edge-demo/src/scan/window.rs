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
                    // A window that is given needs no look at the values, unless some are not finite.
                    let given = matches!(window, intensity::Window::Level { .. }) && !self.is_float();
                    let (pixels, step) = match hidden {
                        1.. if !given => without(&self.values, window, hides)?,
                        _ => self.values.to_u8(window)?,
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
        if self.display.padding.is_some() || self.is_float() {
            for_each(&self.values, |v| count += usize::from(hides(v)));
        }
        count
    }

    const fn is_float(&self) -> bool {
        matches!(self.values, Values::F32(_) | Values::F64(_))
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

#[cfg(test)]
mod tests {
    use umedsam::VolumeSize;

    use super::*;
    use crate::nifti::Forms;
    use crate::scan::{Display, FileWindow, Origin};

    fn row(values: Values, display: Display) -> Scan {
        let size = VolumeSize { depth: 1, height: 1, width: values.len() };
        let (origin, path) = (Origin::Nifti(Forms::default()), "row".into());
        let (applied, affine, spacing, modality) = (Vec::new(), None, None, None);
        Scan { values, channels: 1, size, affine, spacing, modality, path, origin, display, applied }
    }

    fn pixels(scan: &Scan, window: &str) -> Vec<u8> {
        scan.to_8bit(window.parse().unwrap()).unwrap().pixels
    }

    #[test]
    fn what_is_not_to_be_seen_has_no_part_in_percentiles() {
        let mut values: Vec<f32> = (0..1000u16).map(|v| f32::from(v) + 0.5).collect();
        let plain = pixels(&row(Values::F32(values.clone()), Display::default()), "percentiles");
        values.extend([f32::NAN, f32::INFINITY, -2000.0, -1990.0]);
        let display = Display { padding: Some((-2000.0, -1990.0)), ..Display::default() };
        let scan = row(Values::F32(values), display);
        let shown = scan.to_8bit(Window::Percentiles).unwrap();
        assert_eq!(shown.pixels[..1000], plain);
        assert_eq!(shown.pixels[1000..], [0; 4]);
        assert_eq!(shown.applied[0].to_string(), "4 values that are padding or not finite are shown as 0");
        assert_eq!(pixels(&scan, "500,1000")[1000..], [0; 4]);
    }

    #[test]
    fn windows_are_those_of_their_formulas() {
        let window = |window| Display { window: Some(window), ..Display::default() };
        let values = || Values::I16(vec![-1000, 0, 40, 140, 3000]);
        assert_eq!(pixels(&row(values(), Display::default()), "abdomen"), [0, 102, 127, 191, 255]);
        assert_eq!(pixels(&row(values(), Display::default()), "40,400"), [0, 102, 127, 191, 255]);
        let sigmoid = FileWindow::Sigmoid { center: 40.0, width: 400.0 };
        assert_eq!(pixels(&row(values(), window(sigmoid)), "file"), [0, 102, 127, 186, 254]);
        let table = FileWindow::Table { first: 0.0, shown: (0..=140).collect() };
        assert_eq!(pixels(&row(values(), window(table)), "file"), [0, 0, 40, 140, 140]);
        let inverted = Display { inverted: true, ..Display::default() };
        assert_eq!(pixels(&row(values(), inverted), "abdomen"), [255, 153, 128, 64, 0]);
        // Whole numbers of 0 to 255 stay, unless a window is asked for.
        let bytes = row(Values::I16(vec![0, 7, 100]), Display::default());
        assert_eq!(pixels(&bytes, "auto"), [0, 7, 100]);
        assert_eq!(pixels(&bytes, "50,100"), [0, 17, 255]);
    }
}
