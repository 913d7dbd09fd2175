//! What the command is given: boxes in words, files, folders.

use std::fs;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use umedsam::{PixelBox, VoxelBox, errln};
use umedsam_demo::kind::Kind;
use umedsam_demo::read;

use crate::output::is_result;

fn parse_numbers(text: &str) -> Result<Vec<f64>, String> {
    text.split(',').map(|part| part.trim().parse().map_err(|_| format!("'{part}' is not a number"))).collect()
}

/// `x0,y0,x1,y1` in pixels.
pub(crate) fn parse_box(text: &str) -> Result<PixelBox, String> {
    match parse_numbers(text)?[..] {
        [x0, y0, x1, y1] => Ok(PixelBox::new(x0, y0, x1, y1)),
        ref other => Err(format!("{} numbers; x0,y0,x1,y1 expected", other.len())),
    }
}

/// `x0,y0,z0,x1,y1,z1` in voxels.
pub(crate) fn parse_box3d(text: &str) -> Result<VoxelBox, String> {
    match parse_numbers(text)?[..] {
        [x0, y0, z0, x1, y1, z1] => Ok(VoxelBox::new(x0, y0, z0, x1, y1, z1)),
        ref other => Err(format!("{} numbers; x0,y0,z0,x1,y1,z1 expected", other.len())),
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

/// The files among `inputs`, and those in the folders among them, in order of name. What is no file to segment is an
/// error when named, and passed over in a folder; results of earlier runs are passed over either way, and told of.
pub(crate) fn files(inputs: &[PathBuf]) -> anyhow::Result<Vec<(PathBuf, Kind)>> {
    let mut files = Vec::new();
    for input in inputs {
        if input.is_dir() {
            let before = files.len();
            files.extend(entries(input).with_context(|| input.display().to_string())?);
            if files.len() == before {
                bail!("{}: no NPZ file, picture, NIfTI, NRRD, MetaImage or DICOM file in this folder", input.display());
            }
            continue;
        }
        let kind = Kind::of(input);
        match fs::metadata(input) {
            Ok(found) if found.is_file() => match kind {
                Some(kind) => files.push((input.clone(), kind)),
                None => {
                    bail!("{}: NPZ, PNG, JPEG, TIFF, NIfTI, NRRD, MetaImage and DICOM files are read", input.display())
                }
            },
            Ok(_) => bail!("{}: not a regular file", input.display()),
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("{}: no such file or folder", input.display()),
            Err(error) => return Err(error).with_context(|| input.display().to_string()),
        }
    }
    let (results, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|(path, _)| is_result(path));
    if let Some((first, _)) = results.first() {
        errln!("umedsam: {} results of earlier runs are passed over, such as {}", results.len(), first.display());
    }
    if files.is_empty() {
        bail!("nothing to segment: every input is a result of an earlier run");
    }
    Ok(files)
}

/// The files of a folder that are read by their names, without the attributes that macOS puts beside a file (`._x.npz`),
/// and the folder itself where there are DICOM files in it.
fn entries(folder: &Path) -> io::Result<Vec<(PathBuf, Kind)>> {
    let mut paths = fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    let (mut files, mut dicom, mut folders) = (Vec::new(), false, Vec::new());
    for path in paths {
        let attributes = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("._"));
        match Kind::by_name(&path).or_else(|| packed(&path)) {
            Some(_) if !path.is_file() => errln!("umedsam: {}: passed over: not a regular file", path.display()),
            Some(kind) if !attributes => files.push((path, kind)),
            Some(_) => {}
            None if path.is_dir() => folders.push(path),
            None => dicom = dicom || read::holds_dicom(&path),
        }
    }
    // Folders in it are looked through only where nothing beside them is read.
    dicom = dicom || files.is_empty() && folders.iter().any(|folder| read::holds_dicom(folder));
    if let Some(first) = folders.first().filter(|_| !dicom && !files.is_empty()) {
        errln!(
            "umedsam: {} folders in {} are passed over, such as {}",
            folders.len(),
            folder.display(),
            first.display()
        );
    }
    files.extend(dicom.then(|| (folder.to_path_buf(), Kind::Scan)));
    Ok(files)
}

pub(crate) fn packed(path: &Path) -> Option<Kind> {
    path.to_str()?.to_ascii_lowercase().ends_with(".nii.gz").then_some(Kind::Scan)
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
