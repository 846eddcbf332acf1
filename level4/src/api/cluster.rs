//! What an operator asks: who leads, is it well, figures, and taking a node out.

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use super::{Api, Parameters, answer, refuse, time_limit};
use crate::consensus::Status;
use crate::message::NodeId;

/// A removal is asked for again this often, until it has happened.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Without `?timeout=`, a removal is given up after this long.
const REMOVAL_LIMIT: Duration = Duration::from_secs(30);

fn reply(body: &Json) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json; charset=utf-8")],
        format!("{body}\n"),
    )
        .into_response()
}

async fn look(api: &Api) -> Result<Status, Response> {
    answer(
        Some(api.node.status()),
        Some(Duration::from_secs(5)),
        "the node does not answer",
    )
    .await
}

/// Ids are written in hexadecimal everywhere.
fn text(id: NodeId) -> String {
    format!("{id:016x}")
}

/// `GET /cluster/status`.
pub async fn status(State(api): State<Api>) -> Response {
    let status = match look(&api).await {
        Ok(status) => status,
        Err(response) => return response,
    };
    let connected = api.transport.connected();
    let peers: Vec<Json> = status
        .members
        .iter()
        .filter(|(id, _)| **id != status.id)
        .map(|(id, name)| {
            json!({ "id": text(*id), "address": name, "connected": connected.contains(id) })
        })
        .collect();
    reply(&json!({
        "id": text(status.id),
        "cluster": text(api.transport.cluster()),
        "address": status.members.get(&status.id),
        "role": status.role,
        "term": status.term,
        "leader": (status.leader != 0).then(|| text(status.leader)),
        "leader_address": status.members.get(&status.leader),
        "commit_index": status.commit_index,
        "applied_index": status.applied_index,
        "changing": status.changing,
        "peers": peers,
    }))
}

/// `POST /cluster/remove` with `{"id": …}`: an id or an address.
pub async fn remove(State(api): State<Api>, parameters: Parameters, body: Bytes) -> Response {
    match take_out(&api, &parameters, &body).await {
        Ok(response) | Err(response) => response,
    }
}

async fn take_out(api: &Api, parameters: &Parameters, body: &[u8]) -> Result<Response, Response> {
    let wanted = serde_json::from_slice::<Json>(body).ok();
    let wanted = wanted
        .as_ref()
        .and_then(|json| json["id"].as_str())
        .ok_or_else(|| {
            refuse(
                StatusCode::BAD_REQUEST,
                r#"the body has to be {"id": "ID or address of a member"}"#,
            )
        })?;
    let status = look(api).await?;
    let member = status
        .members
        .iter()
        .find(|(id, name)| *name == wanted || text(**id) == wanted)
        .map(|(&id, _)| id);
    let Some(id) = member else {
        return Err(refuse(
            StatusCode::NOT_FOUND,
            format_args!("{wanted} is not a member"),
        ));
    };
    if status.members.len() == 1 {
        return Err(refuse(
            StatusCode::CONFLICT,
            "the last member cannot be removed",
        ));
    }
    let limit = time_limit(parameters)?.unwrap_or(REMOVAL_LIMIT);
    let removal = async {
        loop {
            api.node.remove(id);
            sleep(ASK_AGAIN).await;
            let status = look(api).await?;
            if !status.members.contains_key(&id) && !status.changing {
                return Ok(reply(&json!({ "removed": text(id) })));
            }
        }
    };
    tokio::time::timeout(limit, removal)
        .await
        .unwrap_or_else(|_| {
            Err(refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "timed out: the member may still be removed",
            ))
        })
}

/// `GET /healthcheck`: 200 as long as the process works.
pub async fn healthcheck(State(api): State<Api>) -> Response {
    match look(&api).await {
        Ok(_) => "ok\n".into_response(),
        Err(response) => response,
    }
}

