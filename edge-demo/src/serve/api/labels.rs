//! Label maps as files.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use umedsam_demo::shown::{LabelsAsked, file_name};

use super::super::app::App;
use super::super::refusal::Refusal;
use super::{Path, json_body};

pub(super) async fn write(
    State(app): State<Arc<App>>,
    Path((session, id)): Path<(String, u64)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let image = app.sessions.image(&session, id)?;
    let asked: LabelsAsked = json_body(&app, &headers, body).await?;
    let labelled = asked.read()?;
    let room = super::super::held::room(
        &app.shared.budget,
        (4 * image.size.depth * image.size.height * image.size.width) as u64,
    )?;
    let (ending, kind) = labelled.output.ending();
    let name = file_name(&image.name, ending);
    let folder = app.folder()?;
    let bytes = app.read(move || {
        let written = image.file(&image.labels(&labelled.objects)?, &labelled.names, labelled.output, &folder);
        drop(room);
        written
    });
    let mut response = ([(CONTENT_TYPE, kind)], bytes.await?).into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
