//! NIfTI-1 and NIfTI-2: `.nii`, `.nii.gz`, `.hdr` with `.img`. Our own, since the crate `nifti` reads no NIfTI-2 and
//! writes to other names than asked for.

mod header;
mod orientation;
mod write;

use std::path::{Path, PathBuf};

pub use header::Forms;
use header::{Header, Voxel};
use umedsam::files::is_file;
use umedsam::intensity::{NumberType, Values};
use umedsam::{VolumeSize, memory};
pub(crate) use write::write_values;
pub use write::{is_segmentation, write_labels};

use crate::read::{Problem, ReadError, ReadOptions, Source, chunks, plain, with_type};
use crate::scan::{Applied, Display, Origin, Scan, Sink, Stored};

/// Whether a file that begins so, after gzip, is NIfTI, or Analyze.
pub(crate) fn is_nifti(head: &[u8]) -> bool {
    head.first_chunk().is_some_and(|first| header::length(*first).is_some())
}

/// Reads a NIfTI file; of a pair its header, beside which the voxels are.
///
/// # Errors
/// [`ReadError`] if the file is damaged or shorter than it says, if it holds what is not read, or takes more memory than
/// the options allow.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Scan, ReadError> {
    let (header, mut source) = open(path).map_err(|problem| problem.at(path))?;
    let offset = header.offset;
    let (data, skip) = if header.pair {
        let data = voxels_of(path);
        source = Source::open(&data).map_err(|problem| problem.at(&data))?;
        (data, offset)
    } else {
        (path.to_path_buf(), offset - header.length)
    };
    volume(path, &header, source, skip, options).map_err(|problem| problem.at(&data))
}

fn open(path: &Path) -> Result<(Header, Source), Problem> {
    let mut source = Source::open(path)?;
    let mut bytes = vec![0; 4];
    let ended =
        |expected: usize| move |actual| Problem::Ended { part: "the header", expected: expected as u64, actual };
    source.fill(&mut bytes, ended(348))?;
    let first = bytes.first_chunk().and_then(|first| header::length(*first));
    let (length, big) = first.ok_or_else(|| Problem::Kind("no NIfTI file".into()))?;
    bytes.resize(length, 0);
    source.fill(&mut bytes[4..], move |actual| ended(length)(actual + 4))?;
    Ok((Header::read(&bytes, big)?, source))
}

/// The file of a pair's voxels: the header's name with `.img`, or `.img.gz` where that is there.
pub(crate) fn voxels_of(header: &Path) -> PathBuf {
    let name = header.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    let stem = stem.strip_suffix(".hdr").or(stem.strip_suffix(".HDR")).unwrap_or(stem);
    let plain = header.with_file_name(format!("{stem}.img"));
    let packed = header.with_file_name(format!("{stem}.img.gz"));
    if !is_file(&plain) && is_file(&packed) { packed } else { plain }
}

fn volume(path: &Path, header: &Header, mut source: Source, skip: u64, options: &ReadOptions) -> Result<Scan, Problem> {
    let mut applied = Vec::new();
    let [width, height, depth, volumes] = header.dims;
    let index = match (volumes, options.frame) {
        (1, None) => 0,
        (_, Some(index)) if (index as u64) < volumes => index as u64,
        _ => return Err(Problem::Frames { what: "volumes", of: volumes as usize }),
    };
    if volumes > 1 {
        applied.push(Applied::Frame { index: index as usize, of: volumes as usize });
    }
    let beyond = || Problem::field("dim", format!("{:?}", header.dims), "a volume that has room in memory");
    let voxels = header.voxels().ok_or_else(beyond)?;
    let bytes = voxels.checked_mul(header.voxel.bytes()).ok_or_else(beyond)?;
    let before = bytes.checked_mul(index).and_then(|b| b.checked_add(skip)).ok_or_else(beyond)?;
    // Nothing is allocated that the file is too short for.
    source.expect("the voxels", before.saturating_add(bytes))?;
    let scale = header.scale()?;
    let kind = match (header.voxel, scale) {
        (Voxel::Rgb | Voxel::Rgba, _) => NumberType::U8,
        (Voxel::Gray(kind), None) => kind,
        (Voxel::Gray(NumberType::F32), Some(_)) => NumberType::F32,
        (Voxel::Gray(kind), Some(scale)) => scaled(kind, scale),
    };
    let channels = if matches!(header.voxel, Voxel::Gray(_)) { 1 } else { 3 };
    options.allow(voxels.saturating_mul(channels * kind.size() as u64))?;
    source.skip(before)?;
    let count = usize::try_from(voxels).map_err(|_| beyond())?;
    let values = match (header.voxel, scale) {
        (Voxel::Gray(stored), None) => plain(stored, &mut source, count, header.big)?,
        (Voxel::Gray(stored), Some(scale)) => rescaled(stored, &mut source, count, header.big, scale, kind)?,
        (Voxel::Rgb, _) => plain(NumberType::U8, &mut source, 3 * count, false)?,
        (Voxel::Rgba, _) => opaque(&mut source, count)?,
    };
    applied.extend(source.finish(bytes.saturating_mul(volumes - index - 1), options)?);
    if let Some((slope, intercept)) = scale {
        applied.push(Applied::Rescale { slope, intercept });
    }
    if header.voxel == Voxel::Rgba {
        applied.push(Applied::OpacityDropped);
    }
    if let Some(from) = header.unit {
        applied.push(Applied::Unit { from });
    }
    let (affine, told) = header.forms.affine([width, height, depth])?;
    if !told {
        applied.push(Applied::NoOrientation);
    }
    let size = |n: u64| usize::try_from(n).map_err(|_| beyond());
    Ok(Scan {
        values,
        channels: channels as usize,
        size: VolumeSize { depth: size(depth)?, height: size(height)?, width: size(width)? },
        affine: Some(affine),
        spacing: Some(affine.spacing()),
        modality: None,
        path: path.into(),
        origin: Origin::Nifti(header.forms),
        display: Display::default(),
        applied,
    })
}

/// The type for values of a stored type that are rescaled.
fn scaled(stored: NumberType, scale: (f64, f64)) -> NumberType {
    let (low, high) = match stored {
        NumberType::U8 => (0.0, 255.0),
        NumberType::I8 => (-128.0, 127.0),
        NumberType::U16 => (0.0, 65_535.0),
        NumberType::I16 => (-32_768.0, 32_767.0),
        _ => return NumberType::F64,
    };
    Sink::kind(low, high, [scale])
}

fn rescaled(
    stored: NumberType,
    source: &mut Source,
    count: usize,
    big: bool,
    (slope, intercept): (f64, f64),
    kind: NumberType,
) -> Result<Values, Problem> {
    let mut sink = Sink::new(kind, count)?;
    with_type!(stored, T => chunks::<T>(source, count, |bytes| {
        let numbers = bytes.chunks_exact(size_of::<T>()).map(|b| umedsam::intensity::Number::to_f64(T::of(b, big)));
        sink.extend(numbers.map(|v| v * slope + intercept));
    }))?;
    Ok(sink.finish())
}

fn opaque(source: &mut Source, count: usize) -> Result<Values, Problem> {
    let mut values = memory::with_room(3 * count)?;
    chunks::<u32>(source, count, |bytes| bytes.chunks_exact(4).for_each(|b| values.extend_from_slice(&b[..3])))?;
    Ok(Values::U8(values))
}
