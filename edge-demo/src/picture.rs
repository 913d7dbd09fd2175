//! Picture files, on their way to the 8 bits that the network is given.

use std::io::{self, BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use anyhow::{Context, bail};
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use tiff::ColorType;
use tiff::decoder::Decoder;
use tiff::tags::Tag;
use umedsam::files::File;
use umedsam::intensity::{Intake, Step, Values, Window};
use umedsam::{ImageView, memory};

use crate::read::RAISED_BY;
use crate::{jpeg, pages};

/// A picture in memory: 8 bits, gray or RGB, as it is to be shown.
#[derive(Debug)]
pub struct Picture {
    pixels: Vec<u8>,
    width: usize,
    height: usize,
    rgb: bool,
    intake: Intake,
}

/// What a decoder gave: channels interleaved, of which the last may be opacity.
struct Decoded {
    values: Values,
    width: u32,
    height: u32,
    channels: usize,
    orientation: Orientation,
    /// Of several images in the file this is the first.
    first: bool,
}

impl Picture {
    /// Reads a picture file, which may take `limit` bytes of memory; of a TIFF the page, from 0.
    ///
    /// # Errors
    /// If it is damaged, of a kind that is not read, or takes more memory.
    pub fn read(path: &Path, page: Option<usize>, limit: u64) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        Self::of(BufReader::new(file), page, limit)
            .with_context(|| format!("{}: not a readable picture", path.display()))
    }

    /// Decodes a picture in memory.
    ///
    /// # Errors
    /// If it is damaged or of a kind that is not read.
    pub fn decode(bytes: &[u8]) -> anyhow::Result<Self> {
        Self::of(Cursor::new(bytes), None, u64::MAX).context("built-in picture")
    }

    /// Reads a picture, as [`Self::read`] does.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn of(source: impl BufRead + Seek, page: Option<usize>, limit: u64) -> anyhow::Result<Self> {
        let reader = guessed(source)?;
        let format = reader.format();
        let mut source = reader.into_inner();
        let first = match format {
            Some(ImageFormat::Jpeg) => jpeg::check(&mut source).map(|()| false)?,
            Some(ImageFormat::Png) => PngDecoder::new(&mut source)?.is_apng()?,
            Some(ImageFormat::WebP) => WebPDecoder::new(&mut source)?.has_animation(),
            _ => false,
        };
        source.rewind()?;
        if format != Some(ImageFormat::Tiff) {
            let mut reader = guessed(source)?;
            // The bound is checked below, where the size is known.
            reader.no_limits();
            return Self::new(Decoded { first, ..decode(reader.into_decoder()?, limit)? });
        }
        let mut decoder = Decoder::new(&mut source)?;
        let several = page.is_none() && decoder.more_images();
        if let Some(page) = page {
            decoder.seek_to_image(page).with_context(|| format!("a TIFF without a page {page}, counted from 0"))?;
        }
        pages::check_jpeg(&mut decoder)?;
        let color = decoder.colortype()?;
        let format = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat)?.and_then(|v| v.first().copied());
        let decoded = if let ColorType::Gray(8 | 16 | 32 | 64) = color {
            gray_tiff(decoder, limit)?
        } else if page.is_some_and(|page| page > 0) {
            bail!("pages beyond the first are read where they are gray; this one is {color:?}");
        } else {
            source.rewind()?;
            let mut reader = ImageReader::with_format(source, ImageFormat::Tiff);
            reader.no_limits();
            let decoder = reader.into_decoder().with_context(|| {
                let format = ["", " unsigned", " signed", " float"].get(usize::from(format.unwrap_or(1)));
                format!("a TIFF of{} {color:?}", format.unwrap_or(&" other"))
            })?;
            decode(decoder, limit)?
        };
        Self::new(Decoded { first: several, ..decoded })
    }

    fn new(Decoded { mut values, width, height, channels, orientation, first }: Decoded) -> anyhow::Result<Self> {
        let mut steps = Vec::new();
        steps.extend(first.then_some(Step::FirstImageOnly));
        if matches!(channels, 2 | 4) {
            drop_last(&mut values, channels);
            steps.push(Step::AlphaDropped);
        }
        let rgb = channels > 2;
        let (mut pixels, mut intake) = values.into_u8(Window::Percentile)?;
        steps.append(&mut intake.steps);
        let (mut width, mut height) = (width, height);
        if orientation != Orientation::NoTransforms {
            memory::with_room::<u8>(pixels.len())?;
            let image = if rgb {
                RgbImage::from_raw(width, height, pixels).map(DynamicImage::from)
            } else {
                GrayImage::from_raw(width, height, pixels).map(DynamicImage::from)
            };
            let mut image = image.context("as many values as pixels")?;
            image.apply_orientation(orientation);
            (width, height) = (image.width(), image.height());
            pixels = image.into_bytes();
            steps.push(Step::Orientation { exif: orientation.to_exif() });
        }
        intake.steps = steps;
        Ok(Self { pixels, width: width as usize, height: height as usize, rgb, intake })
    }

    /// The picture for the network.
    ///
    /// # Errors
    /// If it is empty, or too large.
    pub fn view(&self) -> Result<ImageView<'_>, umedsam::Error> {
        if self.rgb {
            ImageView::rgb8(&self.pixels, self.width, self.height)
        } else {
            ImageView::gray8(&self.pixels, self.width, self.height)
        }
    }

    /// Rows from top to bottom, channels interleaved.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Height, width and channels.
    pub const fn shape(&self) -> (usize, usize, usize) {
        (self.height, self.width, if self.rgb { 3 } else { 1 })
    }

    /// The same, as they are.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// What was done to its values.
    pub const fn intake(&self) -> &Intake {
        &self.intake
    }
}

