//! What clients hear of a node that waits for others to found a cluster with: that it is there, and not open.

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value as Json, json};

use super::ApiError;
use super::cluster::json_reply_as;
use super::params::{Parameters, flag};
use super::rqlite::RELEASE;

/// As rqlite says it.
const NOT_OPEN: &str = "store not open";

/// All routes.
pub fn waiting() -> Router {
    let mut routes = Router::new();
    for (path, at) in [("/status", get(status)), ("/readyz", get(ready))] {
        routes = routes
            .route(path, at.clone())
            .route(&format!("{path}/"), at);
    }
    routes
        .route("/healthcheck", get(async || "ok\n"))
        .fallback(closed)
}

async fn status(parameters: Parameters) -> Response {
    let all = json!({ "build": { "version": RELEASE }, "store": { "open": false } });
    let part = parameters.get("key").map(|key| {
        let mut parts = key.split('.');
        let part = parts.try_fold(&all, |part, name| part.get(name));
        part.cloned().unwrap_or_else(|| json!({}))
    });
    let pretty = part.is_none() && flag(&parameters, "pretty");
    json_reply_as(&part.unwrap_or(all), pretty).into_response()
}

async fn ready(parameters: Parameters) -> Result<&'static str, ApiError> {
    if flag(&parameters, "noleader") {
        return Ok("[+]node ok");
    }
    Err(ApiError::unavailable("[+]node ok\n[-]leader not known"))
}

/// Data endpoints say it in their own words.
async fn closed(uri: Uri) -> Response {
    match uri.path().trim_end_matches('/') {
        "/db/execute" | "/db/query" | "/db/request" => {
            let refusal: Json = json!({ "results": [], "error": NOT_OPEN });
            json_reply_as(&refusal, false).into_response()
        }
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{NOT_OPEN}: this node waits for others to found a cluster with\n"),
        )
            .into_response(),
    }
}
