//! `GET /nodes`: the members, as rqlite lists them.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value as Json, json};

use super::super::cluster::json_reply_as;
use super::super::params::{Parameters, flag};
use super::super::{Api, ApiError};
use crate::consensus::Status;
use crate::ids::NodeId;
use crate::name::MemberName;

/// Each member. How long a node takes to answer is not measured, and which program it runs not known.
pub fn describe(api: &Api, status: &Status) -> BTreeMap<NodeId, Json> {
    let connected = api.transport.connected();
    let nodes = status.members.iter().map(|(id, name)| {
        let name = MemberName::parse(name);
        let mut node = json!({
            "id": name.id(*id),
            "addr": name.address,
            "voter": status.voters.contains(id),
            "reachable": *id == status.id || connected.contains(id),
            "leader": Some(*id) == status.leader,
            "time": 0.0,
        });
        if let Some(url) = name.url() {
            node["api_addr"] = json!(url);
        }
        (*id, node)
    });
    nodes.collect()
}

/// The voters, and with `?nonvoters` those that do not vote (yet): an object by id, or with `?ver=2` an
/// array.
pub async fn nodes(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let status = api.status().await?;
    let mut nodes = describe(&api, &status);
    if !flag(&parameters, "nonvoters") {
        nodes.retain(|id, _| status.voters.contains(id));
    }
    let pretty = flag(&parameters, "pretty");
    if parameters.get("ver").is_some_and(|version| version == "2") {
        let nodes: Vec<Json> = nodes.into_values().collect();
        return Ok(json_reply_as(&json!({ "nodes": nodes }), pretty));
    }
    let nodes = nodes.into_iter().map(|(id, node)| {
        let id = node["id"]
            .as_str()
            .map_or_else(|| id.to_string(), str::to_owned);
        (id, node)
    });
    Ok(json_reply_as(&Json::Object(nodes.collect()), pretty))
}
