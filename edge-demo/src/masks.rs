//! Label maps as pictures: gray or indexed ones, whose values are the labels.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, bail};
use image::{DynamicImage, ImageDecoder, ImageFormat};
use umedsam::{VolumeSize, memory};
use umedsam_demo::labels::{Grid, LabelMap};

use umedsam_demo::picture::guessed;

/// Reads the labels of a picture, which may take `limit` bytes of memory.
pub(crate) fn read(path: &Path, limit: u64) -> anyhow::Result<LabelMap> {
    let reader = BufReader::new(File::open(path).with_context(|| path.display().to_string())?);
    let read = || -> anyhow::Result<LabelMap> {
        let mut reader = guessed(reader)?;
        reader.no_limits();
        let (labels, width, height) = match reader.format() {
            Some(ImageFormat::Png) => png(reader.into_inner(), limit)?,
            Some(ImageFormat::Jpeg) => bail!("a JPEG picture, whose values are not exact: no labels"),
            Some(_) => gray(reader.into_decoder()?, limit)?,
            None => bail!("no picture that is read"),
        };
        Ok(LabelMap::new(labels, Grid::new(VolumeSize { depth: 1, height, width }, None))?)
    };
    read().with_context(|| path.display().to_string())
}

fn bound(width: u32, height: u32, limit: u64) -> anyhow::Result<()> {
    let bytes = (u64::from(width) * u64::from(height)).saturating_mul(4);
    if bytes > limit {
        bail!("{width}x{height} labels take {bytes} bytes of memory to read, beyond the limit of {limit} (--memory)");
    }
    Ok(())
}

/// PNG as it is stored: of an indexed picture the indices, whatever their colours.
fn png(file: BufReader<File>, limit: u64) -> anyhow::Result<(Vec<u16>, usize, usize)> {
    let limits = png::Limits { bytes: usize::try_from(limit).unwrap_or(usize::MAX) };
    let mut decoder = png::Decoder::new_with_limits(file, limits);
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info()?;
    let (width, height) = reader.info().size();
    bound(width, height, limit)?;
    let size = reader.output_buffer_size().context("a picture that has room in memory")?;
    let mut bytes = memory::filled(size, 0u8)?;
    let info = reader.next_frame(&mut bytes)?;
    if !matches!(info.color_type, png::ColorType::Grayscale | png::ColorType::Indexed) {
        bail!("a PNG picture in {:?}; labels are gray or indexed", info.color_type);
    }
    let mut labels = memory::with_room((width as usize) * (height as usize))?;
    let bits = info.bit_depth as usize;
    for row in bytes.chunks_exact(info.line_size).take(height as usize) {
        match bits {
            16 => labels.extend(row.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]]))),
            8 => labels.extend(row.iter().map(|&b| u16::from(b))),
            _ => {
                let value = |i: usize| u16::from(row[i * bits / 8] >> (8 - bits - i * bits % 8) & ((1 << bits) - 1));
                labels.extend((0..width as usize).map(value));
            }
        }
    }
    Ok((labels, width as usize, height as usize))
}

/// Gray pictures of other formats.
fn gray(decoder: impl ImageDecoder, limit: u64) -> anyhow::Result<(Vec<u16>, usize, usize)> {
    let (width, height) = decoder.dimensions();
    bound(width, height, limit)?;
    let color = decoder.color_type();
    let labels = match DynamicImage::from_decoder(decoder)? {
        DynamicImage::ImageLuma8(image) => image.into_raw().into_iter().map(u16::from).collect(),
        DynamicImage::ImageLuma16(image) => image.into_raw(),
        _ => bail!("a picture in {color:?}; labels are gray"),
    };
    Ok((labels, width as usize, height as usize))
}
