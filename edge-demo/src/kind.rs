//! Kinds of files, by their names where these tell.

use std::path::Path;

use umedsam::files::is_file;

use crate::{pages, read};

/// Kind of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An NPZ case.
    Npz,
    /// PNG, JPEG, TIFF, BMP or WebP.
    Picture,
    /// A DICOM file, a folder or ZIP archive of them, NIfTI, NRRD or MetaImage.
    Scan,
}

impl Kind {
    /// The kind of a file, or nothing if neither its name nor its content is any that is read.
    pub fn of(path: &Path) -> Option<Self> {
        Self::by_name(path).or_else(|| (is_file(path) && read::format_of(path).is_ok()).then_some(Self::Scan))
    }

    /// As which an input is segmented: the pages of a TIFF are a volume where a box is one of a volume.
    #[must_use]
    pub fn with_boxes(self, path: &Path, solid: bool) -> Self {
        if self == Self::Picture && solid && pages::count(path) > 1 { Self::Scan } else { self }
    }

    /// The kind of a file that its name tells.
    pub fn by_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "npz" => Some(Self::Npz),
            "png" | "jpg" | "jpeg" | "tif" | "tiff" | "bmp" | "webp" => Some(Self::Picture),
            "nii" | "nrrd" | "nhdr" | "mha" | "mhd" => Some(Self::Scan),
            _ => None,
        }
    }
}
