//! The page for people: static files, part of the binary.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

const HTML: &str = include_str!("../../../assets/index.html");
const STYLE: &str = include_str!("../../../assets/page.css");
const SCRIPT: &str = include_str!("../../../assets/page.js");

/// The page itself.
pub(crate) fn index() -> Response {
    file("text/html; charset=utf-8", HTML)
}

/// What the page loads.
pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    match name.as_str() {
        "page.css" => file("text/css; charset=utf-8", STYLE),
        "page.js" => file("text/javascript; charset=utf-8", SCRIPT),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // Indexed text is shown as text; should any ever get through as markup, it runs nothing.
    let policy = HeaderValue::from_static("default-src 'self'");
    ([kind, (header::CONTENT_SECURITY_POLICY, policy)], text).into_response()
}
