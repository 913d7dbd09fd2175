//! Why a request is not answered, as its client is told.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use umedsam::{errln, terminal};
use umedsam_demo::shown::Unfit;

/// A status and a text, which is sent as `{"detail": text}`.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    detail: String,
    /// Seconds after which asking again makes sense.
    retry: Option<u32>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry: None }
    }

    /// The request cannot be used.
    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// What it names is not there, or no more.
    pub(super) fn missing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} is not there, or no more"))
    }

    /// The server is full.
    pub(super) fn busy(detail: impl Into<String>, seconds: u32) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, detail: detail.into(), retry: Some(seconds) }
    }

    /// Its body is too slow.
    pub(super) fn late() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")
    }

    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// Work ended without an answer.
    pub(super) fn failed() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the work ended without an answer; the server's log has more")
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

/// Errors of the library are about what was asked, but for those of memory and of the network itself.
impl From<umedsam::Error> for Refusal {
    fn from(error: umedsam::Error) -> Self {
        let text = terminal::chain(&error);
        match error {
            umedsam::Error::Memory { .. } => Self::busy(text, 10),
            umedsam::Error::Engine { .. } | umedsam::Error::NotFinite { .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
            _ => Self::bad(text),
        }
    }
}

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Asked(words) => Self::bad(words),
            Unfit::Failed(error) => error.into(),
            // The error may name folders of this machine.
            Unfit::Unwritten(error) => {
                errln!("umedsam: {}", terminal::chain(error.as_ref()));
                Self::failed()
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(serde_json::json!({ "detail": self.detail }))).into_response();
        if let Some(seconds) = self.retry {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
