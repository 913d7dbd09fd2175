//! PNG files, as the command writes them.

use std::io::{self, BufReader};
use std::path::Path;

use anyhow::Context;
use umedsam::files::{File, write_atomically};
use umedsam::memory;

/// Text chunk of the files, and what it begins with.
const KEYWORD: &str = "Software";
const SOFTWARE: &str = "umedsam ";

/// Whether a file was written here.
pub fn is_result(path: &Path) -> bool {
    let reader = File::open(path).ok().and_then(|file| png::Decoder::new(BufReader::new(file)).read_info().ok());
    reader.is_some_and(|reader| {
        let mut texts = reader.info().uncompressed_latin1_text.iter();
        texts.any(|chunk| chunk.keyword == KEYWORD && chunk.text.starts_with(SOFTWARE))
    })
}

/// Writes a label map as a gray PNG whose values are the labels: 8 bits, or 16 for labels beyond 255.
///
/// # Errors
/// If it cannot be written, or there is no memory for it.
pub fn write_labels(path: &Path, labels: &[u16], width: usize, height: usize) -> anyhow::Result<()> {
    if labels.iter().all(|&l| l <= 255) {
        let mut bytes = memory::with_room(labels.len())?;
        bytes.extend(labels.iter().map(|&l| l as u8));
        write_gray(path, &bytes, width, height)
    } else {
        let mut bytes = memory::with_room(2 * labels.len())?;
        bytes.extend(labels.iter().flat_map(|l| l.to_be_bytes()));
        write_png(path, &bytes, width, height, png::ColorType::Grayscale, png::BitDepth::Sixteen)
    }
}

/// Writes gray pixels of 8 bits as PNG.
///
/// # Errors
/// If it cannot be written, or there is no memory for it.
pub fn write_gray(path: &Path, gray: &[u8], width: usize, height: usize) -> anyhow::Result<()> {
    write_png(path, gray, width, height, png::ColorType::Grayscale, png::BitDepth::Eight)
}

/// Writes RGB pixels of 8 bits as PNG.
///
/// # Errors
/// If it cannot be written, or there is no memory for it.
pub fn write_rgb(path: &Path, rgb: &[u8], width: usize, height: usize) -> anyhow::Result<()> {
    write_png(path, rgb, width, height, png::ColorType::Rgb, png::BitDepth::Eight)
}

fn write_png(
    path: &Path,
    bytes: &[u8],
    width: usize,
    height: usize,
    color: png::ColorType,
    depth: png::BitDepth,
) -> anyhow::Result<()> {
    write_atomically(path, |file| Ok(encode(file, bytes, width, height, color, depth)?))
        .with_context(|| path.display().to_string())
}

/// RGB pixels of 8 bits as PNG.
///
/// # Errors
/// If it cannot be written, or there is no memory for it.
pub fn rgb_png(rgb: &[u8], width: usize, height: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode(&mut bytes, rgb, width, height, png::ColorType::Rgb, png::BitDepth::Eight)?;
    Ok(bytes)
}

fn encode(
    file: impl io::Write,
    bytes: &[u8],
    width: usize,
    height: usize,
    color: png::ColorType,
    depth: png::BitDepth,
) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(file, width as u32, height as u32);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::Adaptive);
    encoder.add_text_chunk(KEYWORD.into(), format!("{SOFTWARE}{}", env!("CARGO_PKG_VERSION")))?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(bytes)?;
    writer.finish()
}
