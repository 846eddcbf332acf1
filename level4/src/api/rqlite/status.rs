//! `GET /status`: what rqlite's clients and operators look at, as far as there is such a thing here.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::response::IntoResponse;
use humantime::{format_duration, format_rfc3339_millis};
use serde_json::{Value as Json, json};

use super::super::cluster::json_reply_as;
use super::super::params::{Parameters, flag};
use super::super::{Api, ApiError, Kept, NOT_READ, answer};
use super::queue;
use crate::backup::Backups;
use crate::cdc::Sender;
use crate::consensus::Status;
use crate::database::sqlite_version;
use crate::name::MemberName;
use crate::node::{SNAPSHOT_EVERY, SNAPSHOT_KEEP};
use crate::settings::TICK;

/// The database's size is left out if it is not known after this.
const SIZE_LIMIT: Duration = Duration::from_millis(200);
/// The leader's id while there is none.
const NOBODY: &str = "0000000000000000";

/// Everything, or with `?key=store.raft` that part, which is `{}` if there is none.
pub async fn status(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let status = api.status().await?;
    // An operator wants to see the rest just when the state is at something long.
    let view = answer(Some(api.node.view()), Some(SIZE_LIMIT), NOT_READ).await;
    let size = view.ok().map(|view| view.size());
    let mut all = json!({
        "build": { "version": env!("CARGO_PKG_VERSION") },
        "node": node(&api),
        "os": {
            "pid": std::process::id(),
            "hostname": rustix::system::uname().nodename().to_string_lossy(),
        },
        "runtime": {
            "GOARCH": std::env::consts::ARCH,
            "GOOS": std::env::consts::OS,
            "num_cpu": std::thread::available_parallelism().map_or(1, usize::from),
        },
        "cluster": {
            "addr": api.addresses.peers,
            "api_addr": api.addresses.clients,
            "https": api.addresses.is_https.to_string(),
        },
        "http": {
            "bind_addr": api.addresses.clients,
            "auth": if api.users.borrow().is_some() { "enabled" } else { "disabled" },
            "allow_origin": api.allow_origin,
            "queue": { "_default": queue::describe(&api.queue) },
            "tls": { "enabled": api.addresses.is_https.to_string() },
        },
        "extensions": { "names": [] },
        "store": store(&api, &status, size),
    });
    if let Some(backups) = &api.auto_backups {
        all["auto_backups"] = auto_backups(backups);
    }
    if let Some(sender) = &api.sender {
        all["cdc"] = changes(&api, sender);
    }
    if let Some(key) = parameters.get("key") {
        let part = key
            .split('.')
            .try_fold(&mut all, |part, name| part.get_mut(name));
        let part = part.map_or_else(|| json!({}), Json::take);
        return Ok(json_reply_as(&part, false));
    }
    Ok(json_reply_as(&all, flag(&parameters, "pretty")))
}

fn auto_backups(backups: &Backups) -> Json {
    let last = backups.done().last;
    let time = last.map(|(time, _)| format_rfc3339_millis(time).to_string());
    json!({
        "upload_destination": backups.config.store.to_string(),
        "upload_interval": format_duration(backups.config.interval).to_string().replace(' ', ""),
        "last_upload_time": time,
        "last_index": last.map(|(_, index)| index.get()),
    })
}

fn changes(api: &Api, sender: &Sender) -> Json {
    let standing = api.node.feed.standing();
    json!({
        "highwater_mark": standing.delivered.get(),
        "is_leader": sender.figures.leads.load(Relaxed),
        "sink": sender.config.sink.to_string(),
        "fifo": { "length": standing.entries, "bytes": standing.bytes, "lost": standing.lost },
    })
}

fn node(api: &Api) -> Json {
    let now = SystemTime::now();
    let uptime = now.duration_since(api.started).unwrap_or_default();
    json!({
        "start_time": format_rfc3339_millis(api.started).to_string(),
        "current_time": format_rfc3339_millis(now).to_string(),
        "uptime": format_duration(uptime).to_string().replace(' ', ""),
    })
}

fn store(api: &Api, status: &Status, size: Option<usize>) -> Json {
    let leader = status.leader;
    let nodes = status.members.iter().map(|(id, name)| {
        let suffrage = if status.voters.contains(id) {
            "voter"
        } else {
            "nonvoter"
        };
        let name = MemberName::parse(name);
        json!({ "id": name.id(*id), "addr": name.address, "suffrage": suffrage })
    });
    json!({
        "node_id": status.called(status.id),
        "addr": api.addresses.peers,
        "dir": api.kept.folder,
        "ready": status.leader.is_some(),
        "fsm_index": status.applied_index.get(),
        "db_applied_index": status.applied_index.get(),
        "leader": {
            "node_id": leader.map_or_else(|| NOBODY.to_owned(), |id| status.called(id)),
            "addr": leader
                .and_then(|id| status.members.get(&id))
                .map(|name| MemberName::parse(name).address),
        },
        "nodes": nodes.collect::<Vec<Json>>(),
        "heartbeat_timeout": milliseconds(api.kept.heartbeat),
        "election_timeout": milliseconds(api.kept.election),
        "snapshot_threshold": SNAPSHOT_EVERY,
        "trailing_logs": SNAPSHOT_KEEP,
        "db_conf": { "fk_constraints": "enabled" },
        "raft": raft(api, status),
        "sqlite3": sqlite(&api.kept, size),
    })
}

fn milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

fn raft(api: &Api, status: &Status) -> Json {
    let others = status.voters.iter().filter(|id| **id != status.id).count();
    let contact = match status.leader_silence {
        Some(0) => "0".to_owned(),
        Some(ticks) => format!("{}ms", TICK.as_millis() * u128::from(ticks)),
        None => "never".to_owned(),
    };
    json!({
        "state": match status.role {
            "leader" => "Leader",
            "candidate" => "Candidate",
            _ => "Follower",
        },
        "term": status.term.get(),
        "applied_index": status.applied_index.get(),
        "commit_index": status.commit_index.get(),
        "last_log_index": status.last_index.get(),
        "last_snapshot_index": api.node.figures.saved.load(Relaxed),
        "fsm_pending": status.commit_index.since(status.applied_index),
        "num_peers": others,
        "voter": status.voters.contains(&status.id),
        "last_contact": contact,
    })
}

/// Where the database is, and how large, in bytes. What the engine is told of its disk is the same for both forms:
/// it has none.
fn sqlite(kept: &Kept, size: Option<usize>) -> Json {
    let pages = || format!("{}/database/pages", kept.folder);
    let path = kept.on_disk.then(pages);
    let pragmas = json!({
        "synchronous": "0",
        "journal_mode": "delete",
        "foreign_keys": "1",
    });
    json!({
        "path": path.as_deref().unwrap_or(":memory:"),
        "version": sqlite_version(),
        "size": size,
        "db_size": size,
        "pragmas": { "ro": pragmas, "rw": pragmas },
    })
}
