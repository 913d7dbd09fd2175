//! `segment --csv`: a line for each object.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use umedsam::files::write_atomically;

use crate::report::Report;

/// What every table begins with.
pub(crate) const HEADER: &str = "input,label,name,size,predicted_iou,score,unit,area,volume,first_x,first_y,first_z,last_x,last_y,last_z,\
extent_x,extent_y,extent_z,centroid_x,centroid_y,centroid_z,longest_diameter,perpendicular_diameter,diameter_slice,\
mean_intensity";

/// Writes a line for each object of each input.
pub(crate) fn write(path: &Path, reports: &[Report]) -> anyhow::Result<()> {
    let mut csv = format!("{HEADER}\n");
    for report in reports {
        for object in &report.objects {
            let name = object.name.as_deref().unwrap_or_default();
            let score = object.score.map(f64::from);
            // Writing to a text cannot fail.
            let _ = write!(csv, "{},{},{},{},", quoted(&report.input), object.label, quoted(name), object.size);
            let _ = write!(csv, "{},{}", object.predicted_iou, optional(score));
            match &object.measures {
                Some(measures) => {
                    let _ = write!(csv, ",{}", measures.unit);
                    measures.numbers().iter().for_each(|number| {
                        let _ = write!(csv, ",{}", optional(*number));
                    });
                }
                None => csv.push_str(&",".repeat(HEADER.split(',').count() - 6)),
            }
            csv.push('\n');
        }
    }
    write_atomically(path, |file| file.write_all(csv.as_bytes())).with_context(|| path.display().to_string())
}

fn optional(number: Option<f64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

/// A field as RFC 4180 has it.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.into(),
    }
}
