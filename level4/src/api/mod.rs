//! The HTTP interface: `/sql` of 2014, rqlite's `/db/*`, and what an operator asks for.
#![allow(
    clippy::result_large_err,
    reason = "the error is the answer itself, made once for a request that fails"
)]

mod cluster;
mod rqlite;
mod sql;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::node::Node;
use crate::transport::Transport;

/// What handlers share.
#[derive(Clone)]
pub struct Api {
    /// The node behind.
    pub node: Arc<Node>,
    /// For status and metrics.
    pub transport: Arc<Transport>,
    /// Set once the process is ending: new work is refused.
    pub ending: Arc<AtomicBool>,
}

/// All routes. Bodies longer than `body_limit` bytes get 413.
pub fn router(api: Api, body_limit: usize) -> Router {
    Router::new()
        .route("/sql", post(sql::execute))
        .route("/db/execute", post(rqlite::execute))
        .route("/db/query", get(rqlite::query_text).post(rqlite::query))
        .route("/db/request", post(rqlite::request))
        .route("/db/backup", get(rqlite::backup))
        .route("/db/load", post(rqlite::load))
        .route("/cluster/status", get(cluster::status))
        .route("/cluster/remove", post(cluster::remove))
        .route("/remove", axum::routing::delete(cluster::remove))
        .route("/healthcheck", get(cluster::healthcheck))
        .route("/readyz", get(cluster::ready))
        .route("/status", get(cluster::rqlite_status))
        .route("/nodes", get(cluster::rqlite_nodes))
        .route("/metrics", get(cluster::metrics))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(body_limit))
        .with_state(api)
}

/// The URL's parameters.
type Parameters = axum::extract::Query<HashMap<String, String>>;

fn flag(parameters: &Parameters, name: &str) -> bool {
    parameters
        .get(name)
        .is_some_and(|value| value != "false" && value != "0")
}

/// One line of text with a status.
fn refuse(status: StatusCode, reason: impl std::fmt::Display) -> Response {
    (status, format!("{reason}\n")).into_response()
}

/// `?timeout=`: a duration as Go writes it (`5s`, `200ms`, `1m30s`), or seconds.
fn time_limit(parameters: &Parameters) -> Result<Option<Duration>, Response> {
    let Some(text) = parameters.get("timeout") else {
        return Ok(None);
    };
    match duration(text) {
        Some(limit) => Ok(Some(limit)),
        None => Err(refuse(
            StatusCode::BAD_REQUEST,
            format_args!("timeout={text} is not a duration such as 500ms, 5s or 1m30s"),
        )),
    }
}

fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    loop {
        let digits = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let (number, after) = rest.split_at(digits);
        let unit = after.len() - after.trim_start_matches(char::is_alphabetic).len();
        let (unit, after) = after.split_at(unit);
        let factor = match unit {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            // A bare number has no other parts.
            "" if rest.len() == text.len() && after.is_empty() => 1.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
        if rest.is_empty() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
    }
}

async fn no_such_path(uri: Uri) -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        format_args!("there is nothing at {}", uri.path()),
    )
}

async fn no_such_method(method: Method, uri: Uri) -> Response {
    refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        format_args!("{method} is not for {}", uri.path()),
    )
}

/// Waits for an answer, at most for `limit`. Without `pending`, the node had too much to do to take the
/// request.
async fn answer<T>(
    pending: Option<oneshot::Receiver<T>>,
    limit: Option<Duration>,
    late: &str,
) -> Result<T, Response> {
    let Some(pending) = pending else {
        let reason = "too many requests wait here: this one will not be executed";
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, reason));
    };
    let result = match limit {
        None => pending.await,
        Some(limit) => match timeout(limit, pending).await {
            Ok(result) => result,
            Err(_) => return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, late)),
        },
    };
    result.map_err(|_| refuse(StatusCode::SERVICE_UNAVAILABLE, GONE))
}

/// What a node has to say that will never know the answer.
const GONE: &str = "the node is ending or has been removed: the request may have been executed";
/// What a timed-out write has to say.
const MAYBE_EXECUTED: &str =
    "timed out: the request has not been executed here yet, and may still be executed";
/// What a timed-out read has to say.
const NOT_READ: &str = "timed out: no leader confirmed the read, nothing was changed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos_or_seconds() {
        for (text, ms) in [
            ("5s", 5_000),
            ("200ms", 200),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("2.5", 2_500),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "", "s", "soon", "5x", "1s2", "-1s", "1..2s", "1e400s", "5 s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
