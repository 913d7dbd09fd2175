//! What the command is given: boxes in words, pictures, folders.

use std::fs::{self, File};
use std::io::BufReader;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use image::{DynamicImage, ImageReader};
use umedsam::intensity::{Window, to_u8};
use umedsam::{ImageView, PixelBox};

/// A picture in memory: 8 bits, gray or RGB.
#[derive(Debug)]
pub(crate) struct Picture {
    pixels: Vec<u8>,
    width: usize,
    height: usize,
    rgb: bool,
}

impl Picture {
    pub(crate) fn view(&self) -> Result<ImageView<'_>, umedsam::Error> {
        if self.rgb {
            ImageView::rgb8(&self.pixels, self.width, self.height)
        } else {
            ImageView::gray8(&self.pixels, self.width, self.height)
        }
    }

    pub(crate) fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Decodes a picture file. Gray of more than 8 bits is brought to 8 by its 0.5th to 99.5th percentile.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let reader = ImageReader::new(BufReader::new(file)).with_guessed_format();
        let image = reader.with_context(|| path.display().to_string())?.decode();
        Self::new(image.with_context(|| format!("{}: not a readable picture", path.display()))?)
    }

    /// Decodes a picture in memory.
    pub(crate) fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        Self::new(image::load_from_memory(bytes).context("built-in picture")?)
    }

    fn new(image: DynamicImage) -> anyhow::Result<Self> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let (pixels, rgb) = match image {
            DynamicImage::ImageLuma16(gray) => (narrow(gray.iter().copied())?, false),
            DynamicImage::ImageLumaA16(gray) => (narrow(gray.pixels().map(|p| p.0[0]))?, false),
            gray @ (DynamicImage::ImageLuma8(_) | DynamicImage::ImageLumaA8(_)) => {
                (gray.into_luma8().into_raw(), false)
            }
            colour => (colour.into_rgb8().into_raw(), true),
        };
        Ok(Self { pixels, width, height, rgb })
    }
}

fn narrow(values: impl Iterator<Item = u16>) -> anyhow::Result<Vec<u8>> {
    let values: Vec<f32> = values.map(f32::from).collect();
    Ok(to_u8(&values, Window::Percentile)?)
}

/// `x0,y0,x1,y1` in pixels.
pub(crate) fn parse_box(text: &str) -> Result<PixelBox, String> {
    let numbers: Vec<f64> = text
        .split(',')
        .map(|part| part.trim().parse().map_err(|_| format!("'{part}' is not a number")))
        .collect::<Result<_, _>>()?;
    match numbers[..] {
        [x0, y0, x1, y1] => Ok(PixelBox::new(x0, y0, x1, y1)),
        _ => Err(format!("{} numbers; x0,y0,x1,y1 expected", numbers.len())),
    }
}

/// A number within `range`.
pub(crate) fn parse_within(text: &str, range: RangeInclusive<f64>) -> Result<f64, String> {
    let number = text.trim().parse().map_err(|_| format!("'{text}' is not a number"))?;
    match range.contains(&number) {
        true => Ok(number),
        false => Err(format!("{number} is not within {} to {}", range.start(), range.end())),
    }
}

/// Kind of an input file, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Npz,
    Picture,
}

impl Kind {
    /// The kind of a file, or nothing if its name is none that is read.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "npz" => Some(Self::Npz),
            "png" | "jpg" | "jpeg" | "tif" | "tiff" => Some(Self::Picture),
            _ => None,
        }
    }
}

/// The files among `inputs`, and those in the folders among them, in order of name; unread kinds are an error when
/// named, and passed over in a folder.
pub(crate) fn files(inputs: &[PathBuf]) -> anyhow::Result<Vec<(PathBuf, Kind)>> {
    let mut files = Vec::new();
    for input in inputs {
        if input.is_dir() {
            let mut entries: Vec<PathBuf> = fs::read_dir(input)
                .and_then(|entries| entries.map(|e| Ok(e?.path())).collect())
                .with_context(|| input.display().to_string())?;
            entries.sort();
            let before = files.len();
            files.extend(entries.into_iter().filter_map(|path| Kind::of(&path).map(|kind| (path, kind))));
            if files.len() == before {
                bail!("{}: no NPZ, PNG, JPEG or TIFF file in this folder", input.display());
            }
        } else if !input.exists() {
            bail!("{}: no such file or folder", input.display());
        } else {
            match Kind::of(input) {
                Some(kind) => files.push((input.clone(), kind)),
                None => bail!("{}: NPZ, PNG, JPEG and TIFF files are read", input.display()),
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_four_numbers() {
        assert_eq!(parse_box("1, 2.5,-3,4").unwrap(), PixelBox::new(1.0, 2.5, -3.0, 4.0));
        assert_eq!(parse_box("1,2,3").unwrap_err(), "3 numbers; x0,y0,x1,y1 expected");
        assert_eq!(parse_box("1,2,x,4").unwrap_err(), "'x' is not a number");
    }

    #[test]
    fn a_number_outside_its_range_is_refused() {
        assert_eq!(parse_within(" 4", 0.0..=4.0), Ok(4.0));
        assert_eq!(parse_within("-0.1", 0.0..=4.0).unwrap_err(), "-0.1 is not within 0 to 4");
        assert_eq!(parse_within("NaN", 0.0..=1.0).unwrap_err(), "NaN is not within 0 to 1");
        assert_eq!(parse_within("half", 0.0..=1.0).unwrap_err(), "'half' is not a number");
    }
}
