//! Reading images of whichever format, known by their content.

mod error;
mod numbers;
mod options;
mod source;

use std::path::{Path, PathBuf};

pub(crate) use error::RAISED_BY;
pub use error::{Problem, ReadError};
pub(crate) use numbers::{chunks, picked, plain, with_type};
pub use options::ReadOptions;
pub(crate) use options::within;
pub(crate) use source::{Packing, Source};
use umedsam::files::{is_dir, is_file};

use crate::scan::{Applied, Scan};
use crate::{dicom, metaimage, nifti, nrrd, pages};

/// What a file is, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// NIfTI, of a pair either file.
    Nifti,
    /// A DICOM file, or a folder.
    Dicom,
    /// A ZIP archive, of DICOM files.
    Zip,
    /// NRRD, its header where the values are in another file.
    Nrrd,
    /// TIFF, whose pages are slices.
    Tiff,
    /// MetaImage, its header where the values are in another file.
    MetaImage,
}

/// Reads a DICOM file, a folder or a ZIP archive of DICOM files, NIfTI, NRRD, MetaImage, or the pages of
/// a TIFF.
///
/// # Errors
/// [`ReadError`] if it cannot be read, or if it leaves a choice that the options do not make.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Scan, ReadError> {
    let mut scan = match format_of(path)? {
        Format::Dicom if is_dir(path) => return dicom::read_folder(path, options),
        Format::Dicom => return dicom::read_file(path, options),
        Format::Zip => return dicom::read_zip(path, options),
        Format::Nifti => nifti::read(header_of(path).as_deref().unwrap_or(path), options)?,
        Format::Nrrd => nrrd::read(path, options)?,
        Format::MetaImage => metaimage::read(path, options)?,
        Format::Tiff => pages::read(path, options)?,
    };
    if options.gaps || options.series.is_some() {
        scan.applied.push(Applied::Note("a choice of series and gaps are for DICOM: not used".into()));
    }
    Ok(scan)
}

/// As what [`read`] reads a file or folder. A ZIP archive and a folder may hold anything.
///
/// # Errors
/// [`ReadError`] if it is nothing that is read.
pub fn format_of(path: &Path) -> Result<Format, ReadError> {
    if is_dir(path) {
        return Ok(Format::Dicom);
    }
    if header_of(path).is_some() {
        return Ok(Format::Nifti);
    }
    format(path).map_err(|problem| problem.at(path))
}

/// The files that [`read`] may read for a path: itself, of a folder those in it, of a header and its values both.
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    let mut files = vec![path.to_path_buf()];
    match format_of(path) {
        Ok(Format::Dicom) if is_dir(path) => files.extend(dicom::files(path)),
        Ok(Format::Nifti) => {
            let header = header_of(path).unwrap_or_else(|| path.into());
            files.extend([nifti::voxels_of(&header), header]);
        }
        Ok(Format::Nrrd) => files.extend(nrrd::data_file(path)),
        Ok(Format::MetaImage) => files.extend(metaimage::data_file(path)),
        _ => {}
    }
    files
}

/// Whether a file is DICOM, or a folder has such a file in it, or in one of its folders.
pub fn holds_dicom(path: &Path) -> bool {
    let is_dicom = |path: &Path| matches!(format(path), Ok(Format::Dicom));
    if is_file(path) { is_dicom(path) } else { dicom::files(path).iter().any(|file| is_dicom(file)) }
}

/// The header of a pair, beside its voxels, which tell nothing by themselves.
fn header_of(voxels: &Path) -> Option<PathBuf> {
    let name = voxels.file_name()?.to_str()?;
    let stem = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".img")?;
    let beside = |ending: &str| voxels.with_file_name(format!("{stem}{ending}"));
    [beside(".hdr"), beside(".hdr.gz")].into_iter().find(|header| is_file(header))
}

/// Bytes that tell a file's format: DICOM's are the last.
const HEAD: usize = 132;

fn format(path: &Path) -> Result<Format, Problem> {
    let mut source = Source::open(path)?;
    let mut head = [0; HEAD];
    let mut length = HEAD as u64;
    // A short file has what it has.
    let filled = source.fill(&mut head, |actual| {
        length = actual;
        Problem::Ended { part: "the file", expected: HEAD as u64, actual }
    });
    match filled {
        Ok(()) | Err(Problem::Ended { .. }) => {}
        Err(problem) => return Err(problem),
    }
    let head = &head[..length as usize];
    if head.is_empty() {
        return Err(Problem::Kind("an empty file".into()));
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Ok(Format::Zip);
    }
    // DICOM first: what is before its magic is anybody's.
    if dicom::is_dicom(head) {
        return Ok(Format::Dicom);
    }
    if head.starts_with(b"NRRD000") {
        return Ok(Format::Nrrd);
    }
    if [&b"II*\0"[..], b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| head.starts_with(magic)) {
        return Ok(Format::Tiff);
    }
    if metaimage::is_metaimage(head) {
        return Ok(Format::MetaImage);
    }
    if nifti::is_nifti(head) {
        return Ok(Format::Nifti);
    }
    Err(Problem::Kind(other(head).into()))
}

/// What a file of another kind is.
fn other(head: &[u8]) -> &'static str {
    const KINDS: [(&[u8], &str); 8] = [
        (b"\x89PNG", "a PNG picture"),
        (b"\xff\xd8\xff", "a JPEG picture"),
        (b"\0\0\0\x01\0\0", "FreeSurfer's MGH"),
        (b"CDF", "MINC 1 (netCDF)"),
        (b"\x89HDF", "HDF5 (MINC 2 among others)"),
        (b"# === DATA", "Philips PAR"),
        (b"%PDF", "a PDF document"),
        (b"<", "markup"),
    ];
    KINDS.iter().find(|(magic, _)| head.starts_with(magic)).map_or("no format that is known", |(_, kind)| kind)
}
