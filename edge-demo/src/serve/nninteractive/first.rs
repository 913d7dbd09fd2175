//! The protocol before version 2, of 3D Slicer's extension up to 0.3.2, which knows no sessions: all its clients share one
//! image and one object. Refusals have status 200, as only their words reach the user then.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OwnedMutexGuard;
use umedsam::VolumeSize;
use umedsam::intensity::Values;
use umedsam::npz::{Limits, Problem, read_npy};
use umedsam_demo::shown::{Region, sides};

use super::super::api::json_body;
use super::super::app::App;
use super::super::form::parts;
use super::super::held::room;
use super::super::limits::Room;
use super::super::refusal::Refusal;
use super::array::Kind;
use super::leases::Work;
use super::predict::{clip, segment};
use super::target::Target;
use super::{check, take};

/// The image and the object of all clients.
pub(in super::super) struct First {
    work: Arc<tokio::sync::Mutex<Work>>,
    used: Mutex<Instant>,
}

impl Default for First {
    fn default() -> Self {
        Self { work: Arc::default(), used: Mutex::new(Instant::now()) }
    }
}

impl First {
    async fn work(&self) -> OwnedMutexGuard<Work> {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.work.clone().lock_owned().await
    }

    /// Forgets what nobody has used for some time; the client sends it again.
    pub(in super::super) fn drop_idle(&self, idle: Duration) {
        let is_idle = self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > idle;
        if is_idle && let Ok(mut work) = self.work.try_lock() {
            *work = Work::default();
        }
    }
}

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/upload_image", post(upload_image)).route("/upload_segment", post(upload_segment))
}

/// A refusal in this protocol's form.
pub(super) fn told(refusal: &Refusal) -> Response {
    Json(json!({ "status": "error", "message": refusal.detail() })).into_response()
}

fn done(result: Result<(), Refusal>) -> Response {
    match result {
        Ok(()) => Json(json!({ "status": "ok" })).into_response(),
        Err(refusal) => told(&refusal),
    }
}

/// The client sends its image when it reads these words.
fn no_image() -> Refusal {
    Refusal::bad("No image uploaded")
}

async fn upload_image(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    done(receive_image(&app, &headers, body).await)
}

async fn receive_image(app: &Arc<App>, headers: &HeaderMap, body: Body) -> Result<(), Refusal> {
    let (sent, body_room) = file(app, headers, body).await?;
    let reader = app.clone();
    let image = app.read(move || {
        // Values are of no more bytes than the file.
        let _values_room = room(&reader.shared.budget, sent.len() as u64)?;
        let (values, shape) = array(&sent)?;
        drop((sent, body_room));
        let [depth, height, width] = shape[..] else {
            return Err(Refusal::bad(format!("the image has shape {shape:?}; slices, rows and columns are expected")));
        };
        let size = VolumeSize { depth, height, width };
        check(size)?;
        let target_room = room(&reader.shared.budget, (depth * height * width) as u64)?;
        let target = Target::new([depth, height, width], Kind::named("uint8")?)?;
        Ok(Work { image: Some(take(values, size, &reader)?), target: Some((target, target_room)) })
    });
    let image = image.await?;
    *app.first.work().await = image;
    Ok(())
}

async fn upload_segment(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Response {
    done(receive_segment(&app, &headers, body).await)
}

async fn receive_segment(app: &Arc<App>, headers: &HeaderMap, body: Body) -> Result<(), Refusal> {
    let mut work = app.first.work().await;
    let shape = sides(work.image().map_err(|_| no_image())?.size);
    let (sent, _body_room) = file(app, headers, body).await?;
    let reader = app.clone();
    let mask = app.read(move || {
        let voxels = shape.iter().product::<usize>() as u64;
        // A header is short; what is longer is of another shape, however small it was packed.
        let most = voxels + 4096;
        let _room = room(&reader.shared.budget, 2 * most)?;
        let mut unpacked = Vec::new();
        let read = GzDecoder::new(&sent[..]).take(most + 1).read_to_end(&mut unpacked);
        read.map_err(|error| Refusal::bad(format!("the segment is not packed as expected: {error}")))?;
        let (Values::U8(mut mask), found) = array(&unpacked)? else {
            return Err(Refusal::bad("a segment of uint8 is expected"));
        };
        if found != shape {
            return Err(Refusal::bad(format!("the segment has shape {found:?}; that of the image is {shape:?}")));
        }
        mask.iter_mut().for_each(|v| *v = u8::from(*v != 0));
        Ok(mask)
    });
    let mask = mask.await?;
    let target = work.target()?;
    if mask.contains(&1) {
        target.begin(mask);
    } else {
        target.reset();
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Corners {
    outer_point_one: [i64; 3],
    outer_point_two: [i64; 3],
    positive_click: bool,
}

impl Corners {
    /// Half-open; of a side of no length, one voxel.
    fn sides(&self) -> Vec<[i64; 2]> {
        let corners = self.outer_point_one.iter().zip(self.outer_point_two);
        corners.map(|(&a, b)| [a.min(b), a.max(b).max(a.min(b).saturating_add(1))]).collect()
    }
}

pub(super) async fn add_box(app: &App, headers: &HeaderMap, body: Body) -> Response {
    let found = async {
        let asked: Corners = json_body(app, headers, body).await?;
        let mut work = app.first.work().await;
        work.image().map_err(|_| no_image())?;
        let region = clip(&asked.sides(), work.target()?.shape)?;
        segment(app, work, region, asked.positive_click, whole).await
    };
    found.await.unwrap_or_else(|refusal| told(&refusal))
}

/// The whole object, a bit a voxel, packed.
fn whole(target: &Target, _: bool, _: Option<&Region>) -> Response {
    let voxels = target.cut(&target.shape.map(|side| 0..side));
    let bits: Vec<u8> =
        voxels.chunks(8).map(|eight| eight.iter().zip((0..8).rev()).map(|(v, i)| v << i).sum()).collect();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let Ok(packed) = packed.write_all(&bits).and_then(|()| packed.finish()) else { return told(&Refusal::failed()) };
    ([(CONTENT_TYPE, "application/octet-stream"), (CONTENT_ENCODING, "gzip")], packed).into_response()
}

/// The one file of a form. Its `Content-Encoding` is the file's, and not the form's, and is passed over.
async fn file(app: &App, headers: &HeaderMap, body: Body) -> Result<(Vec<u8>, Room), Refusal> {
    let (mut bytes, room) = app.body(headers, body, app.limits.body).await?;
    let parts = parts(headers, &bytes)?;
    let file = parts.into_iter().find(|part| part.name == "file");
    let file = file.ok_or_else(|| Refusal::bad("a form with a file is expected"))?;
    bytes.truncate(file.content.end);
    bytes.drain(..file.content.start);
    Ok((bytes, room))
}

fn array(bytes: &[u8]) -> Result<(Values, Vec<usize>), Refusal> {
    let limits = Limits::new().with_peak_bytes(u64::MAX);
    read_npy(bytes, bytes.len() as u64, &limits).map_err(|problem: Problem| Refusal::bad(problem.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_in_any_order() {
        let corners = Corners { outer_point_one: [5, 9, 3], outer_point_two: [5, 2, 8], positive_click: true };
        assert_eq!(corners.sides(), [[5, 6], [2, 9], [3, 8]]);
    }
}
