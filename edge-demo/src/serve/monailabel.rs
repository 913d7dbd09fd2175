//! MONAI Label's protocol, as 3D Slicer's extension of that name speaks it: a volume is sent, and a region of interest in it
//! is answered by a label map on its grid.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use umedsam::{PixelBox, VolumeSize, VoxelBox};
use umedsam_demo::label_file::Format;
use umedsam_demo::shown::{Choice, Object, Output, Plane, Prompt, each_row, sides};

use super::app::{App, secret};
use super::form::parts;
use super::held::room;
use super::image::Image;
use super::refusal::Refusal;
use super::volume::start;

/// The only image of a session.
const IMAGE: u64 = 1;

/// What a region of interest can be asked for.
const MODELS: [(&str, u8, &str); 3] = [
    ("umedsam_box", 3, "The object in the region of interest, in all its slices"),
    ("umedsam_follow", 2, "The object in the region of interest of one slice, followed until it ends"),
    ("umedsam_slice", 2, "The object in the region of interest, in one slice"),
];

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/info/", get(info))
        .route("/session/", put(open))
        .route("/session/{session}", get(look).delete(close))
        .route("/infer/{model}", post(infer))
}

/// Models of type "deepgrow" are those for which the extension lets a person draw a region of interest.
async fn info(State(app): State<Arc<App>>) -> Json<Value> {
    let model = |&(name, dimension, description): &(&str, u8, &str)| {
        let value = json!({
            "type": "deepgrow", "dimension": dimension, "labels": ["object"], "description": description, "config": {},
        });
        (name.to_owned(), value)
    };
    Json(json!({
        "name": "U-MedSAM edge",
        "description": app.model["architecture"],
        "version": env!("CARGO_PKG_VERSION"),
        "labels": ["object"],
        "models": MODELS.iter().map(model).collect::<serde_json::Map<_, _>>(),
        "trainers": {},
        "strategies": {},
        "scoring": {},
        "train_stats": {},
        "datastore": { "total": 0, "completed": 0 },
    }))
}

