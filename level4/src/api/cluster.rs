//! What an operator asks: who leads, is it well, and taking a node out.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Value as Json, json};
use tokio::time::{sleep, timeout};

use super::params::{Parameters, flag, time};
use super::{Api, ApiError, operate};
use crate::ids::{ClusterId, NodeId};
use crate::name::MemberName;

/// A removal is asked for again this often, until it has happened.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Without `?timeout=`, a removal is given up after this long.
const REMOVAL_LIMIT: Duration = Duration::from_secs(30);

/// A JSON document as an answer.
pub fn json_reply(body: &Json) -> impl IntoResponse + use<> {
    json_reply_as(body, false)
}

/// Likewise; `pretty`: with lines, and four spaces for each step inwards.
pub fn json_reply_as(body: &Json, pretty: bool) -> impl IntoResponse + use<> {
    // Such documents have nothing that cannot be written.
    let mut text = json_text(body, pretty).unwrap_or_default();
    text.push(b'\n');
    let kind = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    (kind, text)
}

/// JSON on one line, or `pretty` on many. As in rqlite's data, the last one has no end.
pub fn json_text(body: &impl Serialize, pretty: bool) -> serde_json::Result<Vec<u8>> {
    if !pretty {
        return serde_json::to_vec(body);
    }
    let mut text = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    body.serialize(&mut serde_json::Serializer::with_formatter(
        &mut text, formatter,
    ))?;
    Ok(text)
}

/// `GET /cluster/status`.
pub async fn status(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let status = api.status().await?;
    let connected = api.transport.connected();
    let peers: Vec<Json> = status
        .members
        .iter()
        .filter(|(id, _)| **id != status.id)
        .map(|(id, name)| {
            json!({
                "id": id.to_string(),
                "address": MemberName::parse(name).address,
                "connected": connected.contains(id),
                "voter": status.voters.contains(id),
            })
        })
        .collect();
    let leader = status.leader;
    let address = |id| {
        let name = status.members.get(&id);
        name.map(|name| MemberName::parse(name).address)
    };
    Ok(json_reply_as(
        &json!({
            "id": status.id.to_string(),
            "cluster": format!("{:016x}", ClusterId::number(api.transport.cluster())),
            "address": address(status.id),
            "role": status.role,
            "term": status.term.get(),
            "leader": leader.map(|id| id.to_string()),
            "leader_address": leader.and_then(address),
            "commit_index": status.commit_index.get(),
            "applied_index": status.applied_index.get(),
            "changing": status.changing,
            "voter": status.voters.contains(&status.id),
            "replicas": operate::describe(&api, &status),
            "peers": peers,
        }),
        flag(&parameters, "pretty"),
    ))
}

/// `POST /cluster/remove` with `{"id": …}`: an id or an address.
pub async fn remove(
    State(api): State<Api>,
    parameters: Parameters,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let id = removed(&api, &parameters, &body).await?;
    Ok(json_reply(&json!({ "removed": id.to_string() })))
}

/// `DELETE /remove`, rqlite's: likewise, answered without words.
pub async fn remove_quietly(
    State(api): State<Api>,
    parameters: Parameters,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    removed(&api, &parameters, &body).await?;
    Ok(StatusCode::OK)
}

/// Takes the member out that the body names.
async fn removed(api: &Api, parameters: &Parameters, body: &[u8]) -> Result<NodeId, ApiError> {
    let limit = time(parameters, "timeout")?.unwrap_or(REMOVAL_LIMIT);
    let id = member(api, body).await?;
    let removal = async {
        loop {
            api.node.remove(id);
            sleep(ASK_AGAIN).await;
            let status = api.status().await?;
            if !status.members.contains_key(&id) && !status.changing {
                return Ok(id);
            }
        }
    };
    let late = "timed out: the member may still be removed";
    timeout(limit, removal)
        .await
        .unwrap_or_else(|_| Err(ApiError::unavailable(late)))
}

/// The member that the body names, if it may be removed.
async fn member(api: &Api, body: &[u8]) -> Result<NodeId, ApiError> {
    let json = serde_json::from_slice::<Json>(body).unwrap_or_default();
    let is_one = json.as_object().is_some_and(|members| members.len() == 1);
    let Some(wanted) = json["id"].as_str().filter(|_| is_one) else {
        return Err(ApiError::bad(
            r#"the body has to be {"id": "ID or address of a member"}"#,
        ));
    };
    let status = api.status().await?;
    let id = status.member(wanted)?;
    if status.members.len() == 1 {
        return Err(ApiError::Conflict(
            "the last member cannot be removed".into(),
        ));
    }
    Ok(id)
}

/// `GET /healthcheck`: 200 as long as the process works.
pub async fn healthcheck(State(api): State<Api>) -> Result<&'static str, ApiError> {
    api.status().await.map(|_| "ok\n")
}
