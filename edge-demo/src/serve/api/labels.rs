//! Label maps as files.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::super::app::App;
use super::super::image::Output;
use super::super::refusal::Refusal;
use super::{Path, json_body};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    format: String,
    /// The first is label 1, and so on. Where they overlap, the later prevails.
    objects: Vec<Object>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    /// 1 to 64 characters of ASCII, for formats that have names.
    #[serde(default)]
    name: Option<String>,
    slices: Vec<Slice>,
}

/// Runs of a slice along axis 0: as many pixels without the object, then with it, and so on, row by row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slice {
    slice: usize,
    runs: Vec<u32>,
}

pub(super) async fn write(
    State(app): State<Arc<App>>,
    Path((session, id)): Path<(String, u64)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let image = app.sessions.image(&session, id)?;
    let asked: Asked = json_body(&app, &headers, body).await?;
    let output = Output::named(&asked.format).ok_or_else(|| Refusal::bad(format!("format is {}", asked.format)))?;
    if asked.objects.len() > usize::from(u16::MAX) {
        return Err(Refusal::bad("more than 65535 objects"));
    }
    let names: Vec<Option<String>> = asked.objects.iter().map(|object| object.name.clone()).collect();
    let objects: Vec<Vec<(usize, Vec<u32>)>> =
        asked.objects.into_iter().map(|o| o.slices.into_iter().map(|s| (s.slice, s.runs)).collect()).collect();
    let room = super::super::held::room(
        &app.shared.budget,
        (4 * image.size.depth * image.size.height * image.size.width) as u64,
    )?;
    let (ending, kind) = output.ending();
    let name = file_name(&image.name, ending);
    let folder = app.folder()?;
    let bytes = app.read(move || {
        let written = image.write(&image.labels(&objects)?, &names, output, &folder);
        drop(room);
        written
    });
    let mut response = ([(CONTENT_TYPE, kind)], bytes.await?).into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// The name of a result, as `umedsam segment` calls it, in plain letters.
fn file_name(image: &str, ending: &str) -> String {
    let lower = image.to_ascii_lowercase();
    let endings = [
        ".nii.gz", ".nii", ".dcm.gz", ".dcm", ".zip", ".npz", ".png", ".jpeg", ".jpg", ".tiff", ".tif", ".bmp",
        ".webp", ".nrrd", ".mha",
    ];
    let cut = endings.iter().find(|e| lower.ends_with(*e)).map_or(0, |e| e.len());
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_. ".contains(c) { c } else { '_' };
    let stem: String = image.chars().take(image.chars().count() - cut).map(plain).collect();
    format!("{stem}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_called_after_their_images() {
        assert_eq!(file_name("ct.nii.gz", ".nii.gz"), "ct.nii.gz");
        assert_eq!(file_name("a\"b;é.JPG", ".mask.png"), "a_b__.mask.png");
    }
}
