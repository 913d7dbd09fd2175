//! The boxes that are asked for.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::Args;
use umedsam::{PixelBox, VoxelBox};
use umedsam_demo::boxes::{FileBoxes, PatientBox, System, read_boxes};
use umedsam_demo::scan::{Applied, Scan};

use crate::input::{parse_box, parse_box3d};
use umedsam_demo::kind::Kind;

#[derive(Args, Clone, Debug)]
pub(crate) struct PromptArguments {
    /// A box in pixels, both corners included; once for each object. For pictures and single slices, and with --slice for
    /// volumes.
    #[arg(long = "box", value_name = "X0,Y0,X1,Y1", value_parser = parse_box, allow_hyphen_values = true)]
    plane: Vec<PixelBox>,
    /// A box in voxels, both corners included, x, y and z from 0, or with --mm in mm; once for each object. For volumes in
    /// DICOM and NIfTI.
    #[arg(long = "box3d", value_name = "X0,Y0,Z0,X1,Y1,Z1", value_parser = parse_box3d, allow_hyphen_values = true)]
    volume: Vec<VoxelBox>,
    /// The slice of the boxes in a volume, from 0: each object is followed from it both ways until it ends, as far as that
    /// can be told; look at the ends.
    #[arg(long, value_name = "Z")]
    slice: Option<usize>,
    /// Boxes in volumes are in mm in the patient: ras, to the right, the front and the head as in NIfTI, or lps, to the left,
    /// the back and the head as in DICOM.
    #[arg(long, value_name = "ras|lps")]
    mm: Option<System>,
    /// Boxes from a file: CSV with a line of the names x0,y0,x1,y1 or x0,y0,z0,x1,y1,z1, JSON with a list of boxes, or
    /// regions of interest of 3D Slicer (.mrk.json), which are in mm.
    #[arg(long = "boxes", value_name = "FILE", conflicts_with_all = ["plane", "volume"])]
    file: Option<PathBuf>,
}

/// A box in a volume.
#[derive(Clone, Copy, Debug)]
enum Solid {
    Voxels(VoxelBox),
    Patient(PatientBox),
}

/// The boxes that are asked for: in images and slices, or in volumes.
#[derive(Clone, Debug)]
pub(crate) struct Prompts {
    pub(crate) plane: Vec<PixelBox>,
    volume: Vec<Solid>,
    pub(crate) slice: Option<usize>,
    /// What was passed over.
    note: Option<String>,
}

/// What is to be done with a scan.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// Boxes in an image.
    Plane(Vec<PixelBox>),
    /// Boxes in a slice of a volume, whose objects are followed.
    Follow(usize, Vec<PixelBox>),
    /// Boxes in a volume.
    Volume(Vec<VoxelBox>),
}

impl Task {
    /// The boxes within their planes.
    pub(crate) fn planes(&self) -> Vec<PixelBox> {
        match self {
            Self::Plane(boxes) | Self::Follow(_, boxes) => boxes.clone(),
            Self::Volume(boxes) => boxes.iter().map(|b| b.plane).collect(),
        }
    }

    /// The number of boxes.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Plane(boxes) | Self::Follow(_, boxes) => boxes.len(),
            Self::Volume(boxes) => boxes.len(),
        }
    }

    /// The slice that the boxes are in, if it is one.
    pub(crate) fn slice(&self) -> Option<usize> {
        match self {
            Self::Follow(z, _) => Some(*z),
            Self::Plane(_) | Self::Volume(_) => None,
        }
    }
}

