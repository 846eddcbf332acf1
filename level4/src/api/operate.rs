//! What an operator sees of a node in trouble, and the last resort: skipping an entry.

use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value as Json, json};
use tokio::time::{sleep, timeout};

use super::cluster::json_reply;
use super::params::{Parameters, time};
use super::{Api, ApiError};
use crate::consensus::{Standing, Status};
use crate::ids::Index;

/// The leader is asked again this often.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Without `?timeout=`, it is given up after this long.
const SKIP_LIMIT: Duration = Duration::from_secs(30);

/// `POST /cluster/skip?index=N`: the entry that a majority is stuck at is not executed, on any node.
pub async fn skip(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let index = parameters.get("index").and_then(|text| text.parse().ok());
    let index = index.map(Index::new).ok_or_else(|| {
        ApiError::bad(
            "say which entry: /cluster/skip?index=N, with \"stuck_at\" of /cluster/status",
        )
    })?;
    let limit = time(&parameters, "timeout")?.unwrap_or(SKIP_LIMIT);
    let conflict = match api.status().await?.stuck_at {
        Some(stuck) if stuck == index => None,
        Some(stuck) => Some(format!("a majority is stuck at {stuck}, not at {index}")),
        None => Some(format!(
            "no majority is stuck at {index}: nothing is skipped"
        )),
    };
    if let Some(reason) = conflict {
        return Err(ApiError::Conflict(reason.into()));
    }
    let skipping = async {
        loop {
            api.node.skip(index);
            sleep(ASK_AGAIN).await;
            if api.status().await?.applied_index >= index {
                return Ok(json_reply(&json!({ "skipped": index.get() })));
            }
        }
    };
    timeout(limit, skipping).await.unwrap_or_else(|_| {
        let reason = "timed out: the entry may still be skipped";
        Err(ApiError::unavailable(reason))
    })
}

/// Where this node's state parted from the majority's.
pub fn parted_at(status: &Status) -> Option<Index> {
    match status.standing {
        Standing::Parted(index) => Some(index),
        _ => None,
    }
}

/// Why a request here would not be answered, as far as replicas' agreement goes.
pub fn objection(status: &Status) -> Option<String> {
    match status.standing {
        Standing::Sound => None,
        Standing::Doubtful(index) => Some(format!(
            "replicas differ at index {index}, and no majority agrees"
        )),
        Standing::Parted(index) => Some(format!(
            "this node's state parted from the majority's at index {index}, and is being rebuilt"
        )),
    }
}

/// For `/cluster/status`: how the replicas stand, and what is being applied.
pub fn describe(api: &Api, status: &Status) -> Json {
    let applying = api.node.applying().map(|now| {
        json!({
            "index": now.index.get(),
            "for_ms": now.since.as_millis() as u64,
            "request": now.request,
        })
    });
    let (standing, differs_at) = match status.standing {
        Standing::Sound => ("sound", None),
        Standing::Doubtful(index) => ("doubtful", Some(index)),
        Standing::Parted(index) => ("parted", Some(index)),
    };
    json!({
        "standing": standing,
        "differs_at": differs_at.map(Index::get),
        "mixed_engines": status.mixed_engines,
        "behind": status.commit_index.since(status.applied_index),
        "applying": applying,
        "stuck_at": status.stuck_at.map(Index::get),
        "receiving_snapshot": status.receiving_snapshot,
    })
}
