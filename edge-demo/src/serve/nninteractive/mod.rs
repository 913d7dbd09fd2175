//! nnInteractive's protocol, version 2, which 3D Slicer's extension (from 1.0) and napari's plugin speak to a server.
//!
//! Axes are those of the client's array: 0 counts slices, 1 rows, 2 columns. A box is half-open. From one that
//! is one voxel thick along an axis the object is followed along it both ways; a thicker one holds the object. A further
//! box of an object replaces it in the slices to which no other is nearer.

mod array;
mod blosc;
mod first;
mod leases;
mod predict;
mod target;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;
use umedsam::VolumeSize;
use umedsam::intensity::{Intake, Values, Window};
use umedsam::{Error, Frame, errln};
use umedsam_demo::shown::{Shown, sides};

use super::api::json_body;
use super::app::App;
use super::held::room;
use super::limits::Room;
use super::refusal::Refusal;
use array::{Kind, Packed};
pub(super) use first::First;
pub(super) use leases::Leases;
use leases::{LIVENESS, Touch, Work};
use target::Target;

const LEASE: &str = "x-lease-token";
const META: &str = "x-meta";

type Answer = Result<Json<Value>, Refusal>;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .merge(first::router())
        .route("/healthz", get(|| async { Json(json!({ "ok": true })) }))
        .route("/claim", post(claim))
        .route("/capabilities", get(capabilities))
        .route("/heartbeat", post(heartbeat))
        .route("/lease_status", get(lease_status))
        .route("/release", post(release))
        .route("/set_image", post(set_image))
        .route("/set_target_buffer", post(set_target_buffer))
        .route("/set_do_autozoom", post(set_do_autozoom))
        .route("/reset_interactions", post(reset_interactions))
        .route("/undo", post(predict::undo))
        .route("/predict", post(predict::again))
        .route("/add_bbox_interaction", post(predict::add_box))
        .route("/add_initial_seg_interaction", post(predict::begin))
        .route("/add_point_interaction", post(predict::refuse))
        .route("/add_scribble_interaction", post(predict::refuse))
        .route("/add_lasso_interaction", post(predict::refuse))
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get(LEASE).and_then(|value| value.to_str().ok())
}

/// What a client works on. Its requests wait for each other.
async fn work(app: &App, headers: &HeaderMap) -> Result<OwnedMutexGuard<Work>, Refusal> {
    let (work, _) = app.leases.touch(token(headers), Touch::Use)?;
    Ok(work.lock_owned().await)
}

async fn claim(State(app): State<Arc<App>>) -> Answer {
    let token = app.leases.claim()?;
    Ok(Json(json!({
        "lease_token": token,
        "idle_timeout_seconds": app.leases.idle.as_secs_f64(),
        "liveness_timeout_seconds": LIVENESS.as_secs_f64(),
        "max_sessions": app.leases.max,
    })))
}

async fn capabilities(State(app): State<Arc<App>>, headers: HeaderMap) -> Answer {
    app.leases.touch(token(&headers), Touch::Use)?;
    let name = app.model["architecture"].as_str().unwrap_or_default();
    let licence = app.model["licence"].as_str().unwrap_or_default();
    Ok(Json(json!({
        "supported_interactions":
            { "points": false, "bbox2d": true, "bbox3d": true, "scribble": false, "lasso": false },
        "channel_mapping": {},
        "num_interaction_channels": 0,
        "supports_initial_label": true,
        "supports_zero_shot_label_refinement": false,
        "preferred_scribble_thickness": [2, 2, 2],
        "interaction_decay": null,
        "patch_size": null,
        "do_autozoom": false,
        "inference_session_version": "2.6.0",
        "license": format!("{licence} ({name})"),
        "supports_undo": true,
    })))
}

async fn heartbeat(State(app): State<Arc<App>>, headers: HeaderMap) -> Answer {
    let (_, left) = app.leases.touch(token(&headers), Touch::Beat)?;
    Ok(Json(json!({ "remaining_seconds": left.as_secs_f64() })))
}

async fn lease_status(State(app): State<Arc<App>>, headers: HeaderMap) -> Answer {
    let (_, left) = app.leases.touch(token(&headers), Touch::Look)?;
    let idle = app.leases.idle.as_secs_f64();
    Ok(Json(json!({ "remaining_seconds": left.as_secs_f64(), "idle_timeout_seconds": idle })))
}

