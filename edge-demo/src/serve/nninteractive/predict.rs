//! What changes the object: boxes, an object to begin with, a step back.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use umedsam::{Error, PixelBox, VoxelBox};

use super::super::api::json_body;
use super::super::app::App;
use super::super::held::{Shown, room};
use super::super::planes::{Plane, sides};
use super::super::refusal::Refusal;
use super::super::volume::start;
use super::array::{Packed, pack};
use super::leases::Touch;
use super::target::{Region, Target};
use super::{META, token, work};

/// The client waits 60 seconds for an answer.
const TIME: Duration = Duration::from_secs(50);

/// The part of the object that changed, or that nothing did.
fn answer(target: &Target, ran: bool, changed: Option<&Region>) -> Response {
    let mut meta = json!({ "ran_prediction": ran, "bbox": null });
    let mut body = Vec::new();
    if let Some(region) = changed {
        let shape = region.each_ref().map(Range::len);
        body = pack(&target.cut(region), shape, target.kind);
        meta["bbox"] = json!(region.each_ref().map(|side| [side.start, side.end]));
        meta["dtype"] = json!(target.kind.name());
        meta["shape"] = json!(shape);
    }
    let mut response = ([(CONTENT_TYPE, "application/octet-stream")], body).into_response();
    if let Ok(value) = HeaderValue::from_str(&meta.to_string()) {
        response.headers_mut().insert(META, value);
    }
    response
}

#[derive(Debug, Deserialize)]
struct Boxed {
    bbox_coords: Vec<[i64; 2]>,
    include_interaction: bool,
    #[serde(default = "yes")]
    run_prediction: bool,
}

const fn yes() -> bool {
    true
}

pub(super) async fn add_box(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let mut work = work(&app, &headers).await?;
    let asked: Boxed = json_body(&app, &headers, body).await?;
    let Some((image, _)) = &work.image else { return Err(Refusal::bad("set_image comes first")) };
    let image = image.clone();
    let Some((target, _)) = &mut work.target else { return Err(Refusal::bad("set_target_buffer comes first")) };
    if !asked.include_interaction {
        return Err(Refusal::bad(
            "this model takes boxes around an object, not boxes to leave out; undo, or draw another",
        ));
    }
    if !asked.run_prediction {
        return Err(Refusal::bad("this model answers each box by itself; run_prediction must be true"));
    }
    let region = clip(&asked.bbox_coords, target.shape)?;
    let (region, found) = match region.iter().position(|side| side.len() == 1) {
        Some(axis) => slice(&app, image, axis, &region).await?,
        None => volume(&app, image, &region).await?,
    };
    let changed = target.replace(&region, &found);
    Ok(answer(target, true, changed.as_ref()))
}

/// The voxels of a box that the image has.
fn clip(coordinates: &[[i64; 2]], shape: [usize; 3]) -> Result<Region, Refusal> {
    let sides: &[[i64; 2]; 3] =
        coordinates.try_into().map_err(|_| Refusal::bad(format!("{} sides; 3 are expected", coordinates.len())))?;
    let mut region = [0..0, 0..0, 0..0];
    for (axis, (&[from, to], &side)) in sides.iter().zip(&shape).enumerate() {
        let clipped = from.clamp(0, side as i64) as usize..to.clamp(0, side as i64) as usize;
        if clipped.is_empty() {
            let words = format!("the box has no voxel of the image along axis {axis}: {from} to {to} of 0 to {side}");
            return Err(Refusal::bad(words));
        }
        region[axis] = clipped;
    }
    Ok(region)
}

/// The mask of a slice along any axis, which takes the place of what the object had there.
async fn slice(app: &App, image: Arc<Shown>, axis: usize, region: &Region) -> Result<(Region, Vec<u8>), Refusal> {
    let plane = Plane { axis, index: region[axis].start };
    let [down, across] = plane.axes().map(|axis| region[axis].clone());
    let one = PixelBox::new(across.start as f64, down.start as f64, (across.end - 1) as f64, (down.end - 1) as f64);
    let mut whole = sides(image.size).map(|side| 0..side);
    whole[axis] = region[axis].clone();
    let found = app.run(move |session| image.masks(session, plane, &[one], false)).await?;
    let found = found.into_iter().next().ok_or_else(Refusal::failed)?;
    Ok((whole, found.mask))
}

