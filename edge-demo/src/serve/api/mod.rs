//! Our own API, which the page speaks. `openapi.json` describes it.

mod images;
mod labels;
mod masks;
mod stream;
#[cfg(test)]
mod tests;
mod volumes;

use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde_json::json;

use umedsam_demo::shown::WINDOWS;

use super::app::App;
use super::refusal::Refusal;

const DESCRIPTION: &str = include_str!("openapi.json");

/// Method, path and handler of each route; a test compares them with the description.
fn routes() -> Vec<(&'static str, &'static str, MethodRouter<Arc<App>>)> {
    macro_rules! image {
        ($rest:literal) => {
            concat!("/api/v1/sessions/{session}/images/{image}", $rest)
        };
    }
    vec![
        ("get", "/api/v1/openapi.json", get(describe)),
        ("get", "/api/v1/health", get(health)),
        ("post", "/api/v1/sessions", post(claim)),
        ("delete", "/api/v1/sessions/{session}", delete(release)),
        ("post", "/api/v1/sessions/{session}/images", post(images::send)),
        ("post", "/api/v1/sessions/{session}/offers/{offer}", post(images::open_offer)),
        ("get", image!(""), get(images::describe)),
        ("delete", image!(""), delete(images::forget)),
        ("post", image!("/window"), post(images::window)),
        ("get", image!("/slices/{axis}/{index}"), get(images::slice)),
        ("post", image!("/ahead"), post(masks::ahead)),
        ("post", image!("/masks"), post(masks::masks)),
        ("post", image!("/volumes"), post(volumes::segment)),
        ("post", image!("/labels"), post(labels::write)),
    ]
}

pub(super) fn router() -> Router<Arc<App>> {
    routes().into_iter().fold(Router::new(), |router, (_, path, method)| router.route(path, method))
}

/// Parts of the path, or a refusal of the API's own form.
struct Path<T>(T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let found = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        found.map(|path| Self(path.0)).map_err(|_| Refusal::missing("what is asked for"))
    }
}

/// The query, likewise.
struct Query<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let found = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        found.map(|query| Self(query.0)).map_err(|error| Refusal::bad(error.body_text()))
    }
}

/// Bytes of a body of JSON, at most.
const JSON: u64 = 64 << 20;

/// Bytes of JSON that are read at once; more would keep others waiting, and goes to another thread.
const SHORT: usize = 64 << 10;

/// A body of JSON.
pub(super) async fn json_body<T: DeserializeOwned + Send + 'static>(
    app: &App,
    headers: &axum::http::HeaderMap,
    body: axum::body::Body,
) -> Result<T, Refusal> {
    let (bytes, room) = app.body(headers, body, JSON).await?;
    let length = bytes.len();
    let read = move || {
        let read = serde_json::from_slice(&bytes);
        drop(room);
        read.map_err(|error| Refusal::bad(format!("the body is not what is expected: {error}")))
    };
    if length < SHORT { read() } else { app.read(read).await }
}

async fn describe() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DESCRIPTION)
}

async fn health(State(app): State<Arc<App>>) -> Json<serde_json::Value> {
    let load = app.pool.load();
    Json(json!({
        "ok": true,
        "version": env!("CARGO_PKG_VERSION"),
        "model": app.model,
        "offers": app.offers(),
        "windows": WINDOWS,
        "threads": app.pool.threads(),
        "running": load.running,
        "waiting": load.waiting,
        "sessions": app.sessions.len(),
        "memory": { "used": app.shared.budget.used(), "max": app.limits.memory },
        "limits": {
            "body": app.limits.body,
            "images": app.limits.images,
            "boxes": app.limits.boxes,
            "sessions": app.limits.sessions,
            "queue": app.limits.queue,
            "idle_seconds": app.limits.idle.as_secs(),
        },
    }))
}

async fn claim(State(app): State<Arc<App>>) -> Result<Json<serde_json::Value>, Refusal> {
    let session = app.sessions.claim()?;
    Ok(Json(json!({ "session": session, "idle_seconds": app.limits.idle.as_secs() })))
}

async fn release(State(app): State<Arc<App>>, Path(session): Path<String>) -> Json<serde_json::Value> {
    app.sessions.release(&session);
    Json(json!({ "released": true }))
}
