//! A box to an object in a volume, with progress.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use umedsam::{Error, terminal};
use umedsam_demo::shown::{Asked, sides};

use super::super::app::App;
use super::super::held::room;
use super::super::refusal::Refusal;
use super::super::volume::start;
use super::stream::Lines;
use super::{Path, json_body};

/// Lines of `{"done","total"}`, then one of the object, or of what went wrong. Closing the connection cancels.
pub(super) async fn segment(
    State(app): State<Arc<App>>,
    Path((session, id)): Path<(String, u64)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let image = app.sessions.image(&session, id)?;
    let asked: Asked = json_body(&app, &headers, body).await?;
    let shown = image.current.get();
    let prompt = asked.prompt(shown.size)?;
    // The labels, and what is made of them.
    let room = room(&app.shared.budget, 3 * sides(shown.size).iter().product::<usize>() as u64)?;
    let (progress, pending) = start(&app, shown, prompt, app.limits.volume, |object, size| object.describe(size))?;
    let finish = move |found| {
        let _room = &room;
        last_line(found)
    };
    let lines = Body::from_stream(Lines::new(progress, pending, finish));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

fn last_line(found: Option<Result<Value, Error>>) -> Value {
    match found {
        Some(Ok(object)) => object,
        Some(Err(error)) => json!({ "error": terminal::chain(&error) }),
        None => json!({ "error": Refusal::failed().detail() }),
    }
}
