//! Boxes to masks in one slice, and encoding slices ahead.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use umedsam::{PixelBox, errln};
use umedsam_demo::shown::{Found, Plane, Unfit, runs};

use super::super::app::App;
use super::super::pool::Kind;
use super::super::refusal::Refusal;
use super::{Path, json_body};

/// Slices that are encoded ahead for one image.
const MAX_AHEAD: usize = 9;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Bits,
    Png,
    Rle,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Boxes {
    #[serde(default)]
    axis: usize,
    #[serde(default)]
    slice: usize,
    /// Columns and rows of the slice: x0, y0, x1, y1, both ends included.
    boxes: Vec<[f64; 4]>,
    /// `bits` and `png` are of one box.
    #[serde(rename = "as")]
    form: Form,
    /// Also a map of how unsure each pixel is; of `bits`.
    #[serde(default)]
    heat: bool,
    /// Any number, which comes back.
    #[serde(default)]
    seq: u64,
}

pub(super) async fn masks(
    State(app): State<Arc<App>>,
    Path((session, id)): Path<(String, u64)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let start = Instant::now();
    let image = app.sessions.image(&session, id)?;
    let asked: Boxes = json_body(&app, &headers, body).await?;
    let plane = Plane::new(asked.axis, asked.slice, image.size)?;
    let (count, max) = (asked.boxes.len(), app.limits.boxes);
    match asked.form {
        Form::Bits | Form::Png if count != 1 => {
            return Err(Refusal::bad(format!("{count} boxes; as bits or png 1 is expected")));
        }
        _ if count == 0 || count > max => return Err(Refusal::bad(format!("{count} boxes; 1 to {max} are expected"))),
        _ => {}
    }
    let boxes: Vec<PixelBox> = asked.boxes.iter().map(|b| PixelBox::new(b[0], b[1], b[2], b[3])).collect();
    let (shown, heat) = (image.current.get(), asked.heat && matches!(asked.form, Form::Bits));
    let kind = if shown.is_encoded(plane) { Kind::Decode } else { Kind::Slice };
    let found = app.run(kind, move |session| shown.masks(session, plane, &boxes, heat)).await?;
    let ms = (start.elapsed().as_secs_f64() * 1e4).round() / 10.0;
    match (asked.form, &found[..]) {
        (Form::Bits, [one]) => Ok(bits(one, asked.seq, ms)),
        (Form::Png, [one]) => png(one),
        _ => {
            let masks = found.iter().map(|one| {
                let (area, height) = (one.packed().area, one.mask.len() / one.width);
                json!({ "iou": one.predicted_iou, "area": area, "width": one.width, "height": height, "runs": runs(&one.mask) })
            });
            Ok(Json(json!({ "seq": asked.seq, "ms": ms, "masks": masks.collect::<Vec<Value>>() })).into_response())
        }
    }
}

/// The packed mask, then the heat map if there is one; the header has their sizes.
fn bits(found: &Found, seq: u64, ms: f64) -> Response {
    let (mut head, body) = found.bits();
    (head["seq"], head["ms"]) = (seq.into(), ms.into());
    let mut response = ([(CONTENT_TYPE, "application/octet-stream")], body).into_response();
    if let Ok(value) = HeaderValue::from_str(&head.to_string()) {
        response.headers_mut().insert("x-mask", value);
    }
    response
}

fn png(found: &Found) -> Result<Response, Refusal> {
    let mut bytes = Vec::new();
    let (width, height) = (found.width as u32, (found.mask.len() / found.width) as u32);
    let mut encoder = png::Encoder::new(Cursor::new(&mut bytes), width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let pixels: Vec<u8> = found.mask.iter().map(|v| v * 255).collect();
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.map_err(|_| Refusal::failed())?;
    Ok(([(CONTENT_TYPE, "image/png")], bytes).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ahead {
    #[serde(default)]
    axis: usize,
    /// In order of their likelihood.
    slices: Vec<usize>,
}

/// Encodes slices while there is nothing else to do; the newest request of an image replaces those before.
pub(super) async fn ahead(
    State(app): State<Arc<App>>,
    Path((session, id)): Path<(String, u64)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let image = app.sessions.image(&session, id)?;
    let asked: Ahead = json_body(&app, &headers, body).await?;
    if asked.slices.len() > MAX_AHEAD {
        return Err(Refusal::bad(format!("{} slices; at most {MAX_AHEAD} are encoded ahead", asked.slices.len())));
    }
    // No slice at all is of no axis either.
    Plane::new(asked.axis, 0, image.size)?;
    let planes: Result<Vec<Plane>, Unfit> =
        asked.slices.iter().map(|&index| Plane::new(asked.axis, index, image.size)).collect();
    let mut jobs = image.ahead.lock().unwrap_or_else(PoisonError::into_inner);
    // The jobs of the request before leave the queue first.
    jobs.clear();
    for plane in planes? {
        let shown = image.current.get();
        let submitted = app.pool.submit(Kind::Ahead, move |session, stop| {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = shown.embedding(session, plane) {
                errln!("umedsam: encoding ahead: {error}");
            }
        });
        // Where the queue is full, slices are encoded when their masks are asked for.
        let Ok(pending) = submitted else { break };
        jobs.push(pending.detach());
    }
    Ok(Json(json!({ "queued": jobs.len() })))
}
