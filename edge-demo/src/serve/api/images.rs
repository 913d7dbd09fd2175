//! Images: sending them, opening what is offered, looking at slices.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use umedsam_demo::shown::{Choice, Plane};

use super::super::app::App;
use super::super::image::Image;
use super::super::refusal::Refusal;
use super::{Path, Query, json_body};

/// How an image is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// The file's name, for people and for the endings of results.
    name: Option<String>,
    window: Option<String>,
    series: Option<String>,
    frame: Option<usize>,
}

impl Asked {
    fn choice(&self, app: &App) -> Choice {
        Choice { window: self.window.clone(), series: self.series.clone(), frame: self.frame, memory: app.limits.image }
    }
}

/// A name that is shown and that downloads are called by: no folders, no control characters, not long.
fn plain(name: Option<&str>) -> String {
    let name = name.unwrap_or("image").rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(120).collect();
    if name.trim_matches('.').is_empty() { "image".into() } else { name }
}

pub(super) async fn send(
    State(app): State<Arc<App>>,
    Path(session): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    app.sessions.check_room(&session, app.limits.images)?;
    let (bytes, room) = app.body(&headers, body, app.limits.body).await?;
    let (reader, name, choice) = (app.clone(), plain(asked.name.as_deref()), asked.choice(&app));
    let image = app.read(move || {
        let image = Image::of_bytes(&name, &bytes, &reader.folder()?, &choice, &reader.shared);
        drop((bytes, room));
        image
    });
    keep(&app, &session, image.await?)
}

pub(super) async fn open_offer(
    State(app): State<Arc<App>>,
    Path((session, offer)): Path<(String, usize)>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Refusal> {
    app.sessions.check_room(&session, app.limits.images)?;
    let (reader, choice) = (app.clone(), asked.choice(&app));
    let image = app.read(move || reader.read_offer(offer, &choice)).await?;
    keep(&app, &session, image)
}

fn keep(app: &App, session: &str, image: Image) -> Result<Json<Value>, Refusal> {
    let (id, image) = app.sessions.keep(session, image, app.limits.images)?;
    Ok(Json(image.describe(id)))
}

pub(super) async fn describe(
    State(app): State<Arc<App>>,
    Path((session, id)): Path<(String, u64)>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(app.sessions.image(&session, id)?.describe(id)))
}

pub(super) async fn forget(
    State(app): State<Arc<App>>,
    Path((session, id)): Path<(String, u64)>,
) -> Result<Json<Value>, Refusal> {
    app.sessions.forget(&session, id)?;
    Ok(Json(json!({ "released": true })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Windowed {
    window: String,
}

pub(super) async fn window(
    State(app): State<Arc<App>>,
    Path((session, id)): Path<(String, u64)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let image = app.sessions.image(&session, id)?;
    let asked: Windowed = json_body(&app, &headers, body).await?;
    app.read(move || {
        image.show(&asked.window)?;
        Ok(Json(image.describe(id)))
    })
    .await
}

pub(super) async fn slice(
    State(app): State<Arc<App>>,
    Path((session, id, axis, index)): Path<(String, u64, usize, usize)>,
) -> Result<Response, Refusal> {
    let image = app.sessions.image(&session, id)?;
    let plane = Plane::new(axis, index, image.size)?;
    let (head, bytes) = image.slice(plane);
    let mut response =
        ([(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, "no-store")], bytes).into_response();
    if let Ok(value) = HeaderValue::from_str(&head.to_string()) {
        response.headers_mut().insert("x-slice", value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_folders() {
        assert_eq!(plain(Some("../../etc/passwd")), "passwd");
        assert_eq!(plain(Some("C:\\a\\b.nii.gz")), "b.nii.gz");
        assert_eq!(plain(Some("a\r\nb\u{0}")), "ab");
        assert_eq!((plain(Some("..")), plain(None)), ("image".into(), "image".into()));
    }
}
