//! Label maps of whichever format, on the voxels of the image that they belong to.

mod grid;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use grid::{Grid, GridError, Orientation, Voxels};
use umedsam::intensity::{Number, Values};
use umedsam::memory;

use crate::dicom::{Segments, Series};
use crate::read::{Problem, ReadError, ReadOptions, read};
use crate::scan::{Applied, Origin};

/// A label map.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LabelMap {
    /// The label of each voxel, slice by slice, row by row; 0 is background.
    pub labels: Vec<u16>,
    /// Where the voxels lie.
    pub grid: Grid,
    /// Names of labels, where the file has some.
    pub names: BTreeMap<u16, String>,
    /// The labels that are there, each with those of the file that became it.
    pub from: BTreeMap<u16, BTreeSet<u16>>,
    /// What was done while it was read.
    pub applied: Vec<Applied>,
}

impl LabelMap {
    /// A label map on a grid, one label for each voxel.
    ///
    /// # Errors
    /// [`umedsam::Error::BufferSize`] if they are not as many.
    pub fn new(labels: Vec<u16>, grid: Grid) -> Result<Self, umedsam::Error> {
        match grid.voxels() {
            expected if expected != labels.len() => Err(umedsam::Error::BufferSize { expected, actual: labels.len() }),
            _ => {
                let from = present(&labels).map(|label| (label, BTreeSet::from([label]))).collect();
                Ok(Self { labels, grid, names: BTreeMap::new(), from, applied: Vec::new() })
            }
        }
    }
}

/// The labels of a map in ascending order, without the background.
fn present(labels: &[u16]) -> impl Iterator<Item = u16> + use<> {
    let mut seen = vec![false; 1 << 16];
    labels.iter().for_each(|&label| seen[usize::from(label)] = true);
    (1..=u16::MAX).filter(move |&label| seen[usize::from(label)])
}

/// Which labels are kept, and as which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection(Option<BTreeMap<u16, u16>>);

impl Selection {
    /// All labels, as they are.
    pub const fn all() -> Self {
        Self(None)
    }

    /// The label that is made of one; 0 if it is not kept.
    pub fn of(&self, label: u16) -> u16 {
        match &self.0 {
            None => label,
            Some(kept) => kept.get(&label).copied().unwrap_or(0),
        }
    }

    /// The names of those that are kept, the first of several that become one.
    pub(crate) fn named(&self, names: &BTreeMap<u16, String>) -> BTreeMap<u16, String> {
        let mut kept = BTreeMap::new();
        for (&label, name) in names.iter().filter(|(label, name)| self.of(**label) > 0 && !name.is_empty()) {
            kept.entry(self.of(label)).or_insert_with(|| name.clone());
        }
        kept
    }

    /// The labels that are asked for.
    pub fn asked(&self) -> impl Iterator<Item = u16> {
        self.0.iter().flat_map(|kept| kept.keys().copied())
    }
}

impl std::str::FromStr for Selection {
    type Err = String;

    /// Labels, apart by commas: `5` keeps 5, and `5=2` makes 2 of it. Several may become one.
    fn from_str(text: &str) -> Result<Self, String> {
        let label = |text: &str| match text.trim().parse::<u16>() {
            Ok(label) if label > 0 => Ok(label),
            _ => Err(format!("'{text}': a label from 1 to 65535 expected")),
        };
        let mut kept = BTreeMap::new();
        for part in text.split(',') {
            let (from, to) = part.split_once('=').unwrap_or((part, part));
            let from = label(from)?;
            if kept.insert(from, label(to)?).is_some() {
                return Err(format!("label {from} is named twice"));
            }
        }
        Ok(Self(Some(kept)))
    }
}

/// A file of labels.
#[derive(Clone, Debug)]
pub struct Labels {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// A volume of labels.
    Map(LabelMap),
    /// A DICOM segmentation, which has frames where there are labels, and elsewhere none.
    Segments(Segments),
}

impl Labels {
    /// Reads NIfTI or DICOM whose values are labels, or a DICOM segmentation.
    ///
    /// # Errors
    /// [`ReadError`] as for [`read`]; [`Problem::Label`] if a value is no whole number from 0 to 65535.
    pub fn read(path: &Path, options: &ReadOptions) -> Result<Self, ReadError> {
        let kind = match Segments::read(path, options)? {
            Some(segments) => Kind::Segments(segments),
            None => {
                let scan = read(path, options)?;
                if scan.channels != 1 {
                    return Err(Problem::Unsupported("its voxels are colours, not labels".into()).at(path));
                }
                let labels = labels_of(&scan.values).map_err(|problem| problem.at(path))?;
                let map = LabelMap::new(labels, Grid::from(&scan)).map_err(|error| Problem::from(error).at(path))?;
                let names = match scan.origin {
                    Origin::Other(names) => names,
                    _ => BTreeMap::new(),
                };
                Kind::Map(LabelMap { applied: scan.applied, names, ..map })
            }
        };
        Ok(Self { path: path.into(), kind })
    }

