//! An image as the page has it: slices along each axis, masks of boxes in them, objects through a volume, and files of what
//! was found. The server answers with these, and so does the page that runs without one.

mod bits;
mod display;
mod image;
mod labels;
mod object;
mod pixels;
mod planes;
mod unfit;

pub use bits::{Packed, each_set, runs};
pub use display::Display;
pub use image::{Choice, Image, Output, file_name};
pub use labels::{Labelled, LabelsAsked};
pub use object::{Asked, Object, Prompt, segment};
pub use pixels::{Current, Found, Heat, Recent, Shown};
pub use planes::{Plane, Region, cut, each_row, paste, sides};
use serde_json::{Value, json};
use umedsam::{Model, ValidationStatus};
pub use unfit::Unfit;

/// The windows that have names.
pub const WINDOWS: [&str; 8] = ["auto", "abdomen", "lung", "brain", "mediastinum", "bone", "file", "percentiles"];

/// What a page is told of a model.
pub fn describe_model(model: &Model) -> Value {
    json!({
        "architecture": model.manifest().architecture,
        "storage": model.manifest().storage.to_string(),
        "licence": model.manifest().licence,
        "validation": match model.validation() {
            ValidationStatus::Passed(_) => "passed".to_string(),
            other => other.to_string(),
        },
    })
}