/// A reader of the format that the content tells. `image` reads BigTIFF, but does not know it by its content.
///
/// # Errors
/// Those of the source.
pub fn guessed<R: BufRead + Seek>(mut source: R) -> io::Result<ImageReader<R>> {
    let big = matches!(source.fill_buf()?, [b'I', b'I', 43, 0, ..] | [b'M', b'M', 0, 43, ..]);
    let mut reader = ImageReader::new(source).with_guessed_format()?;
    if big {
        reader.set_format(ImageFormat::Tiff);
    }
    Ok(reader)
}

/// Refuses a picture of `size` pixels of which each takes `stored` bytes in the file and `kept` in 8 bits, where that
/// is over the limit or beyond the memory that there is.
fn bound(
    (width, height): (u32, u32),
    stored: u64,
    kept: u64,
    orientation: Orientation,
    limit: u64,
) -> anyhow::Result<()> {
    // Beside what was decoded: its 8 bits, and those turned.
    let copies = u64::from(stored != kept) + u64::from(orientation != Orientation::NoTransforms);
    let pixels = u64::from(width) * u64::from(height);
    let bytes = pixels.saturating_mul(stored + copies * kept);
    if bytes > limit {
        bail!("{width}x{height} pixels take {bytes} bytes of memory to read, beyond the limit of {limit}{RAISED_BY}");
    }
    // The decoders cannot do without memory; here it can be told.
    memory::with_room::<u8>(usize::try_from(pixels.saturating_mul(stored)).unwrap_or(usize::MAX))?;
    Ok(())
}

fn decode(mut decoder: impl ImageDecoder, limit: u64) -> anyhow::Result<Decoded> {
    let (width, height) = decoder.dimensions();
    // Damaged notes about a picture don't make it unreadable.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let color = decoder.color_type();
    let channels = color.channel_count();
    let kept = if color.has_color() { 3 } else { 1 };
    bound((width, height), color.bytes_per_pixel().into(), kept, orientation, limit)?;
    let values = match DynamicImage::from_decoder(decoder)? {
        DynamicImage::ImageLuma8(image) => Values::U8(image.into_raw()),
        DynamicImage::ImageLumaA8(image) => Values::U8(image.into_raw()),
        DynamicImage::ImageRgb8(image) => Values::U8(image.into_raw()),
        DynamicImage::ImageRgba8(image) => Values::U8(image.into_raw()),
        DynamicImage::ImageLuma16(image) => Values::U16(image.into_raw()),
        DynamicImage::ImageLumaA16(image) => Values::U16(image.into_raw()),
        DynamicImage::ImageRgb16(image) => Values::U16(image.into_raw()),
        DynamicImage::ImageRgba16(image) => Values::U16(image.into_raw()),
        DynamicImage::ImageRgb32F(image) => Values::F32(image.into_raw()),
        DynamicImage::ImageRgba32F(image) => Values::F32(image.into_raw()),
        other => bail!("pixels of {:?} are not read", other.color()),
    };
    Ok(Decoded { values, width, height, channels: channels.into(), orientation, first: false })
}

/// A gray TIFF of any number type; of `image`'s decoder only unsigned ones of 8 and 16 bits can be had.
fn gray_tiff(decoder: Decoder<impl BufRead + Seek>, limit: u64) -> anyhow::Result<Decoded> {
    let mut limits = tiff::decoder::Limits::default();
    limits.decoding_buffer_size = usize::try_from(limit).unwrap_or(usize::MAX);
    limits.intermediate_buffer_size = usize::MAX;
    let mut decoder = decoder.with_limits(limits);
    let (width, height) = decoder.dimensions()?;
    let exif = decoder.find_tag_unsigned::<u8>(Tag::Orientation).ok().flatten();
    let orientation = exif.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
    let ColorType::Gray(bits) = decoder.colortype()? else { bail!("a TIFF that is not gray") };
    bound((width, height), u64::from(bits / 8), 1, orientation, limit)?;
    let values = pages::values(decoder.read_image()?);
    Ok(Decoded { values, width, height, channels: 1, orientation, first: false })
}

/// Takes the last of so many channels out, in place.
fn drop_last(values: &mut Values, channels: usize) {
    fn drop<T>(values: &mut Vec<T>, channels: usize) {
        let mut position = 0;
        values.retain(|_| {
            position += 1;
            position % channels != 0
        });
    }
    match values {
        Values::U8(v) => drop(v, channels),
        Values::U16(v) => drop(v, channels),
        Values::F32(v) => drop(v, channels),
        _ => {}
    }
}
