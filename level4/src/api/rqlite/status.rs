//! `GET /status`: the parts of rqlite's that its clients look at.

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value as Json, json};

use super::super::cluster::json_reply;
use super::super::{Api, ApiError};

/// The leader's id while there is none.
const NOBODY: &str = "0000000000000000";

/// Build, store and members.
pub async fn status(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let status = api.status().await?;
    let nodes: Vec<Json> = status
        .members
        .iter()
        .map(|(id, name)| json!({ "id": id.to_string(), "addr": name, "suffrage": "voter" }))
        .collect();
    let leader = status.leader;
    Ok(json_reply(&json!({
        "build": { "version": env!("CARGO_PKG_VERSION") },
        "store": {
            "node_id": status.id.to_string(),
            "leader": {
                "node_id": leader.map_or_else(|| NOBODY.to_owned(), |id| id.to_string()),
                "addr": leader.and_then(|id| status.members.get(&id)),
            },
            "raft": {
                "state": status.role,
                "term": status.term.get(),
                "commit_index": status.commit_index.get(),
                "applied_index": status.applied_index.get(),
            },
            "nodes": nodes,
        },
    })))
}
