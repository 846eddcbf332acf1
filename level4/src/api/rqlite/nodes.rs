//! `GET /nodes`: the members, as rqlite lists them.

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value as Json, json};

use super::super::cluster::json_reply;
use super::super::params::Parameters;
use super::super::{Api, ApiError};
use crate::ids::NodeId;

/// An object by id, or with `?ver=2` an array. How long a node takes to answer is not measured.
pub async fn nodes(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let status = api.status().await?;
    let connected = api.transport.connected();
    let nodes = status.members.iter().map(|(id, name)| {
        json!({
            "id": id.to_string(),
            "api_addr": format!("http://{name}"),
            "addr": name,
            "voter": true,
            "reachable": *id == status.id || connected.contains(id),
            "leader": Some(*id) == status.leader,
            "time": 0.0,
        })
    });
    if parameters.get("ver").is_some_and(|version| version == "2") {
        return Ok(json_reply(
            &json!({ "nodes": nodes.collect::<Vec<Json>>() }),
        ));
    }
    let ids = status.members.keys().map(NodeId::to_string);
    Ok(json_reply(&Json::Object(ids.zip(nodes).collect())))
}
