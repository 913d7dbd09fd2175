//! Where a frame lies in the patient.

use dicom_dictionary_std::tags;

use super::attributes::{array, group, number, numbers, text};
use super::elements::Elements;
use crate::read::Problem;
use crate::scan::{cross, dot, length, times};

/// A frame's place, in DICOM's directions (LPS).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plane {
    /// The centre of the first pixel.
    pub(super) position: [f64; 3],
    /// The same as the file writes it.
    pub(super) written: String,
    /// Direction of a row, with growing x.
    pub(super) row: [f64; 3],
    /// Direction of a column, with growing y.
    pub(super) column: [f64; 3],
    /// Size of a pixel along x and y, in mm.
    pub(super) pixel: [f64; 2],
}

impl Plane {
    /// The place of a frame, if the object tells position, orientation and the size of a pixel.
    /// One position at the top is not that of each of several frames.
    pub(super) fn read(elements: &Elements, frame: usize, frames: usize) -> Result<Option<Self>, Problem> {
        let place = group(elements, frame, tags::PLANE_POSITION_SEQUENCE);
        let offsets = numbers(elements, tags::GRID_FRAME_OFFSET_VECTOR)?;
        if frames > 1 && offsets.is_none() && std::ptr::eq(place, elements) {
            return Ok(None);
        }
        let turned = group(elements, frame, tags::PLANE_ORIENTATION_SEQUENCE);
        let position: Option<[f64; 3]> = array(place, tags::IMAGE_POSITION_PATIENT)?;
        let directions: Option<[f64; 6]> = array(turned, tags::IMAGE_ORIENTATION_PATIENT)?;
        let (Some(mut position), Some([a, b, c, d, e, f]), Some(pixel)) =
            (position, directions, pixel(elements, frame)?)
        else {
            return Ok(None);
        };
        let (row, column) = ([a, b, c], [d, e, f]);
        let unit = |v| (length(v) - 1.0).abs() < 1e-2;
        if !unit(row) || !unit(column) || dot(row, column).abs() > 1e-2 {
            let found = format!("{row:?} and {column:?}");
            return Err(Problem::field("ImageOrientationPatient", found, "two unit vectors at a right angle"));
        }
        let mut written = text(place, tags::IMAGE_POSITION_PATIENT).unwrap_or_default();
        // Of a dose grid all frames have one position, and offsets along the normal.
        if let Some(offsets) = offsets {
            let Some(offset) = offsets.get(frame) else { return Ok(None) };
            let moved = times(cross(row, column), offset - offsets[0]);
            position = [0, 1, 2].map(|i| position[i] + moved[i]);
            written = position.map(|v| v.to_string()).join("\\");
        }
        Ok(Some(Self { position, written, row, column, pixel }))
    }

    pub(super) fn normal(&self) -> [f64; 3] {
        cross(self.row, self.column)
    }

    /// The place along a normal.
    pub(super) fn along(&self, normal: [f64; 3]) -> f64 {
        dot(self.position, normal)
    }

    /// Whether two frames can be slices of one volume.
    pub(super) fn parallel(&self, other: &Self) -> bool {
        let near = |a: &[f64], b: &[f64], by: f64| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= by);
        near(&self.row, &other.row, 1e-3)
            && near(&self.column, &other.column, 1e-3)
            && near(&self.pixel, &other.pixel, 1e-4 * self.pixel[0])
    }
}

/// Size of a pixel along x and y in mm: in the patient, else at the detector.
pub(super) fn pixel(elements: &Elements, frame: usize) -> Result<Option<[f64; 2]>, Problem> {
    let measures = group(elements, frame, tags::PIXEL_MEASURES_SEQUENCE);
    let found = match array::<2>(measures, tags::PIXEL_SPACING)? {
        None => array::<2>(elements, tags::IMAGER_PIXEL_SPACING)?,
        found => found,
    };
    match found {
        Some([y, x]) if x > 0.0 && y > 0.0 => Ok(Some([x, y])),
        // Zeros are how some detectors say that they don't know.
        Some([0.0, 0.0]) | None => Ok(None),
        Some(wrong) => Err(Problem::field("PixelSpacing", format!("{wrong:?}"), "two lengths above 0")),
    }
}

/// A slice's thickness in mm, for a volume of one slice.
pub(super) fn thickness(elements: &Elements, frame: usize) -> Result<Option<f64>, Problem> {
    let measures = group(elements, frame, tags::PIXEL_MEASURES_SEQUENCE);
    Ok(number(measures, tags::SLICE_THICKNESS)?.filter(|t| *t > 0.0))
}