/// `GET /readyz`: 200 when the node belongs to a cluster with a leader.
pub async fn ready(State(api): State<Api>) -> Response {
    match look(&api).await {
        Ok(status) if status.leader != 0 => "[+]node ok\n[+]leader ok\n".into_response(),
        Ok(_) => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "[+]node ok\n[-]leader not known",
        ),
        Err(response) => response,
    }
}

/// `GET /status`: the parts of rqlite's that its clients look at.
pub async fn rqlite_status(State(api): State<Api>) -> Response {
    let status = match look(&api).await {
        Ok(status) => status,
        Err(response) => return response,
    };
    let nodes: Vec<Json> = status
        .members
        .iter()
        .map(|(id, name)| json!({ "id": text(*id), "addr": name, "suffrage": "voter" }))
        .collect();
    reply(&json!({
        "build": { "version": env!("CARGO_PKG_VERSION") },
        "store": {
            "node_id": text(status.id),
            "leader": { "node_id": text(status.leader), "addr": status.members.get(&status.leader) },
            "raft": { "state": status.role, "term": status.term,
                      "commit_index": status.commit_index, "applied_index": status.applied_index },
            "nodes": nodes,
        },
    }))
}

/// `GET /nodes`: the members, as rqlite lists them. How long a node takes to answer is not measured.
pub async fn rqlite_nodes(State(api): State<Api>, parameters: Parameters) -> Response {
    let status = match look(&api).await {
        Ok(status) => status,
        Err(response) => return response,
    };
    let connected = api.transport.connected();
    let nodes = status.members.iter().map(|(id, name)| {
        json!({
            "id": text(*id),
            "api_addr": format!("http://{name}"),
            "addr": name,
            "voter": true,
            "reachable": *id == status.id || connected.contains(id),
            "leader": *id == status.leader,
            "time": 0.0,
        })
    });
    if parameters.get("ver").is_some_and(|version| version == "2") {
        return reply(&json!({ "nodes": nodes.collect::<Vec<Json>>() }));
    }
    let ids = status.members.keys().map(|&id| text(id));
    reply(&Json::Object(ids.zip(nodes).collect()))
}

/// `GET /metrics`: Prometheus' text format.
pub async fn metrics(State(api): State<Api>) -> Response {
    let status = match look(&api).await {
        Ok(status) => status,
        Err(response) => return response,
    };
    let figures = &api.node.figures;
    let rows: [(&str, &str, &str, u64); 11] = [
        (
            "requests_total",
            "counter",
            "Client requests taken.",
            figures.requests.load(Relaxed),
        ),
        (
            "log_syncs_total",
            "counter",
            "Writes to the log.",
            figures.syncs.load(Relaxed),
        ),
        (
            "peer_sent_bytes_total",
            "counter",
            "Sent to peers.",
            api.transport.traffic.0.load(Relaxed),
        ),
        (
            "peer_read_bytes_total",
            "counter",
            "Read from peers.",
            api.transport.traffic.1.load(Relaxed),
        ),
        (
            "waiting_requests",
            "gauge",
            "Clients that wait.",
            api.node.waiting() as u64,
        ),
        ("term", "gauge", "Raft term.", status.term),
        (
            "is_leader",
            "gauge",
            "1 on the leader.",
            u64::from(status.role == "leader"),
        ),
        (
            "commit_index",
            "gauge",
            "Of this node's log.",
            status.commit_index,
        ),
        (
            "applied_index",
            "gauge",
            "Of this node's state.",
            status.applied_index,
        ),
        (
            "members",
            "gauge",
            "Of the cluster.",
            status.members.len() as u64,
        ),
        (
            "peers_connected",
            "gauge",
            "Connections.",
            api.transport.connected().len() as u64,
        ),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        // Writing into a string does not fail.
        let _ = writeln!(
            text,
            "# HELP level4_{name} {help}\n# TYPE level4_{name} {kind}\nlevel4_{name} {value}"
        );
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
