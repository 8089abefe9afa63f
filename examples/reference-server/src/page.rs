//! The page at `/`: a few files, compiled in, served with a policy that allows nothing else.

use axum::{
    extract::Path,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};

pub(crate) async fn index() -> Response {
    page("text/html; charset=utf-8", include_str!("../static/index.html"))
}

pub(crate) async fn file(Path(name): Path<String>) -> Response {
    match name.as_str() {
        "style.css" => page("text/css; charset=utf-8", include_str!("../static/style.css")),
        "client.mjs" => page(SCRIPT, include_str!("../../../clients/js/client.mjs")),
        "outbox.mjs" => page(SCRIPT, include_str!("../../../clients/js/outbox.mjs")),
        "pace.mjs" => page(SCRIPT, include_str!("../../../clients/js/pace.mjs")),
        "page.mjs" => page(SCRIPT, include_str!("../static/page.mjs")),
        "rules.mjs" => page(SCRIPT, include_str!("../../../clients/js/rules.mjs")),
        "icon.svg" => page("image/svg+xml", include_str!("../static/icon.svg")),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn page(kind: &'static str, text: &'static str) -> Response {
    const NOSNIFF: HeaderName = header::X_CONTENT_TYPE_OPTIONS;
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
        (NOSNIFF, "nosniff"),
    ];
    (headers, text).into_response()
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
