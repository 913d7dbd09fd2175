//! A box to an object in a volume, with progress.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use umedsam::volume::End;
use umedsam::{Error, PixelBox, VolumeSize, VoxelBox, terminal};

use super::super::app::App;
use super::super::bits::runs;
use super::super::held::room;
use super::super::planes::{Plane, sides};
use super::super::refusal::Refusal;
use super::super::volume::{Object, Prompt, start};
use super::stream::Lines;
use super::{Path, json_body};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Boxed {
    /// x0, y0, z0, x1, y1, z1 in voxels, or the columns and rows x0, y0, x1, y1 of a slice; both ends included. With six
    /// numbers the slice says whose section of the object x and y are.
    #[serde(rename = "box")]
    numbers: Vec<f64>,
    #[serde(default)]
    axis: usize,
    slice: Option<usize>,
}

impl Boxed {
    fn prompt(&self, size: VolumeSize) -> Result<Prompt, Refusal> {
        match (self.slice, &self.numbers[..]) {
            (None, &[x0, y0, z0, x1, y1, z1]) if self.axis == 0 => {
                Ok(Prompt::Solid(VoxelBox::new(x0, y0, z0, x1, y1, z1)))
            }
            (Some(index), &[x0, y0, z0, x1, y1, z1]) if self.axis == 0 => {
                let slice = Plane::new(0, index, size)?.index;
                if !(z0..=z1).contains(&(slice as f64)) {
                    return Err(Refusal::bad(format!("slice is {slice}; one of the box's, {z0} to {z1}, is expected")));
                }
                Ok(Prompt::Solid(VoxelBox::new(x0, y0, z0, x1, y1, z1).with_slice(slice)))
            }
            (Some(index), &[x0, y0, x1, y1]) => {
                let plane = Plane::new(self.axis, index, size)?;
                Ok(Prompt::Slice(plane, PixelBox::new(x0, y0, x1, y1), 0..sides(size)[plane.axis]))
            }
            _ => Err(Refusal::bad("a box of six numbers is expected, or one of four with its slice")),
        }
    }
}

/// Lines of `{"done","total"}`, then one of the object, or of what went wrong. Closing the connection cancels.
pub(super) async fn segment(
    State(app): State<Arc<App>>,
    Path((session, id)): Path<(String, u64)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let image = app.sessions.image(&session, id)?;
    let asked: Boxed = json_body(&app, &headers, body).await?;
    let shown = image.current.get();
    let prompt = asked.prompt(shown.size)?;
    // The labels, and what is made of them.
    let room = room(&app.shared.budget, 3 * sides(shown.size).iter().product::<usize>() as u64)?;
    let (progress, pending) = start(&app, shown, prompt, app.limits.volume, describe)?;
    let finish = move |found| {
        let _room = &room;
        last_line(found)
    };
    let lines = Body::from_stream(Lines::new(progress, pending, finish));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

fn describe(object: Object, size: VolumeSize) -> Value {
    let slices = object.slices(size).map(|(z, slice)| json!({ "slice": z, "runs": runs(&slice) }));
    json!({
        "slices": slices.collect::<Vec<Value>>(),
        "voxels": object.mask.iter().map(|&v| usize::from(v)).sum::<usize>(),
        "iou": object.predicted_iou,
        "complete": object.is_whole,
        "ends": object.ends.map(|ends| ends.map(End::name)),
    })
}

fn last_line(found: Option<Result<Value, Error>>) -> Value {
    match found {
        Some(Ok(object)) => object,
        Some(Err(error)) => json!({ "error": terminal::chain(&error) }),
        None => json!({ "error": Refusal::failed().detail() }),
    }
}
