//! A box in 3D to an object in a volume, with progress.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use umedsam::{Error, VolumeSegmentation, VoxelBox, terminal};

use super::super::app::App;
use super::super::bits::runs;
use super::super::refusal::Refusal;
use super::super::volume::start;
use super::stream::Lines;
use super::{Path, json_body};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Boxed {
    /// x0, y0, z0, x1, y1, z1 in voxels, both ends included.
    #[serde(rename = "box")]
    voxels: [f64; 6],
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
    let [x0, y0, z0, x1, y1, z1] = asked.voxels;
    let shown = image.current.get();
    let area = shown.size.height * shown.size.width;
    // The labels, and what is made of them.
    let room = super::super::held::room(&app.budget, (3 * area * shown.size.depth) as u64)?;
    let voxels = VoxelBox::new(x0, y0, z0, x1, y1, z1);
    let (progress, pending) = start(&app, shown, voxels, app.limits.volume)?;
    let finish = move |found| {
        let _room = &room;
        finished(found, area)
    };
    let lines = Body::from_stream(Lines::new(progress, pending, finish));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

fn finished(found: Option<Result<VolumeSegmentation, Error>>, area: usize) -> Value {
    match found {
        Some(Ok(object)) => {
            let mut slices = Vec::new();
            let mut voxels = 0;
            for (z, slice) in object.labels.chunks_exact(area).enumerate() {
                let mask: Vec<u8> = slice.iter().map(|&label| u8::from(label > 0)).collect();
                let set = mask.iter().filter(|&&v| v > 0).count();
                voxels += set;
                if set > 0 {
                    slices.push(json!({ "slice": z, "runs": runs(&mask) }));
                }
            }
            json!({ "iou": object.predicted_iou[0], "voxels": voxels, "slices": slices })
        }
        Some(Err(error)) => json!({ "error": terminal::chain(&error) }),
        None => json!({ "error": Refusal::failed().detail() }),
    }
}
