//! NRRD: images with a header of lines, and label maps as 3D Slicer's segmentations (`.seg.nrrd`). Our own, as the
//! header is small and no well-kept reader bounds what it reads.

mod header;
mod write;

use std::path::{Path, PathBuf};

use header::{Encoding, Header};
pub use write::{is_segmentation, write_labels};

use crate::read::{Packing, Problem, ReadError, ReadOptions, Source, picked, plain};
use crate::scan::{Affine, Applied, Display, Origin, Scan};

/// Reads an NRRD file, or its header, whose values are in another file beside it.
///
/// # Errors
/// [`ReadError`] if the file is damaged or shorter than it says, if it holds what is not read, or takes more memory than
/// the options allow.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Scan, ReadError> {
    let fail = |problem: Problem| problem.at(path);
    let mut source = Source::open(path).map_err(fail)?;
    let header = Header::read(&mut source).map_err(fail)?;
    let data = match &header.data_file {
        Some(name) => {
            let data = path.with_file_name(name);
            source = Source::open(&data).map_err(|problem| problem.at(&data))?;
            data
        }
        None => path.into(),
    };
    volume(path, header, source, options).map_err(|problem| problem.at(&data))
}

/// The file of the values, where they are beside their header.
pub(crate) fn data_file(path: &Path) -> Option<PathBuf> {
    let header = Source::open(path).and_then(|mut source| Header::read(&mut source)).ok()?;
    header.data_file.map(|name| path.with_file_name(name))
}

fn volume(path: &Path, header: Header, mut source: Source, options: &ReadOptions) -> Result<Scan, Problem> {
    let mut applied = Vec::new();
    for _ in 0..header.line_skip {
        source.line(1 << 16)?;
    }
    // A file of packed values was unpacked when it was opened.
    if header.encoding == Encoding::Gzip && !source.is_packed() {
        source = source.unpacked(Packing::Gzip);
    }
    source.skip(header.byte_skip)?;
    let shape = header.shape()?;
    let groups = shape.first as u64;
    let index = match (shape.colors, shape.first, options.frame) {
        (true, ..) | (_, 1, None) => 0,
        (_, of, Some(index)) if index < of => index,
        (_, of, _) => return Err(Problem::Frames { what: "volumes", of }),
    };
    let beyond = || Problem::field("sizes", format!("{:?}", header.sizes), "a volume that has room in memory");
    let [width, height, depth] = shape.sides;
    let voxels =
        (width as u64).checked_mul(height as u64).and_then(|n| n.checked_mul(depth as u64)).ok_or_else(beyond)?;
    let size = header.kind.size() as u64;
    let bytes = voxels.checked_mul(groups).and_then(|n| n.checked_mul(size)).ok_or_else(beyond)?;
    source.expect("the voxels", bytes)?;
    let channels = if shape.colors { 3 } else { 1 };
    options.allow(voxels.saturating_mul(channels * size))?;
    let count = usize::try_from(voxels).map_err(|_| beyond())?;
    let values = if shape.colors || shape.first == 1 {
        plain(header.kind, &mut source, count * channels as usize, header.big)?
    } else {
        applied.push(Applied::Frame { index, of: shape.first });
        picked(header.kind, &mut source, count, header.big, (index, shape.first))?
    };
    applied.extend(source.finish(0, options)?);
    let affine = header.affine(shape.first_axis)?;
    if affine.is_none() {
        applied.push(Applied::Note("the file tells no place in the patient".into()));
    }
    let spacing = affine.map(|affine: Affine| affine.spacing()).or(header.spacing(shape.first_axis)?);
    let size = umedsam::VolumeSize { depth, height, width };
    let (channels, path, origin) = (channels as usize, path.into(), Origin::Other(header.names));
    Ok(Scan {
        values,
        channels,
        size,
        affine,
        spacing,
        modality: None,
        path,
        origin,
        display: Display::default(),
        applied,
    })
}