async fn open(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Json<Value>, Refusal> {
    let (bytes, room) = app.body(&headers, body, app.limits.body).await?;
    let reader = app.clone();
    let image = app.read(move || {
        let parts = parts(&headers, &bytes)?;
        let file = parts.into_iter().find(|part| part.file.is_some());
        let file = file.ok_or_else(|| Refusal::bad("a form with a file is expected"))?;
        let name = file.file.unwrap_or_default();
        let choice = Choice { memory: reader.limits.image, ..Choice::default() };
        let image = Image::of_bytes(&name, &bytes[file.content], &reader.folder()?, &choice, &reader.shared);
        drop(room);
        image
    });
    let image = image.await?;
    let session = app.sessions.claim()?;
    app.sessions.keep(&session, image, app.limits.images)?;
    Ok(Json(json!({ "session_id": session, "session_info": {} })))
}

async fn look(State(app): State<Arc<App>>, Path(session): Path<String>) -> Result<Json<Value>, Refusal> {
    app.sessions.image(&session, IMAGE)?;
    Ok(Json(json!({ "session_id": session, "session_info": {} })))
}

async fn close(State(app): State<Arc<App>>, Path(session): Path<String>) -> Json<Value> {
    app.sessions.release(&session);
    Json(json!({}))
}

#[derive(Debug, Deserialize)]
struct Asked {
    session_id: Option<String>,
    output: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Parameters {
    #[serde(default)]
    roi: Vec<f64>,
    /// The slice's distance in mm, as the extension computes it.
    #[serde(default)]
    slice: Option<f64>,
    #[serde(default)]
    label: Option<Value>,
}

impl Parameters {
    /// What is asked for: the region's sides are pairs in any order, along x, y and z.
    fn prompt(&self, model: &str, size: VolumeSize) -> Result<Prompt, Refusal> {
        let [x0, x1, y0, y1, z0, z1] = self.roi[..] else {
            return Err(Refusal::bad(
                "draw a region of interest around the object: this model is prompted by boxes only",
            ));
        };
        let [depth, height, width] = sides(size);
        let side = |a: f64, b: f64, side: usize| {
            let (low, high) = (a.min(b).round(), a.max(b).round());
            let most = side as f64 - 1.0;
            let is_inside = low <= most && high >= 0.0;
            let clipped = (low.max(0.0), high.min(most));
            is_inside.then_some(clipped).ok_or_else(|| Refusal::bad("the region of interest lies beside the volume"))
        };
        let ((x0, x1), (y0, y1), (z0, z1)) = (side(x0, x1, width)?, side(y0, y1, height)?, side(z0, z1, depth)?);
        // A slice that the region does not have is a distance that does not count slices.
        let slice = self.slice.filter(|z| (z0..=z1).contains(z)).unwrap_or((z0 + z1) / 2.0).round();
        let plane = Plane::new(0, slice as usize, size)?;
        let one = PixelBox::new(x0, y0, x1, y1);
        match model {
            "umedsam_box" => Ok(Prompt::Solid(VoxelBox::new(x0, y0, z0, x1, y1, z1))),
            "umedsam_follow" => Ok(Prompt::Slice(plane, one, 0..depth)),
            "umedsam_slice" => Ok(Prompt::Slice(plane, one, plane.index..plane.index + 1)),
            _ => Err(Refusal::missing("this model")),
        }
    }

    /// The label's name, where it can be one.
    fn name(&self) -> &str {
        self.label.as_ref().and_then(Value::as_str).filter(|name| !name.is_empty()).unwrap_or("object")
    }
}

async fn infer(
    State(app): State<Arc<App>>,
    Path(model): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let session = asked.session_id.ok_or_else(|| Refusal::bad("a volume that was sent as a session is expected"))?;
    let image = app.sessions.image(&session, IMAGE)?;
    let (bytes, _room) = app.body(&headers, body, 1 << 20).await?;
    let parts = parts(&headers, &bytes)?;
    let text = parts.iter().find(|part| part.name == "params").map_or(&b"{}"[..], |part| &bytes[part.content.clone()]);
    let parameters: Parameters =
        serde_json::from_slice(text).map_err(|error| Refusal::bad(format!("params: {error}")))?;
    let shown = image.current.get();
    let size = shown.size;
    let prompt = parameters.prompt(&model, size)?;
    let room = room(&app.shared.budget, 5 * sides(size).iter().product::<usize>() as u64)?;
    let begun = std::time::Instant::now();
    let (_progress, pending) = start(&app, shown, prompt, app.limits.volume, |object, _| object)?;
    let object = pending.await.ok_or_else(Refusal::failed)??;
    if !object.is_whole {
        // A label map has no room to say that it is not all.
        return Err(Refusal::busy(format!("not done in {} seconds", app.limits.volume.as_secs()), 60));
    }
    let folder = app.folder()?;
    let name = parameters.name().to_owned();
    let names = [umedsam_demo::objects::check_name(&name).is_ok().then(|| name.clone())];
    let file = app.read(move || {
        let written = image.file(&labels(&object, size)?, &names, Output::Labels(Format::Nrrd), &folder);
        drop(room);
        written
    });
    let file = file.await?;
    let told = json!({ "label_names": { name: 1 }, "latencies": { "total": begun.elapsed().as_secs_f64() } });
    match asked.output.as_deref() {
        Some("json") => Ok(Json(told).into_response()),
        Some("image") => Ok(([(CONTENT_TYPE, "application/octet-stream")], file).into_response()),
        _ => {
            let boundary = secret()?;
            let head = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"params\"\r\nContent-Type: application/json\r\n\r\n\
                 {told}\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"result.nrrd\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            );
            let form = [head.as_bytes(), &file, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
            Ok(([(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))], form).into_response())
        }
    }
}

/// A label map of one object.
fn labels(object: &Object, size: VolumeSize) -> Result<Vec<u16>, Refusal> {
    let mut labels = umedsam::memory::zeros(sides(size).iter().product())?;
    let mut rows = object.mask.chunks_exact(object.region[2].len().max(1));
    each_row(sides(size), &object.region, |row| {
        let found = rows.next().into_iter().flatten();
        labels[row].iter_mut().zip(found).for_each(|(label, &v)| *label = v.into());
    });
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_of_interest_become_boxes() {
        let size = VolumeSize { depth: 10, height: 20, width: 30 };
        let ask =
            |roi: &[f64], slice, model: &str| Parameters { roi: roi.to_vec(), slice, label: None }.prompt(model, size);
        // Pairs in any order, cut to the volume.
        let Ok(Prompt::Solid(solid)) = ask(&[12.4, 3.0, 25.0, 15.0, -2.0, 4.0], None, "umedsam_box") else { panic!() };
        assert_eq!(solid, VoxelBox::new(3.0, 15.0, 0.0, 12.0, 19.0, 4.0));
        let slice = |slice| match ask(&[3.0, 12.0, 5.0, 15.0, 2.0, 6.0], slice, "umedsam_follow") {
            Ok(Prompt::Slice(plane, _, range)) => (plane.index, range),
            _ => panic!(),
        };
        assert_eq!((slice(Some(3.0)), slice(Some(120.0)), slice(None)), ((3, 0..10), (4, 0..10), (4, 0..10)));
        assert!(ask(&[40.0, 50.0, 5.0, 15.0, 2.0, 6.0], None, "umedsam_box").is_err());
        assert!(ask(&[f64::NAN; 6], None, "umedsam_box").is_err() && ask(&[], None, "umedsam_box").is_err());
        assert!(ask(&[3.0, 12.0, 5.0, 15.0, 2.0, 6.0], None, "other").is_err());
    }
}