/// The object in a box in 3D, which takes the place of what there was in its slices.
async fn volume(app: &App, image: Arc<Shown>, region: &Region) -> Result<(Region, Vec<u8>), Refusal> {
    let [z, y, x] = region.clone().map(|side| (side.start, side.end - 1));
    let corner = |(x, y, z): (usize, usize, usize)| [x, y, z].map(|v| v as f64);
    let ([x0, y0, z0], [x1, y1, z1]) = (corner((x.0, y.0, z.0)), corner((x.1, y.1, z.1)));
    let size = image.size;
    let _room = room(&app.budget, 3 * (size.depth * size.height * size.width) as u64)?;
    let (_progress, pending) = start(app, image, VoxelBox::new(x0, y0, z0, x1, y1, z1), TIME)?;
    let object = match tokio::time::timeout(TIME + Duration::from_secs(5), pending).await {
        Ok(found) => found.ok_or_else(Refusal::failed)?,
        Err(_) => return Err(Refusal::busy("the threads are taken by other volumes", 10)),
    };
    let object = object.map_err(|error| match error {
        // What was encoded is kept: the next try goes on from there.
        Error::Cancelled { done, total } => {
            let seconds = TIME.as_secs();
            Refusal::bad(format!(
                "{done} of {total} slices in {seconds} s, which is all the client waits: draw it again"
            ))
        }
        other => other.into(),
    })?;
    let area = size.height * size.width;
    let labels = &object.labels[region[0].start * area..region[0].end * area];
    let found = labels.iter().map(|&label| u8::from(label > 0)).collect();
    Ok(([region[0].clone(), 0..size.height, 0..size.width], found))
}

/// The client has put this object in its own buffer already.
pub(super) async fn begin(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let mut work = work(&app, &headers).await?;
    let (bytes, body_room) = app.body(&headers, body).await?;
    let Some((target, _)) = &mut work.target else { return Err(Refusal::bad("set_target_buffer comes first")) };
    let (shape, reader) = (target.shape, app.clone());
    let mask = app.read(move || {
        let array = Packed::new(&bytes)?;
        if array.shape != shape {
            return Err(Refusal::bad(format!("shape is {:?}; {shape:?} expected", array.shape)));
        }
        let _room = room(&reader.budget, array.bytes as u64)?;
        let values = array.values()?;
        drop(body_room);
        let umedsam::intensity::Values::U8(mut mask) = values else {
            return Err(Refusal::bad("a mask of uint8 or bool is expected"));
        };
        mask.iter_mut().for_each(|v| *v = u8::from(*v != 0));
        Ok(mask)
    });
    target.begin(mask.await?);
    Ok(answer(target, false, None))
}

pub(super) async fn undo(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let mut work = work(&app, &headers).await?;
    let Some((target, _)) = &mut work.target else { return Err(Refusal::bad("set_target_buffer comes first")) };
    let changed = target.undo();
    Ok(answer(target, changed.is_some(), changed.as_ref()))
}

/// Each box has been answered; nothing waits for a prediction.
pub(super) async fn again(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let work = work(&app, &headers).await?;
    let Some((target, _)) = &work.target else { return Err(Refusal::bad("set_target_buffer comes first")) };
    Ok(answer(target, false, None))
}

/// Points, scribbles and lassos.
pub(super) async fn refuse(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refusal> {
    app.leases.touch(token(&headers), Touch::Use)?;
    Err(Refusal::bad("this model is prompted by boxes only: draw one around the object"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_clipped() {
        let shape = [10, 20, 30];
        assert_eq!(clip(&[[-5, 3], [4, 5], [7, 99]], shape).unwrap(), [0..3, 4..5, 7..30]);
        for bad in [vec![[0, 1], [0, 1]], vec![[3, 3], [0, 1], [0, 1]], vec![[0, 1], [25, 30], [0, 1]]] {
            assert!(clip(&bad, shape).is_err(), "{bad:?}");
        }
        assert!(clip(&[[i64::MIN, i64::MAX], [5, 2], [0, 1]], shape).is_err());
    }
}