    /// Labels that were read by other means. `path` is for messages.
    pub fn of(map: LabelMap, path: &Path) -> Self {
        Self { path: path.into(), kind: Kind::Map(map) }
    }

    /// The labels on an image's voxels. A label map must have the same voxels, if along other axes; the frames of a DICOM
    /// segmentation must lie on them, or, of images without a place, be of images of the `series`.
    ///
    /// # Errors
    /// [`Problem::Grid`] if the voxels are others; [`Problem::Overlap`] if two labels of those that are kept have a voxel
    /// in common, and what frames may have.
    pub fn on(&self, grid: &Grid, series: Option<&Series>, selection: &Selection) -> Result<LabelMap, ReadError> {
        let fail = |problem: Problem| problem.at(&self.path);
        match &self.kind {
            Kind::Segments(segments) => segments.on(grid, series, selection).map_err(fail),
            Kind::Map(map) => {
                // 3D Slicer writes the part of the image that its segments are in.
                let part = !map.names.is_empty() && map.grid.affine.is_some() && grid.affine.is_some();
                let voxels = if part { map.grid.within(grid) } else { map.grid.same(grid) };
                let voxels = voxels.map_err(|error| fail(error.into()))?;
                let mut labels = memory::zeros(grid.voxels()).map_err(|error| fail(error.into()))?;
                voxels.indices().zip(&map.labels).for_each(|(index, label)| labels[index] = *label);
                let mut from: BTreeMap<u16, BTreeSet<u16>> = BTreeMap::new();
                for (label, kept) in map.from.keys().map(|&label| (label, selection.of(label))).filter(|k| k.1 > 0) {
                    from.entry(kept).or_default().insert(label);
                }
                labels.iter_mut().for_each(|label| *label = selection.of(*label));
                let mut applied = map.applied.clone();
                if map.grid.affine.is_none() != grid.affine.is_none() {
                    applied.push(Applied::Note("image and label map are compared by their sizes alone".into()));
                } else if let (Some(own), Some(other)) = (map.grid.affine, grid.affine) {
                    let (own, other) = (own.axes(), other.axes());
                    let turned = format!("the label map's axes point to {own}, the image's to {other}: turned");
                    applied.extend((own != other).then_some(Applied::Note(turned)));
                }
                Ok(LabelMap { labels, grid: *grid, names: selection.named(&map.names), from, applied })
            }
        }
    }

    /// The voxels of a label map; of a DICOM segmentation the least volume of evenly spaced slices that has all its frames,
    /// and those of the other if that is one, too.
    ///
    /// # Errors
    /// [`ReadError`] if frames are not parallel, have no place, or do not lie on such a volume.
    pub fn grid(&self, other: &Self, options: &ReadOptions) -> Result<Grid, ReadError> {
        match (&self.kind, &other.kind) {
            (Kind::Map(map), _) | (_, Kind::Map(map)) => Ok(map.grid),
            (Kind::Segments(a), Kind::Segments(b)) => {
                Segments::grid(&[a, b], options).map_err(|problem| problem.at(&self.path))
            }
        }
    }
}

fn labels_of(values: &Values) -> Result<Vec<u16>, Problem> {
    fn convert<T: Number>(values: &[T]) -> Result<Vec<u16>, Problem> {
        let mut labels = memory::with_room(values.len())?;
        for (index, value) in values.iter().enumerate() {
            let value = value.to_f64();
            if f64::from(value as u16) != value {
                return Err(Problem::Label { index, value });
            }
            labels.push(value as u16);
        }
        Ok(labels)
    }
    match values {
        Values::U8(v) => convert(v),
        Values::I8(v) => convert(v),
        Values::U16(v) => convert(v),
        Values::I16(v) => convert(v),
        Values::U32(v) => convert(v),
        Values::I32(v) => convert(v),
        Values::U64(v) => convert(v),
        Values::I64(v) => convert(v),
        Values::F32(v) => convert(v),
        Values::F64(v) => convert(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_chosen_and_renamed() {
        let chosen: Selection = "1, 5=2,7=2".parse().unwrap();
        assert_eq!([0, 1, 2, 5, 7].map(|label| chosen.of(label)), [0, 1, 0, 2, 2]);
        assert_eq!(chosen.asked().collect::<Vec<_>>(), [1, 5, 7]);
        assert_eq!(Selection::all().of(9), 9);
        for wrong in ["", "0", "1=0", "1,1=2", "65536", "1=a", "1.5"] {
            assert!(wrong.parse::<Selection>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_that_are_no_labels_are_told() {
        assert_eq!(labels_of(&Values::F32(vec![0.0, 3.0, 65_535.0])).unwrap(), [0, 3, 65_535]);
        for (values, place) in
            [(vec![0.0, 0.5], 1), (vec![-1.0], 0), (vec![f64::NAN], 0), (vec![0.0, 0.0, 65_536.0], 2)]
        {
            assert!(matches!(labels_of(&Values::F64(values)), Err(Problem::Label { index, .. }) if index == place));
        }
    }
}
