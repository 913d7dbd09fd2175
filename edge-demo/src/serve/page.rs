//! The page, which is part of the program.

use std::sync::Arc;

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::routing::get;

use super::app::App;

/// Content security policy: scripts, styles, images and requests from this server only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($path:literal $kind:literal $file:literal),* $(,)?) => {
        &[$(Asset { path: $path, kind: $kind, bytes: include_bytes!(concat!("../../assets/page/", $file)) }),*]
    };
}

const ASSETS: &[Asset] = assets![
    "/" "text/html; charset=utf-8" "index.html",
    "/page/style.css" "text/css; charset=utf-8" "style.css",
    "/page/icon.svg" "image/svg+xml" "icon.svg",
    "/page/main.js" "text/javascript; charset=utf-8" "main.js",
    "/page/api.js" "text/javascript; charset=utf-8" "api.js",
    "/page/view.js" "text/javascript; charset=utf-8" "view.js",
    "/page/objects.js" "text/javascript; charset=utf-8" "objects.js",
    "/page/pointer.js" "text/javascript; charset=utf-8" "pointer.js",
];

pub(super) fn router() -> Router<Arc<App>> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        let headers = [
            (CONTENT_TYPE, asset.kind),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-cache"),
        ];
        router.route(asset.path, get(move || async move { (headers, asset.bytes) }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_asks_nobody_else() {
        let total: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
        assert!(total < 120_000, "{total} bytes");
        for asset in ASSETS {
            let text = String::from_utf8_lossy(asset.bytes);
            let outside = text
                .match_indices("//")
                .find(|(at, _)| text[..*at].ends_with("http:") || text[..*at].ends_with("https:"));
            let namespace = asset.path.ends_with(".svg");
            assert!(outside.is_none() || namespace, "{} names another site", asset.path);
            assert!(!text.contains("innerHTML") && !text.contains("eval("), "{}", asset.path);
        }
    }
}
