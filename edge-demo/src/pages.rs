//! TIFF of several pages, as a volume.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use tiff::decoder::{ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::{CompressionMethod, Tag};
use tiff::{ColorType, TiffError};
use umedsam::VolumeSize;
use umedsam::files::File;
use umedsam::intensity::Values;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

use crate::read::{Problem, ReadError, ReadOptions};
use crate::scan::{Applied, Display, Origin, Scan};

/// Pixels of a tile's side that may lie beyond its page.
const TILE: u32 = 1024;

/// More pages than volumes have slices.
const PAGES: usize = 1 << 16;

type Pages = Decoder<BufReader<File>>;

fn problem(error: TiffError) -> Problem {
    match error {
        TiffError::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Problem::Io(error),
        error => Problem::Damaged(format!("TIFF: {error}")),
    }
}

/// Opens a file whose tags and pages may take so many bytes each.
fn open(path: &Path, memory: u64) -> Result<Pages, Problem> {
    let mut limits = Limits::unlimited();
    // Room for a tag is made before it is read, too.
    limits.decoding_buffer_size = usize::try_from(memory).unwrap_or(usize::MAX);
    limits.ifd_value_size = 64 << 20;
    Ok(Decoder::new(BufReader::new(File::open(path)?)).map_err(problem)?.with_limits(limits))
}

/// Number of pages of a TIFF file; 0 of what is none.
pub fn count(path: &Path) -> usize {
    open(path, 64 << 20).and_then(|mut pages| counted(&mut pages)).unwrap_or(0)
}

fn counted(pages: &mut Pages) -> Result<usize, Problem> {
    let mut count = 1;
    while pages.more_images() {
        pages.next_image().map_err(problem)?;
        count += 1;
        if count > PAGES {
            return Err(Problem::Unsupported(format!("a TIFF of more than {PAGES} pages")));
        }
    }
    Ok(count)
}

/// Reads the pages of a TIFF file as the slices of a volume, whose place and spacing are not known. They are gray, of any
/// number type, or RGB in 8 bits, and of one size.
///
/// # Errors
/// [`ReadError`] if the file is damaged, its pages differ, or they take more memory than the options allow.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Scan, ReadError> {
    volume(path, options).map_err(|problem| problem.at(path))
}

fn volume(path: &Path, options: &ReadOptions) -> Result<Scan, Problem> {
    let mut pages = open(path, options.memory)?;
    let of = counted(&mut pages)?;
    let chosen = match options.frame {
        Some(index) if index < of => index..index + 1,
        Some(_) => return Err(Problem::Frames { what: "pages", of }),
        None => 0..of,
    };
    let mut applied = Vec::new();
    applied.extend(options.frame.map(|index| Applied::Frame { index, of }));
    pages.seek_to_image(chosen.start).map_err(problem)?;
    let first = page(&mut pages)?;
    let Page { width, height, color } = first;
    let (channels, bits) = match color {
        ColorType::Gray(bits @ (8 | 16 | 32 | 64)) => (1, bits),
        ColorType::RGB(8) => (3, 8),
        other => return Err(Problem::Unsupported(format!("a TIFF of {other:?}, whose pages are not read as slices"))),
    };
    let depth = chosen.len();
    let count = (depth as u64).saturating_mul(u64::from(width) * u64::from(height)).saturating_mul(channels as u64);
    options.allow(count.saturating_mul(u64::from(bits / 8)))?;
    let mut values = read_page(&mut pages)?;
    values.reserve((count as usize).saturating_sub(values.len()))?;
    for index in chosen.skip(1) {
        pages.next_image().map_err(problem)?;
        let found = page(&mut pages)?;
        if found != first {
            return Err(Problem::Unsupported(format!(
                "page {index} is {found}, the first {first}; they are no volume"
            )));
        }
        values.append(read_page(&mut pages)?).map_err(|other| {
            let [first, other] = [values.number_type(), other.number_type()];
            Problem::Unsupported(format!("page {index} is of {other}, the first of {first}; they are no volume"))
        })?;
    }
    if values.len() as u64 != count {
        return Err(Problem::Damaged(format!("TIFF: {} values of {count}", values.len())));
    }
    applied.push(Applied::Note("the pages of a TIFF, whose place and spacing are not known".into()));
    Ok(Scan {
        values,
        channels,
        size: VolumeSize { depth, height: height as usize, width: width as usize },
        affine: None,
        spacing: None,
        modality: None,
        path: path.into(),
        origin: Origin::Other(BTreeMap::new()),
        display: Display::default(),
        applied,
    })
}

