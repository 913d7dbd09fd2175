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
use tokio::sync::OwnedMutexGuard;
use umedsam::{PixelBox, VoxelBox, errln};
use umedsam_demo::shown::{Plane, Prompt, Region, sides};

use super::super::api::json_body;
use super::super::app::App;
use super::super::held::room;
use super::super::refusal::Refusal;
use super::super::volume::start;
use super::array::{Packed, pack};
use super::leases::{Touch, Work};
use super::target::Target;
use super::{META, first, token, work};

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

/// Makes an answer of the object, whether the network ran, and what changed.
pub(super) type Form = fn(&Target, bool, Option<&Region>) -> Response;

/// Changes the object on a thread that may take its time, and answers.
async fn change(
    app: &App,
    mut work: OwnedMutexGuard<Work>,
    form: Form,
    act: impl FnOnce(&mut Target) -> (bool, Option<Region>) + Send + 'static,
) -> Result<Response, Refusal> {
    app.aside(move || {
        let target = work.target()?;
        let (ran, changed) = act(target);
        Ok(form(target, ran, changed.as_ref()))
    })
    .await
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
    if token(&headers).is_none() {
        return Ok(first::add_box(&app, &headers, body).await);
    }
    let mut work = work(&app, &headers).await?;
    let asked: Boxed = json_body(&app, &headers, body).await?;
    work.image()?;
    let region = clip(&asked.bbox_coords, work.target()?.shape)?;
    if !asked.run_prediction {
        return Err(Refusal::bad("this model answers each box by itself; run_prediction must be true"));
    }
    segment(&app, work, region, asked.include_interaction, answer).await
}

/// Segments the object of a box, which takes the place of what there was in its slices.
pub(super) async fn segment(
    app: &App,
    mut work: OwnedMutexGuard<Work>,
    region: Region,
    include: bool,
    form: Form,
) -> Result<Response, Refusal> {
    let image = work.image()?;
    let target = work.target()?;
    if !include {
        return Err(Refusal::bad(
            "this model takes boxes around an object, not boxes to leave out; undo, or draw another",
        ));
    }
    let (prompt, boxes) = prompt(&region, target);
    let room = room(&app.shared.budget, 3 * sides(image.size).iter().product::<usize>() as u64)?;
    let (_progress, pending) = start(app, image, prompt, TIME, |object, _| object)?;
    let object = match tokio::time::timeout(TIME + Duration::from_secs(5), pending).await {
        Ok(found) => found.ok_or_else(Refusal::failed)??,
        Err(_) => return Err(Refusal::busy("the threads are taken by other volumes", 10)),
    };
    if !object.is_whole {
        let seconds = TIME.as_secs();
        errln!("umedsam: nnInteractive: an object is not whole: its client waits no longer than {seconds} seconds");
    }
    let budget = app.shared.budget.clone();
    change(app, work, form, move |target| {
        let changed = target.replace(&object.region, &object.mask, boxes, &budget);
        drop(room);
        (true, changed)
    })
    .await
}

/// What the network is asked for, and the object's list of boxes afterwards. From a box that is one voxel thick the object is
/// followed through the slices.
fn prompt(region: &Region, target: &Target) -> (Prompt, Vec<Plane>) {
    let from = |axis: usize| region[axis].start as f64;
    let to = |axis: usize| (region[axis].end - 1) as f64;
    let Some(axis) = region.iter().position(|side| side.len() == 1) else {
        return (Prompt::Solid(VoxelBox::new(from(2), from(1), from(0), to(2), to(1), to(0))), Vec::new());
    };
    let plane = Plane { axis, index: region[axis].start };
    let [down, across] = plane.axes();
    let one = PixelBox::new(from(across), from(down), to(across), to(down));
    let (range, boxes) = target.range(plane);
    (Prompt::Slice(plane, one, range), boxes)
}

/// The voxels of a box that the image has.
pub(super) fn clip(coordinates: &[[i64; 2]], shape: [usize; 3]) -> Result<Region, Refusal> {
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

/// The client has put this object in its own buffer already.
pub(super) async fn begin(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let mut work = work(&app, &headers).await?;
    let (bytes, body_room) = app.body(&headers, body, app.limits.body).await?;
    let (shape, reader) = (work.target()?.shape, app.clone());
    let mask = app.read(move || {
        let array = Packed::new(&bytes)?;
        if array.shape != shape {
            return Err(Refusal::bad(format!("shape is {:?}; {shape:?} expected", array.shape)));
        }
        let _room = room(&reader.shared.budget, array.bytes as u64)?;
        let values = array.values()?;
        drop((bytes, body_room));
        let umedsam::intensity::Values::U8(mut mask) = values else {
            return Err(Refusal::bad("a mask of uint8 or bool is expected"));
        };
        mask.iter_mut().for_each(|v| *v = u8::from(*v != 0));
        Ok(mask)
    });
    let mask = mask.await?;
    let target = work.target()?;
    target.begin(mask);
    Ok(answer(target, false, None))
}

pub(super) async fn undo(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let work = work(&app, &headers).await?;
    change(&app, work, answer, |target| {
        let changed = target.undo();
        (changed.is_some(), changed)
    })
    .await
}

/// Each box has been answered; nothing waits for a prediction.
pub(super) async fn again(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let mut work = work(&app, &headers).await?;
    Ok(answer(work.target()?, false, None))
}

/// Points, scribbles and lassos.
pub(super) async fn refuse(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let refusal = Refusal::bad("this model is prompted by boxes only: draw one around the object");
    if token(&headers).is_none() {
        return Ok(first::told(&refusal));
    }
    app.leases.touch(token(&headers), Touch::Use)?;
    Err(refusal)
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
