//! Files of label maps in each format that is written.

use std::path::Path;

use anyhow::{Context, bail};
use clap::ValueEnum;
use umedsam::npz::write_segs;

use crate::dicom::Segmentation;
use crate::labels::Grid;
use crate::objects::Object;
use crate::png_file::write_labels;
use crate::scan::{Origin, Scan};
use crate::{nifti, nrrd, polygons};

/// The format of label maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Gray PNG whose values are the labels; of images
    Png,
    /// NPZ with the array `segs`
    Npz,
    /// NIfTI; of DICOM, NIfTI and NPZ
    Nifti,
    /// DICOM segmentation, one segment for each object; of DICOM only
    Seg,
    /// NRRD as 3D Slicer has segmentations; of DICOM, NIfTI and NPZ
    Nrrd,
    /// Outlines as GeoJSON, in pixels; of images
    Geojson,
    /// Outlines as COCO has annotations; of images
    Coco,
}

impl Format {
    /// The ending of its files.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Png => ".mask.png",
            Self::Npz => ".npz",
            Self::Nifti => ".nii.gz",
            Self::Seg => ".seg.dcm",
            Self::Nrrd => ".seg.nrrd",
            Self::Geojson => ".geojson",
            Self::Coco => ".coco.json",
        }
    }

    const fn is_flat(self) -> bool {
        matches!(self, Self::Png | Self::Geojson | Self::Coco)
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
    }

    /// Refuses what cannot be written of an image or volume.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check(self, input: &Path, depth: usize, scan: Option<&Scan>) -> anyhow::Result<()> {
        if depth > 1 && self.is_flat() {
            bail!("{}: a volume of {depth} slices; --format {} is for images", input.display(), self.name());
        }
        if self == Self::Seg {
            let scan = scan.with_context(|| format!("{}: --format seg is for DICOM", input.display()))?;
            Segmentation::of(scan).with_context(|| format!("{} (--format nifti is written)", input.display()))?;
        }
        Ok(())
    }

    /// Writes a label map.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(self, path: &Path, found: &Found<'_>) -> anyhow::Result<()> {
        let Found { labels, grid, objects, .. } = found;
        let (width, height) = (grid.size.width, grid.size.height);
        let image = || found.input.file_name().unwrap_or_default().to_string_lossy();
        let written = match self {
            Self::Png => write_labels(path, labels, width, height),
            Self::Npz => write_segs(path, labels, found.shape).map_err(Into::into),
            Self::Nifti => {
                let forms = found.scan.and_then(|scan| match &scan.origin {
                    Origin::Nifti(forms) => Some(forms),
                    _ => None,
                });
                nifti::write_labels(path, labels, grid, forms).map_err(Into::into)
            }
            Self::Seg => match found.scan.map(Segmentation::of) {
                Some(Ok(seg)) => seg.write(path, labels, objects).map_err(Into::into),
                Some(Err(error)) => Err(error.into()),
                None => bail!("{}: no DICOM, to which --format seg refers", found.input.display()),
            },
            Self::Nrrd => nrrd::write_labels(path, labels, grid, objects).map_err(Into::into),
            Self::Geojson => polygons::write_geojson(path, labels, width, height, objects).map_err(Into::into),
            Self::Coco => polygons::write_coco(path, labels, (width, height), objects, &image()).map_err(Into::into),
        };
        written.with_context(|| path.display().to_string())
    }
}

/// A label map that was found, to be written.
pub struct Found<'a> {
    /// The input, for messages.
    pub input: &'a Path,
    /// The labels; 0 is background.
    pub labels: &'a [u16],
    /// As NPZ has it.
    pub shape: &'a [usize],
    /// Where they lie.
    pub grid: Grid,
    /// What the input was, of DICOM and NIfTI.
    pub scan: Option<&'a Scan>,
    /// What is told of the objects.
    pub objects: &'a [Object],
}
