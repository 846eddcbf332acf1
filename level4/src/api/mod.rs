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
use axum::http::StatusCode;
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
        .route("/metrics", get(cluster::metrics))
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

/// `?timeout=`: `5s`, `200ms`, `1m`, or seconds.
fn time_limit(parameters: &Parameters) -> Result<Option<Duration>, Response> {
    let Some(text) = parameters.get("timeout") else {
        return Ok(None);
    };
    let digits = text.len()
        - text
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
            .len();
    let factor = match &text[digits..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        _ => f64::NAN,
    };
    let seconds = text[..digits].parse::<f64>().unwrap_or(f64::NAN) * factor;
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) => Ok(Some(limit)),
        Err(_) => Err(refuse(
            StatusCode::BAD_REQUEST,
            format_args!("timeout={text} is not a duration such as 500ms, 5s or 1m"),
        )),
    }
}

/// Waits for an answer, at most for `limit`.
async fn answer<T>(
    pending: oneshot::Receiver<T>,
    limit: Option<Duration>,
    late: &str,
) -> Result<T, Response> {
    let result = match limit {
        None => pending.await,
        Some(limit) => match timeout(limit, pending).await {
            Ok(result) => result,
            Err(_) => return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, late)),
        },
    };
    result.map_err(|_| refuse(StatusCode::SERVICE_UNAVAILABLE, "the node is ending"))
}

/// What a timed-out write has to say.
const MAYBE_EXECUTED: &str =
    "timed out: the request has not been executed here yet, and may still be executed";
/// What a timed-out read has to say.
const NOT_READ: &str = "timed out: no leader confirmed the read, nothing was changed";