impl PromptArguments {
    /// The boxes, from the file if one is named.
    pub(crate) fn read(&self) -> anyhow::Result<Prompts> {
        let (mut plane, mut solid, mut patient, mut note) = (self.plane.clone(), self.volume.clone(), Vec::new(), None);
        match self.file.as_deref().map(read_boxes).transpose()? {
            Some(FileBoxes::Plane(boxes)) => plane = boxes,
            Some(FileBoxes::Volume(boxes)) => solid = boxes,
            Some(FileBoxes::Patient(boxes, others)) => {
                patient = boxes;
                note =
                    (others > 0).then(|| format!("{others} markups that are no regions of interest are passed over"));
            }
            None | Some(_) => {}
        }
        let volume: Vec<Solid> = match self.mm {
            None => solid.into_iter().map(Solid::Voxels).chain(patient.into_iter().map(Solid::Patient)).collect(),
            Some(_) if !patient.is_empty() => bail!("--mm: a file of 3D Slicer says itself what its numbers are"),
            Some(_) if solid.is_empty() => bail!("--mm is for boxes in volumes: --box3d, or six numbers in --boxes"),
            Some(system) => {
                let along = |(b, label): (&VoxelBox, usize)| {
                    PatientBox::along_axes(b, system).map(Solid::Patient).map_err(|e| anyhow!("box {label}: {e}"))
                };
                solid.iter().zip(1..).map(along).collect::<anyhow::Result<_>>()?
            }
        };
        if self.slice.is_some() && !volume.is_empty() {
            bail!("--slice is for boxes of four numbers; a box in a volume says itself which slices it holds");
        }
        if self.slice.is_some() && plane.is_empty() {
            bail!("--slice needs at least one --box x0,y0,x1,y1 in that slice");
        }
        Ok(Prompts { plane, volume, slice: self.slice, note })
    }
}

impl Prompts {
    /// Whether something is asked for that only DICOM and NIfTI have.
    pub(crate) fn are_of_scans(&self) -> bool {
        !self.volume.is_empty() || self.slice.is_some()
    }

    /// Checks that an input of this kind has boxes.
    pub(crate) fn check(&self, path: &Path, kind: Kind) -> anyhow::Result<()> {
        let is_given = !self.plane.is_empty() || !self.volume.is_empty();
        match kind {
            Kind::Picture if self.plane.is_empty() => {
                bail!("{}: a picture needs at least one --box x0,y0,x1,y1", path.display())
            }
            Kind::Npz if is_given => {
                bail!("{}: an NPZ case brings its own boxes; --box is for pictures", path.display())
            }
            Kind::Scan if !is_given => bail!(
                "{}: a volume needs at least one --box3d x0,y0,z0,x1,y1,z1, or --slice with --box; an image one --box",
                path.display()
            ),
            _ => Ok(()),
        }
    }

    /// What is to be done with a scan, and what is to be told of it.
    pub(crate) fn task(&self, scan: &Scan) -> anyhow::Result<(Task, Vec<Applied>)> {
        let depth = scan.size.depth;
        let mut notes: Vec<String> = self.note.iter().cloned().collect();
        let task = match (depth > 1, self.slice) {
            (true, Some(z)) => Task::Follow(z, self.plane.clone()),
            (true, None) if self.volume.is_empty() => {
                bail!("a volume of {depth} slices, which needs --box3d, --slice, or one of them by --frame")
            }
            (true, None) => {
                notes.extend((!self.plane.is_empty()).then(|| "--box is for images: not used".into()));
                Task::Volume(self.volume.iter().map(|b| b.to_voxels(scan)).collect::<anyhow::Result<_>>()?)
            }
            (false, _) if self.plane.is_empty() => bail!("a single slice, which needs --box"),
            (false, slice) => {
                notes.extend((!self.volume.is_empty()).then(|| "--box3d is for volumes: not used".into()));
                notes.extend(slice.map(|_| "--slice is for volumes: not used".into()));
                Task::Plane(self.plane.clone())
            }
        };
        if let Task::Volume(boxes) = &task {
            for ((asked, b), label) in self.volume.iter().zip(boxes).zip(1..) {
                if matches!(asked, Solid::Patient(_)) {
                    let VoxelBox { plane: PixelBox { x0, y0, x1, y1 }, z0, z1, .. } = b;
                    notes.push(format!("box {label} is {x0:.1},{y0:.1},{z0},{x1:.1},{y1:.1},{z1} in voxels"));
                }
            }
        }
        Ok((task, notes.into_iter().map(Applied::Note).collect()))
    }
}

impl Solid {
    fn to_voxels(self, scan: &Scan) -> anyhow::Result<VoxelBox> {
        match self {
            Self::Voxels(b) => Ok(b),
            Self::Patient(b) => match scan.affine.filter(|affine| affine.is_regular()) {
                Some(affine) => Ok(b.to_voxels(&affine)),
                None => bail!("its place in the patient is not known, so boxes in mm have no meaning"),
            },
        }
    }
}
