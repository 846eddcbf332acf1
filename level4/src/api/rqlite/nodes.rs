//! `GET /nodes`: the members, as rqlite lists them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::cluster::json_reply_as;
use super::super::params::{Parameters, flag, time};
use super::super::{Api, ApiError};
use super::front::RELEASE;
use crate::consensus::Status;
use crate::ids::NodeId;
use crate::name::MemberName;
use crate::transport;

/// Without `?timeout=`, a node may take this long to be reached.
const LIMIT: Duration = Duration::from_secs(2);
/// Of who can be reached, but by no member of this cluster.
const NOT_LINKED: &str = "it answers, but has no link with this node";

/// What came of calling a node: how long that took, and why it was not reached.
type Call = (Duration, Option<String>);

/// Those of the members that are `wanted`, as this node reaches them. Which program another node runs is
/// not known.
pub async fn describe(
    api: &Api,
    status: &Status,
    limit: Option<Duration>,
    wanted: impl Fn(NodeId) -> bool,
) -> BTreeMap<NodeId, Json> {
    let limit = limit.unwrap_or(LIMIT);
    let linked = api.transport.connected();
    let members = || status.members.iter().filter(|(id, _)| wanted(**id));
    let mut calls = JoinSet::new();
    for (&id, name) in members().filter(|(id, _)| **id != status.id) {
        let address = MemberName::parse(name).address.to_owned();
        let is_linked = linked.contains(&id);
        calls.spawn(async move { (id, call(&address, is_linked, limit).await) });
    }
    let calls: BTreeMap<NodeId, Call> = calls.join_all().await.into_iter().collect();
    let node = |(&id, name): (&NodeId, &String)| {
        let name = MemberName::parse(name);
        let mut node = json!({
            "id": name.id(id),
            "addr": name.address,
            "voter": status.voters.contains(&id),
            "leader": Some(id) == status.leader,
            "reachable": true,
        });
        if let Some(url) = name.url() {
            node["api_addr"] = json!(url);
        }
        if id == status.id {
            node["version"] = json!(RELEASE);
        }
        let (time, error) = calls.get(&id).cloned().unwrap_or_default();
        node["time"] = json!(time.as_secs_f64());
        node["time_s"] = json!(format!("{time:?}"));
        if let Some(error) = error {
            node["reachable"] = json!(false);
            node["error"] = json!(error);
        }
        (id, node)
    };
    members().map(node).collect()
}

/// Opens a connection to a node, and closes it.
async fn call(address: &str, is_linked: bool, limit: Duration) -> Call {
    let start = Instant::now();
    let error = match timeout(limit, transport::connect(address)).await {
        Ok(Ok(_)) if is_linked => None,
        Ok(Ok(_)) => Some(NOT_LINKED.to_owned()),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer in {limit:?}")),
    };
    (start.elapsed(), error)
}

/// The voters, and with `?nonvoters` those that do not vote (yet): an object by id, or with `?ver=2` an
/// array.
pub async fn nodes(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let status = api.status().await?;
    let limit = time(&parameters, "timeout")?;
    let all = flag(&parameters, "nonvoters");
    let wanted = |id| all || status.voters.contains(&id);
    let nodes = describe(&api, &status, limit, wanted).await;
    let pretty = flag(&parameters, "pretty");
    // In the order of what they are called. Several may be called the same.
    let id = |node: &Json| node["id"].as_str().unwrap_or_default().to_owned();
    let mut nodes: Vec<Json> = nodes.into_values().collect();
    nodes.sort_by_key(id);
    if parameters.get("ver").is_some_and(|version| version == "2") {
        return Ok(json_reply_as(&json!({ "nodes": nodes }), pretty));
    }
    let nodes = nodes.into_iter().map(|node| (id(&node), node));
    Ok(json_reply_as(&Json::Object(nodes.collect()), pretty))
}
