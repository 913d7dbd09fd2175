//! The record of what was done to a scan.

use std::fmt;

use serde::{Serialize, Serializer};

/// One thing that was done while a scan was read, or that its user should know. `Display` puts it in words.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "applied", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Applied {
    /// One series of several was chosen, or the only one was read.
    Series {
        /// Its SeriesInstanceUID.
        uid: String,
        /// Its SeriesDescription.
        description: String,
        /// Number of series found.
        of: usize,
    },
    /// Files that are no DICOM images were passed over.
    Ignored {
        /// Their number.
        files: usize,
        /// The first of them, and why.
        first: String,
    },
    /// The number of frames is not what the file says, which is no number.
    FramesCounted {
        /// What the file says.
        text: String,
        /// Number of frames that are there.
        frames: usize,
    },
    /// Slices are missing; positions beyond them are wrong.
    Gap {
        /// Greatest distance of neighbours, in mm.
        distance: f64,
        /// The usual one, in mm.
        usual: f64,
        /// The files on both sides.
        between: [String; 2],
    },
    /// Slices were put in order of their positions along the normal.
    Sorted {
        /// Number of slices.
        slices: usize,
        /// Median distance of neighbours, in mm.
        spacing: f64,
        /// Least distance, in mm.
        least: f64,
        /// Greatest distance, in mm.
        greatest: f64,
    },
    /// The slices are not stacked along their normal; the affine keeps the shear.
    Tilt {
        /// Angle between the stack and the normal, in degrees.
        degrees: f64,
    },
    /// One frame, or one volume of several, was chosen.
    Frame {
        /// Its index, from 0.
        index: usize,
        /// Number of frames.
        of: usize,
    },
    /// Stored values were multiplied and shifted.
    Rescale {
        /// Factor.
        slope: f64,
        /// What was added.
        intercept: f64,
    },
    /// Stored values were multiplied and shifted, by other numbers in each slice.
    RescaleBySlice,
    /// Stored values were mapped by the file's Modality LUT.
    ModalityTable,
    /// Indices were replaced by the colours of the file's palette.
    Palette,
    /// Colours were converted to RGB.
    ToRgb {
        /// What they were.
        from: String,
    },
    /// The opacity of each voxel was dropped.
    OpacityDropped,
    /// Lengths were converted to mm.
    Unit {
        /// The unit of the file.
        from: &'static str,
    },
    /// The affine is made up from the voxel's size, as the file gives none.
    NoOrientation,
    /// No place in the patient is known, nor a slice's distance.
    NoGeometry,
    /// Something else, in words.
    Note(#[serde(serialize_with = "as_text")] String),
}

/// A tagged text must be a field.
fn as_text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Text<'a> {
        text: &'a str,
    }
    Text { text }.serialize(serializer)
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Series { uid, description, of: 1 } => write!(f, "series {uid} ({description})"),
            Self::Series { uid, description, of } => write!(f, "series {uid} ({description}), one of {of}"),
            Self::Ignored { files, first } => write!(f, "{files} other files passed over, such as {first}"),
            Self::FramesCounted { text, frames } => write!(f, "NumberOfFrames is '{text}'; {frames} frames are there"),
            Self::Gap { distance, usual, between: [below, above] } => write!(
                f,
                "slices are missing: {distance:.3} mm between {below} and {above} where {usual:.3} mm is usual; positions \
                 beyond them are wrong"
            ),
            Self::Sorted { slices, spacing, least, greatest } => write!(
                f,
                "{slices} slices in order of position, {spacing:.4} mm apart (median; {least:.4} to {greatest:.4})"
            ),
            Self::Tilt { degrees } => write!(f, "slices are tilted by {degrees:.2} degrees; the affine keeps it"),
            Self::Frame { index, of } => write!(f, "frame {index} of 0 to {}", of - 1),
            Self::Rescale { slope, intercept } => write!(f, "values times {slope} plus {intercept}"),
            Self::RescaleBySlice => f.write_str("values rescaled by slope and intercept of each slice"),
            Self::ModalityTable => f.write_str("values mapped by the file's Modality LUT"),
            Self::Palette => f.write_str("colours of the file's palette"),
            Self::ToRgb { from } => write!(f, "{from} converted to RGB"),
            Self::OpacityDropped => f.write_str("without opacity"),
            Self::Unit { from } => write!(f, "lengths converted from {from} to mm"),
            Self::NoOrientation => f.write_str("no orientation in the file: only voxel sizes are known"),
            Self::NoGeometry => f.write_str("no position in the patient, nor a distance of slices, is known"),
            Self::Note(text) => f.write_str(text),
        }
    }
}

impl Applied {
    /// In words for others than who has the files: without names of files, and without what the files say in words or by
    /// number of whom they are of.
    pub fn anonymous(&self) -> String {
        match self {
            Self::Series { of: 1, .. } => "one series".into(),
            Self::Series { of, .. } => format!("one series of {of}"),
            Self::Ignored { files, .. } => format!("{files} other files passed over"),
            Self::FramesCounted { frames, .. } => format!("{frames} frames, which the file does not tell"),
            Self::Gap { distance, usual, .. } => format!(
                "slices are missing: {distance:.3} mm where {usual:.3} mm is usual; positions beyond them are wrong"
            ),
            other => other.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_json() {
        let json = |applied: Applied| serde_json::to_string(&applied).unwrap();
        assert_eq!(json(Applied::Note("a \"b\"".into())), r#"{"applied":"note","text":"a \"b\""}"#);
        assert_eq!(json(Applied::NoGeometry), r#"{"applied":"no-geometry"}"#);
        assert_eq!(json(Applied::Frame { index: 1, of: 3 }), r#"{"applied":"frame","index":1,"of":3}"#);
    }
}