/// What all pages of a volume have.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Page {
    width: u32,
    height: u32,
    color: ColorType,
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{} {:?}", self.width, self.height, self.color)
    }
}

fn page(pages: &mut Pages) -> Result<Page, Problem> {
    let (width, height) = pages.dimensions().map_err(problem)?;
    Ok(Page { width, height, color: pages.colortype().map_err(problem)? })
}

/// Refuses a page in whose strips or tiles JPEG tells a greater size than they have: it would be decoded whole, however
/// small the page is.
///
/// # Errors
/// Those of the source; [`Problem::Damaged`] with both sizes.
pub(crate) fn check_jpeg(decoder: &mut Decoder<impl Read + Seek>) -> Result<(), Problem> {
    if decoder.find_tag_unsigned(Tag::Compression).map_err(problem)? != Some(CompressionMethod::ModernJPEG.to_u16()) {
        return Ok(());
    }
    let (name, offsets, lengths) = match decoder.get_chunk_type() {
        ChunkType::Strip => ("strip", Tag::StripOffsets, Tag::StripByteCounts),
        ChunkType::Tile => ("tile", Tag::TileOffsets, Tag::TileByteCounts),
    };
    let offsets = decoder.get_tag_u64_vec(offsets).map_err(problem)?;
    let lengths = decoder.get_tag_u64_vec(lengths).map_err(problem)?;
    let tables = decoder.find_tag(Tag::JPEGTables).map_err(problem)?;
    let tables = tables.map(|tables| tables.into_u8_vec().map_err(problem)).transpose()?;
    let ((chunk_width, chunk_height), (width, height)) =
        (decoder.chunk_dimensions(), decoder.dimensions().map_err(problem)?);
    // Encoders fill the last block of 8 or 16.
    let most =
        |chunk: u32, page: u32| chunk.min(page.max(TILE)).checked_next_multiple_of(16).unwrap_or(u32::MAX) as usize;
    let (most_width, most_height) = (most(chunk_width, width), most(chunk_height, height));
    let mut bytes = Vec::new();
    for (i, (offset, length)) in offsets.into_iter().zip(lengths).enumerate() {
        bytes.clear();
        let file = decoder.inner();
        file.seek(SeekFrom::Start(offset))?;
        file.take(length).read_to_end(&mut bytes)?;
        // Tables that strips share end with a marker that is no end, and stand in for the first marker of each.
        if let Some(tables) = &tables {
            let head = tables.len().saturating_sub(2);
            bytes.splice(..bytes.len().min(2), tables[..head].iter().copied());
        }
        let mut jpeg = JpegDecoder::new(ZCursor::new(&bytes));
        let found = jpeg.decode_headers().map(|()| jpeg.dimensions());
        match found {
            Ok(Some((w, h))) if w <= most_width && h <= most_height => {}
            Ok(found) => {
                let (w, h) = found.unwrap_or_default();
                return Err(Problem::Damaged(format!(
                    "TIFF: JPEG of {w}x{h} in {name} {i} of {chunk_width}x{chunk_height}"
                )));
            }
            Err(error) => return Err(Problem::Damaged(format!("TIFF: JPEG in {name} {i}: {error:?}"))),
        }
    }
    Ok(())
}

fn read_page(pages: &mut Pages) -> Result<Values, Problem> {
    check_jpeg(pages)?;
    Ok(values(pages.read_image().map_err(problem)?))
}

/// The numbers of a page.
pub fn values(page: DecodingResult) -> Values {
    match page {
        DecodingResult::U8(v) => Values::U8(v),
        DecodingResult::I8(v) => Values::I8(v),
        DecodingResult::U16(v) => Values::U16(v),
        DecodingResult::I16(v) => Values::I16(v),
        DecodingResult::U32(v) => Values::U32(v),
        DecodingResult::I32(v) => Values::I32(v),
        DecodingResult::U64(v) => Values::U64(v),
        DecodingResult::I64(v) => Values::I64(v),
        DecodingResult::F32(v) => Values::F32(v),
        DecodingResult::F64(v) => Values::F64(v),
        DecodingResult::F16(v) => Values::F32(v.into_iter().map(f32::from).collect()),
    }
}
