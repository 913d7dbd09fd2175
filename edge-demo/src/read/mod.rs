//! Reading images of whichever format, known by their content.

mod error;
mod options;
mod source;

use std::path::{Path, PathBuf};

pub use error::{Problem, ReadError};
pub use options::ReadOptions;
pub(crate) use options::within;
pub(crate) use source::Source;

use crate::scan::Scan;
use crate::{dicom, nifti};

/// What a file is, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Nifti,
    Dicom,
    Zip,
}

/// Reads a DICOM file, a folder or a ZIP archive of DICOM files, or a NIfTI file.
///
/// # Errors
/// [`ReadError`] if it cannot be read, or if it leaves a choice that the options do not make.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Scan, ReadError> {
    if path.is_dir() {
        return dicom::read_folder(path, options);
    }
    if let Some(header) = header_of(path) {
        return nifti::read(&header, options);
    }
    match format(path).map_err(|problem| problem.at(path))? {
        Format::Nifti => nifti::read(path, options),
        Format::Dicom => dicom::read_file(path, options),
        Format::Zip => dicom::read_zip(path, options),
    }
}

/// Whether a file's content, or its being one of a pair, is any that [`read`] reads. A ZIP archive may hold anything.
pub fn is_scan(path: &Path) -> bool {
    path.is_file() && (header_of(path).is_some() || format(path).is_ok())
}

/// Whether [`read`] reads a file as NIfTI. Folders and archives are read as DICOM.
pub fn is_nifti(path: &Path) -> bool {
    path.is_file() && (header_of(path).is_some() || matches!(format(path), Ok(Format::Nifti)))
}

/// Whether a file is DICOM, or a folder has such a file in it, or in one of its folders.
pub fn holds_dicom(path: &Path) -> bool {
    let is_dicom = |path: &Path| matches!(format(path), Ok(Format::Dicom));
    if path.is_file() { is_dicom(path) } else { dicom::files(path).iter().any(|file| is_dicom(file)) }
}

/// The header of a pair, beside its voxels, which tell nothing by themselves.
fn header_of(voxels: &Path) -> Option<PathBuf> {
    let name = voxels.file_name()?.to_str()?;
    let stem = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".img")?;
    let beside = |ending: &str| voxels.with_file_name(format!("{stem}{ending}"));
    [beside(".hdr"), beside(".hdr.gz")].into_iter().find(|header| header.is_file())
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
    if nifti::is_nifti(head) {
        return Ok(Format::Nifti);
    }
    Err(Problem::Kind(other(head).into()))
}

/// What a file of another kind is.
fn other(head: &[u8]) -> &'static str {
    const KINDS: [(&[u8], &str); 12] = [
        (b"\x89PNG", "a PNG picture"),
        (b"\xff\xd8\xff", "a JPEG picture"),
        (b"II*\0", "a TIFF picture"),
        (b"MM\0*", "a TIFF picture"),
        (b"NRRD0", "NRRD"),
        (b"ObjectType", "MetaImage"),
        (b"\0\0\0\x01\0\0", "FreeSurfer's MGH"),
        (b"CDF", "MINC 1 (netCDF)"),
        (b"\x89HDF", "HDF5 (MINC 2 among others)"),
        (b"# === DATA", "Philips PAR"),
        (b"%PDF", "a PDF document"),
        (b"<", "markup"),
    ];
    KINDS.iter().find(|(magic, _)| head.starts_with(magic)).map_or("no format that is known", |(_, kind)| kind)
}
