//! `/console/`: a page for people, which asks what clients ask.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// It loads nothing from elsewhere, runs no other script, and stands in no other page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const HTML: &str = include_str!("../../assets/console.html");
const STYLE: &str = include_str!("../../assets/console.css");
const SCRIPT: &str = include_str!("../../assets/console.js");

fn asset(kind: &'static str, text: &'static str) -> Response {
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    (head, text).into_response()
}

/// The page.
pub async fn page() -> Response {
    asset("text/html; charset=utf-8", HTML)
}

/// How it looks.
pub async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

/// What it does.
pub async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

/// From `/` and `/console`.
pub async fn go() -> impl IntoResponse {
    const LOCATION: (HeaderName, HeaderValue) =
        (header::LOCATION, HeaderValue::from_static("/console/"));
    (StatusCode::FOUND, [LOCATION])
}
