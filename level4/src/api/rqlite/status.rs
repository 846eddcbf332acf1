//! `GET /status`: the parts of rqlite's that its clients look at.

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value as Json, json};

use super::super::cluster::{id_text, json_reply};
use super::super::{Api, ApiError};

/// Build, store and members.
pub async fn status(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let status = api.status().await?;
    let nodes: Vec<Json> = status
        .members
        .iter()
        .map(|(id, name)| json!({ "id": id_text(*id), "addr": name, "suffrage": "voter" }))
        .collect();
    Ok(json_reply(&json!({
        "build": { "version": env!("CARGO_PKG_VERSION") },
        "store": {
            "node_id": id_text(status.id),
            "leader": {
                "node_id": id_text(status.leader),
                "addr": status.members.get(&status.leader),
            },
            "raft": {
                "state": status.role,
                "term": status.term,
                "commit_index": status.commit_index,
                "applied_index": status.applied_index,
            },
            "nodes": nodes,
        },
    })))
}