async fn release(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    app.leases.release(token(&headers).unwrap_or_default());
    Json(json!({ "released": true }))
}

async fn set_image(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Answer {
    let mut work = work(&app, &headers).await?;
    let (bytes, body_room) = app.body(&headers, body, app.limits.body).await?;
    let reader = app.clone();
    let image = app.read(move || {
        let array = Packed::new(&bytes)?;
        let [1, depth, height, width] = array.shape[..] else {
            return Err(Refusal::bad(format!("shape is {:?}; [1, slices, rows, columns] expected", array.shape)));
        };
        let size = VolumeSize { depth, height, width };
        check(size)?;
        // Bytes and values go when their 8 bits are made, which stay.
        let _values_room = room(&reader.shared.budget, 2 * array.bytes as u64)?;
        let image = take(array.values()?, size, &reader)?;
        drop((bytes, body_room));
        Ok(image)
    });
    let image = image.await?;
    let VolumeSize { depth, height, width } = image.0.size;
    // The target buffer was of the image before.
    *work = Work { image: Some(image), target: None };
    Ok(Json(json!({ "original_image_shape": [1, depth, height, width] })))
}

/// Makes an image of a client's values.
fn take(values: Values, size: VolumeSize, app: &App) -> Result<(Arc<Shown>, Room), Refusal> {
    let VolumeSize { depth, height, width } = size;
    let room = room(&app.shared.budget, (depth * height * width) as u64)?;
    let (pixels, intake) = shown(values)?;
    errln!("umedsam: nnInteractive: an image of {depth}x{height}x{width}, {intake}");
    Ok((Arc::new(Shown::new(pixels, 1, size, &app.shared.recent)), room))
}

/// Refuses a volume with a side of 0 or an absurd one, in whichever plane it is looked at.
fn check(VolumeSize { depth, height, width }: VolumeSize) -> Result<(), Error> {
    Frame::new(width, height)?;
    Frame::new(width, depth).map(drop)
}

/// The network's 8 bits. The client tells no modality: whole numbers down to -200 and below are taken for CT.
fn shown(values: Values) -> Result<(Vec<u8>, Intake), Refusal> {
    let kind = values.number_type();
    let is_ct = match &values {
        Values::I8(_) | Values::U8(_) | Values::U16(_) | Values::U32(_) | Values::U64(_) => false,
        Values::I16(v) => v.iter().any(|&v| v <= -200),
        Values::I32(v) => v.iter().any(|&v| v <= -200),
        Values::I64(v) => v.iter().any(|&v| v <= -200),
        Values::F32(v) => v.iter().any(|&v| v <= -200.0) && v.iter().all(|v| v.fract() == 0.0),
        Values::F64(v) => v.iter().any(|&v| v <= -200.0) && v.iter().all(|v| v.fract() == 0.0),
    };
    if is_ct {
        let (pixels, step) = values.to_u8(Window::ABDOMEN)?;
        let mut intake = Intake::new(kind);
        intake.steps.push(step);
        return Ok((pixels, intake));
    }
    Ok(values.into_u8(Window::Percentile)?)
}

#[derive(Debug, Deserialize)]
struct Buffer {
    shape: Vec<usize>,
    dtype: String,
}

async fn set_target_buffer(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Answer {
    let mut work = work(&app, &headers).await?;
    let asked: Buffer = json_body(&app, &headers, body).await?;
    let shape = sides(work.image()?.size);
    if asked.shape != shape {
        return Err(Refusal::bad(format!("shape is {:?}; that of the image, {shape:?}, is expected", asked.shape)));
    }
    let kind = Kind::named(&asked.dtype)?;
    if kind.is_float() {
        return Err(Refusal::bad(format!("dtype is {}; bool or an integer type is expected", kind.name())));
    }
    let room = room(&app.shared.budget, shape.iter().product::<usize>() as u64)?;
    work.target = Some((Target::new(shape, kind)?, room));
    Ok(Json(json!({})))
}

async fn set_do_autozoom(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Answer {
    app.leases.touch(token(&headers), Touch::Use)?;
    // This model does not zoom: accepted, without effect.
    let _: Value = json_body(&app, &headers, body).await?;
    Ok(Json(json!({})))
}

async fn reset_interactions(State(app): State<Arc<App>>, headers: HeaderMap) -> Answer {
    let mut work = work(&app, &headers).await?;
    if let Some((target, _)) = &mut work.target {
        target.reset();
    }
    Ok(Json(json!({})))
}
