//! Forms of several parts (multipart/form-data).

use std::ops::Range;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;

use super::refusal::Refusal;

/// Parts of a form, at most.
const MAX_PARTS: usize = 16;

/// A field or a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    /// The name of a file.
    pub(super) file: Option<String>,
    /// Where its content is.
    pub(super) content: Range<usize>,
}

/// The parts of a form, by its header and its bytes.
pub(super) fn parts(headers: &HeaderMap, bytes: &[u8]) -> Result<Vec<Part>, Refusal> {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = kind.split_once("boundary=").map(|(_, rest)| rest.split(';').next().unwrap_or_default());
    let boundary = boundary.map(|rest| rest.trim().trim_matches('"')).filter(|boundary| !boundary.is_empty());
    let found = boundary.and_then(|boundary| split(bytes, boundary));
    found.ok_or_else(|| Refusal::bad("a form of several parts (multipart/form-data) is expected"))
}

/// Where a text begins, from a place on.
fn find(what: &[u8], bytes: &[u8], from: usize) -> Option<usize> {
    let first = *what.first()?;
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == first)?;
        if bytes[at..].starts_with(what) {
            return Some(at);
        }
        at += 1;
    }
}

fn split(bytes: &[u8], boundary: &str) -> Option<Vec<Part>> {
    let delimiter = format!("\r\n--{boundary}");
    // The first has no line before it.
    let mut at = find(&delimiter.as_bytes()[2..], bytes, 0)? + delimiter.len() - 2;
    let mut parts = Vec::new();
    while !bytes[at..].starts_with(b"--") {
        let start = find(b"\r\n\r\n", bytes, at)? + 4;
        let end = find(delimiter.as_bytes(), bytes, start)?;
        let head = std::str::from_utf8(&bytes[at..start]).ok()?;
        let field = |name: &str| {
            let (_, rest) = head.split_once(&format!("; {name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        parts.push(Part { name: field("name")?, file: field("filename"), content: start..end });
        if parts.len() > MAX_PARTS {
            return None;
        }
        at = end + delimiter.len();
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let form = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--c\r\n--b\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"v.npy\"\r\nContent-Type: x/y\r\n\r\n\r\n\r\n--b--\r\n";
        let found = split(form, "b").unwrap();
        assert_eq!(&form[found[0].content.clone()], b"x\r\n--c");
        assert_eq!((found[0].name.as_str(), found[1].file.as_deref()), ("a", Some("v.npy")));
        assert_eq!(&form[found[1].content.clone()], b"\r\n");
        for cut in 0..form.len() - 4 {
            assert_eq!(split(&form[..cut], "b"), None, "{cut}");
        }
        assert_eq!(split(b"--b--", "b"), Some(Vec::new()));
    }
}
