//! What rqlite's operators ask of a node: who leads, that it leads no more, that its log is cut short.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};
use tokio::time::{sleep, timeout};

use super::super::cluster::json_reply_as;
use super::super::params::{Parameters, flag, time};
use super::super::{Api, ApiError};
use super::nodes::describe;
use crate::consensus::Status;
use crate::ids::NodeId;

/// Somebody is asked again this often to lead.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Without `?timeout=`, it is given up after this long.
const LIMIT: Duration = Duration::from_secs(30);

/// `GET /leader`: the leader, as `/nodes` describes it.
pub async fn show(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let status = api.status().await?;
    let leader = status.leader.ok_or_else(|| api.no_leader())?;
    let limit = time(&parameters, "timeout")?;
    let nodes = describe(&api, &status, limit, |id| id == leader).await;
    let leader = nodes.into_values().next();
    let leader = leader.ok_or_else(|| api.no_leader())?;
    Ok(json_reply_as(&leader, flag(&parameters, "pretty")))
}

/// `POST /leader`: another node is to lead; with `{"id": …}` that one, with `?wait` the answer comes when
/// one does.
pub async fn step_down(
    State(api): State<Api>,
    parameters: Parameters,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let limit = time(&parameters, "timeout")?.unwrap_or(LIMIT);
    let waits = flag(&parameters, "wait");
    let status = api.status().await?;
    let successor = successor(&body, &status)?;
    if status.role != "leader" {
        if waits {
            return Err(ApiError::Internal("stepdown: not leader".to_owned()));
        }
        return Ok(StatusCode::OK);
    }
    if waits && status.voters.len() < 2 {
        return Err(ApiError::Internal(
            "stepdown: there is no other voter".to_owned(),
        ));
    }
    let going = async {
        loop {
            api.node.step_down_for(successor);
            sleep(ASK_AGAIN).await;
            let status = api.status().await?;
            let other = status.leader.filter(|leader| *leader != status.id);
            if !waits || other.is_some() {
                return Ok(StatusCode::OK);
            }
        }
    };
    timeout(limit, going).await.unwrap_or_else(|_| {
        let reason = "stepdown: no other node leads yet";
        Err(ApiError::Internal(reason.to_owned()))
    })
}

/// The voter that the body names, if it names one.
fn successor(body: &[u8], status: &Status) -> Result<Option<NodeId>, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let form = r#"the body has to be empty or {"id": "ID of a voter"}"#;
    let json: Json = serde_json::from_slice(body).map_err(|_| ApiError::bad(form))?;
    let wanted = json["id"].as_str().ok_or_else(|| ApiError::bad(form))?;
    let found = status
        .member(wanted)
        .ok()
        .filter(|id| status.voters.contains(id));
    let none = || ApiError::Internal(format!("stepdown: {wanted} is no voter"));
    found.map(Some).ok_or_else(none)
}

/// `POST /snapshot`: the state is saved, and the log before it may go; 204 if nothing has come since the
/// last time.
pub async fn snapshot(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<StatusCode, ApiError> {
    // How much of the log is kept for followers is not for one request to say.
    let limit = time(&parameters, "timeout")?.unwrap_or(LIMIT);
    api.counters.user_snapshots.fetch_add(1, Relaxed);
    let saved = timeout(limit, api.node.save()).await;
    api.counters.look(api.node.figures.saved.load(Relaxed));
    match saved {
        Ok(Ok(true)) => Ok(StatusCode::OK),
        Ok(Ok(false)) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(_)) => Err(ApiError::unavailable(
            "this node's state is not known to be the majority's: it is not saved",
        )),
        Err(_) => Err(ApiError::unavailable(
            "timed out: the snapshot may still be saved",
        )),
    }
}

/// `POST /reap`: old snapshots are removed as soon as there is a new one, so there are none.
pub async fn reap(State(api): State<Api>, parameters: Parameters) -> Response {
    api.counters.reaps.fetch_add(1, Relaxed);
    let reaped = json!({ "snapshots_reaped": 0, "wals_checkpointed": 0 });
    json_reply_as(&reaped, flag(&parameters, "pretty")).into_response()
}
