//! Who may ask: no page of another site, no request by a foreign name of this machine, and only those with the token if
//! there is one.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::limits::STALL;
use super::refusal::Refusal;

/// What is asked of a request.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// Only names of this machine itself are answered to.
    pub(super) loopback: bool,
    pub(super) token: Option<String>,
}

impl Guard {
    fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let forbidden = |detail: &str| Err(Refusal::new(StatusCode::FORBIDDEN, detail));
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let Some(host) = text(HOST) else { return forbidden("no Host header") };
        // DNS rebinding: a foreign name that resolves to this machine.
        if self.loopback && !is_loopback(host) {
            return forbidden("Host is no name of this machine; use localhost or 127.0.0.1");
        }
        if let Some(origin) = text(ORIGIN)
            && origin.split_once("://").map(|(_, authority)| authority) != Some(host)
        {
            return forbidden("Origin is another site");
        }
        match &self.token {
            // The page is public; it asks its user for the token.
            Some(token) if !is_open(path) => {
                let given = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
                match same(given, token) {
                    true => Ok(()),
                    false => {
                        Err(Refusal::new(StatusCode::UNAUTHORIZED, "a token is needed: Authorization: Bearer TOKEN"))
                    }
                }
            }
            _ => Ok(()),
        }
    }
}

fn is_open(path: &str) -> bool {
    path == "/" || path == "/healthz" || path.starts_with("/page/")
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(name, _)| name),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default();
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Compares two texts in constant time.
fn same(given: &str, wanted: &str) -> bool {
    let differ = given.bytes().zip(wanted.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    given.len() == wanted.len() && differ == 0
}

/// Bodies up to so many bytes are read before their requests are handled: a response to a request whose body was not read
/// would close the connection.
const SMALL: u64 = 64 << 10;

/// Reads a small body whole, and leaves a large one to the request's handler.
async fn whole(request: Request) -> Result<Request, Refusal> {
    if request.body().size_hint().exact().is_none_or(|length| length > SMALL) {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(STALL, axum::body::to_bytes(body, SMALL as usize)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(parts, bytes.into())),
        Ok(Err(error)) => Err(Refusal::bad(format!("the body ended early: {error}"))),
        Err(_) => Err(Refusal::late()),
    }
}

/// Lets through what is allowed.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let request = match whole(request).await {
        Ok(request) => request,
        Err(refusal) => return refusal.into_response(),
    };
    match guard.check(request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(guard: &Guard, path: &str, headers: &[(&'static str, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        guard.check(path, &headers).is_ok()
    }

    #[test]
    fn other_sites_and_other_names_are_refused() {
        let guard = Guard { loopback: true, token: None };
        for host in ["localhost:1527", "127.0.0.1", "127.8.0.1:1", "[::1]:1527", "LOCALHOST", "[::1]"] {
            assert!(allowed(&guard, "/", &[("host", host)]), "{host}");
        }
        for host in ["evil.example:1527", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.0.2", "", "[::1"]
        {
            assert!(!allowed(&guard, "/", &[("host", host)]), "{host}");
        }
        assert!(!allowed(&guard, "/", &[]));
        let origin = |origin| allowed(&guard, "/", &[("host", "localhost:1527"), ("origin", origin)]);
        assert!(origin("http://localhost:1527"));
        assert!(!origin("http://localhost:8000") && !origin("null") && !origin("https://evil.example"));
    }

    #[test]
    fn a_token_is_asked_for() {
        let guard = Guard { loopback: false, token: Some("secret".into()) };
        let with = |value| allowed(&guard, "/claim", &[("host", "pc:1527"), ("authorization", value)]);
        assert!(with("Bearer secret"));
        assert!(!with("Bearer secreT") && !with("Bearer secret2") && !with("secret") && !with("Bearer "));
        assert!(
            allowed(&guard, "/page/main.js", &[("host", "pc")])
                && !allowed(&guard, "/api/v1/health", &[("host", "pc")])
        );
    }
}
