//! Regions of interest as 3D Slicer saves them (`.mrk.json`, schema 1.0.0 to 1.0.4).

use serde::Deserialize;

use super::{BoxProblem, FileBoxes, MAX_BOXES, PatientBox, System};
use crate::scan::dot;

#[derive(Deserialize)]
struct Document {
    markups: Vec<Markup>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Markup {
    #[serde(rename = "type")]
    kind: String,
    coordinate_system: Option<String>,
    coordinate_units: Option<Units>,
    roi_type: Option<String>,
    center: Option<[f64; 3]>,
    /// Row by row; its columns are the box's axes.
    orientation: Option<[f64; 9]>,
    size: Option<[f64; 3]>,
    #[serde(default)]
    inside_out: bool,
}

/// A unit of UCUM, alone or as the first of a DICOM code.
#[derive(Deserialize)]
#[serde(untagged)]
enum Units {
    Name(String),
    Code(Vec<String>),
}

const ALONG_AXES: [f64; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

pub(super) fn parse(text: &str) -> Result<FileBoxes, BoxProblem> {
    let Document { markups } = serde_json::from_str(text)?;
    let (regions, others): (Vec<_>, Vec<_>) = markups.iter().enumerate().partition(|(_, m)| m.kind == "ROI");
    match regions.len() {
        0 => Err(BoxProblem::Empty),
        1..=MAX_BOXES => {
            let boxes =
                regions.into_iter().map(|(index, markup)| markup.patient_box(index)).collect::<Result<_, _>>()?;
            Ok(FileBoxes::Patient(boxes, others.len()))
        }
        _ => Err(BoxProblem::TooMany),
    }
}

impl Markup {
    fn patient_box(&self, index: usize) -> Result<PatientBox, BoxProblem> {
        let bad = |field, found: String, expected| {
            let found = found.chars().take(80).collect();
            BoxProblem::Markup { index, field, found, expected }
        };
        let system = match self.coordinate_system.as_deref() {
            None | Some("LPS") => System::Lps,
            Some("RAS") => System::Ras,
            Some(other) => return Err(bad("coordinateSystem", other.into(), "LPS or RAS")),
        };
        let unit = match &self.coordinate_units {
            None => "mm",
            Some(Units::Name(name)) => name,
            Some(Units::Code(code)) => code.first().map_or("", String::as_str),
        };
        let scale = match unit {
            "mm" => 1.0,
            "um" => 1e-3,
            other => return Err(bad("coordinateUnits", other.into(), "mm or um")),
        };
        if let Some(other) = self.roi_type.as_deref().filter(|kind| !matches!(*kind, "Box" | "BoundingBox")) {
            return Err(bad("roiType", other.into(), "Box or BoundingBox"));
        }
        if self.inside_out {
            return Err(bad("insideOut", "true".into(), "false"));
        }
        let centre = self.center.ok_or_else(|| bad("center", "missing".into(), "three numbers"))?;
        let size = self.size.ok_or_else(|| bad("size", "missing".into(), "three numbers above 0"))?;
        if size.iter().any(|s| *s <= 0.0) {
            return Err(bad("size", format!("{size:?}"), "three numbers above 0"));
        }
        let [a, b, c, d, e, f, g, h, i] = self.orientation.unwrap_or(ALONG_AXES);
        let axes = [[a, d, g], [b, e, h], [c, f, i]];
        let near = |value: f64, target: f64| (value - target).abs() < 1e-3;
        let [x, y, z] = axes;
        let is_rotation = axes.iter().all(|axis| near(dot(*axis, *axis), 1.0))
            && [(x, y), (y, z), (z, x)].iter().all(|(one, other)| near(dot(*one, *other), 0.0));
        if !is_rotation {
            let found = format!("{:?}", [a, b, c, d, e, f, g, h, i]);
            return Err(bad("orientation", found, "columns of length 1 at right angles"));
        }
        let mut arms = axes;
        for (arm, size) in arms.iter_mut().zip(size) {
            *arm = system.to_ras(arm.map(|v| v * size * scale / 2.0));
        }
        Ok(PatientBox::new(system.to_ras(centre.map(|v| v * scale)), arms))
    }
}
