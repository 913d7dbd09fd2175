//! Boxes in JSON.

use serde::Deserialize;

use super::{BoxProblem, FileBoxes, Row, of_rows};

#[derive(Deserialize)]
#[serde(untagged, expecting = "a list of boxes, or an object whose `boxes` is one, expected")]
enum Document {
    List(Vec<Item>),
    Object(Object),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    boxes: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a box is x0, y0, x1, y1 or x0, y0, z0, x1, y1, z1, as a list of numbers or by name")]
enum Item {
    Plane([f64; 4]),
    Volume([f64; 6]),
    NamedVolume(NamedVolume),
    NamedPlane(NamedPlane),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedPlane {
    x0: f64,
    y0: f64,
    x1: f64,
    y1: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedVolume {
    x0: f64,
    y0: f64,
    z0: f64,
    x1: f64,
    y1: f64,
    z1: f64,
}

pub(super) fn parse(text: &str) -> Result<FileBoxes, BoxProblem> {
    let (Document::List(items) | Document::Object(Object { boxes: items })) = serde_json::from_str(text)?;
    of_rows(items.into_iter().map(|item| {
        Ok(match item {
            Item::Plane([x0, y0, x1, y1]) | Item::NamedPlane(NamedPlane { x0, y0, x1, y1 }) => {
                Row { x: [x0, x1], y: [y0, y1], z: None }
            }
            Item::Volume([x0, y0, z0, x1, y1, z1]) | Item::NamedVolume(NamedVolume { x0, y0, z0, x1, y1, z1 }) => {
                Row { x: [x0, x1], y: [y0, y1], z: Some([z0, z1]) }
            }
        })
    }))
}
