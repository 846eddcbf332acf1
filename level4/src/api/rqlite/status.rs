//! `GET /status`: what rqlite's clients and operators look at, as far as there is such a thing here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::response::IntoResponse;
use humantime::{format_duration, format_rfc3339_millis};
use serde_json::{Value as Json, json};

use super::super::cluster::json_reply_as;
use super::super::params::{Parameters, flag};
use super::super::{Api, ApiError, Kept, NOT_READ, answer};
use super::front::RELEASE;
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

/// Everything, or with `?key=store.raft` that part, which is `{}` if there is none.
pub async fn status(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let status = api.status().await?;
    // An operator wants to see the rest just when the state is at something long.
    let view = answer(Some(api.node.view()), Some(SIZE_LIMIT), NOT_READ).await;
    let size = view.ok().map(|view| view.size());
    let folder = PathBuf::from(&api.kept.folder);
    // Disks may be slow.
    let kept = tokio::task::spawn_blocking(move || Folder::look(&folder)).await;
    let folder = kept.unwrap_or_default();
    let mut all = json!({
        "build": { "version": RELEASE, "commit": "unknown", "build_time": "unknown" },
        "node": node(&api),
        "os": {
            "pid": std::process::id(),
            "hostname": rustix::system::uname().nodename().to_string_lossy(),
        },
        "runtime": {
            "GOARCH": std::env::consts::ARCH,
            "GOOS": std::env::consts::OS,
            "num_cpu": std::thread::available_parallelism().map_or(1, usize::from),
            "version": concat!("rust ", env!("CARGO_PKG_RUST_VERSION")),
        },
        "cluster": {
            "addr": api.addresses.peers,
            "api_addr": api.addresses.clients,
            "https": api.addresses.is_https.to_string(),
        },
        "http": {
            "bind_addr": api.addresses.clients,
            "auth": if api.users.borrow().is_some() { "enabled" } else { "disabled" },
            "allow_origin": api.allow_origin.as_deref().unwrap_or_default(),
            "cluster": { "local_node_addr": api.addresses.peers },
            "queue": { "_default": queue::describe(&api.queue) },
            "tls": { "enabled": api.addresses.is_https.to_string() },
        },
        "extensions": { "dir": "", "names": [] },
        "store": store(&api, &status, size, &folder),
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
        "uptime": format!("{uptime:?}"),
    })
}

/// What the node keeps on disk, bytes.
#[derive(Debug, Default)]
struct Folder {
    /// All of it.
    size: u64,
    /// The log.
    log: u64,
    /// Snapshots,
    snapshots: u64,
    /// and how they are called.
    names: Vec<String>,
}

impl Folder {
    fn look(path: &Path) -> Self {
        let mut found = Self {
            size: total(&files(path)),
            ..Self::default()
        };
        for (name, bytes) in files(&path.join("log")) {
            if name.starts_with("snapshot-") {
                found.snapshots += bytes;
                found.names.push(name);
            } else {
                found.log += bytes;
            }
        }
        found.names.sort();
        found
    }
}

/// Files and folders in a folder, with their bytes. They come and go meanwhile, which is no error.
fn files(path: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let sized = entries.map(|entry| {
        let bytes = match entry.metadata() {
            Ok(folder) if folder.is_dir() => total(&files(&entry.path())),
            file => file.map_or(0, |file| file.len()),
        };
        (entry.file_name().to_string_lossy().into_owned(), bytes)
    });
    sized.collect()
}

fn total(files: &[(String, u64)]) -> u64 {
    files.iter().map(|(_, bytes)| bytes).sum()
}

fn store(api: &Api, status: &Status, size: Option<usize>, folder: &Folder) -> Json {
    let leader = status.leader;
    let threshold = api
        .kept
        .snapshots
        .map_or(SNAPSHOT_EVERY, |rule| rule.entries.min(SNAPSHOT_EVERY));
    let interval = api.kept.snapshots.map(|rule| rule.look_every);
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
        "dir_size": folder.size,
        "ready": status.leader.is_some(),
        "fsm_index": status.applied_index.get(),
        "db_applied_index": status.applied_index.get(),
        "leader": {
            "node_id": leader.map_or_else(String::new, |id| status.called(id)),
            "addr": leader
                .and_then(|id| status.members.get(&id))
                .map_or("", |name| MemberName::parse(name).address),
        },
        "nodes": nodes.collect::<Vec<Json>>(),
        "heartbeat_timeout": milliseconds(api.kept.heartbeat),
        "election_timeout": milliseconds(api.kept.election),
        "snapshot_threshold": threshold,
        "snapshot_interval": interval.map_or("0s".to_owned(), |every| format!("{every:?}")),
        "snapshot_store": {
            "dir": api.kept.folder,
            "dir_size": folder.snapshots,
            "snapshots": folder.names,
        },
        "trailing_logs": SNAPSHOT_KEEP,
        "db_conf": { "fk_constraints": if api.kept.foreign_keys { "enabled" } else { "disabled" } },
        "raft": raft(api, status, folder),
        "sqlite3": sqlite(&api.kept, size),
    })
}

fn milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

fn raft(api: &Api, status: &Status, folder: &Folder) -> Json {
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
        "log_size": folder.log,
        "latest_configuration": configuration(status),
    })
}

/// The members in one line, as rqlite's library writes them.
fn configuration(status: &Status) -> String {
    let servers = status.members.iter().map(|(id, name)| {
        let votes = if status.voters.contains(id) {
            "Voter"
        } else {
            "Nonvoter"
        };
        let name = MemberName::parse(name);
        format!(
            "{{Suffrage:{votes} ID:{} Address:{}}}",
            name.id(*id),
            name.address
        )
    });
    format!("[{}]", servers.collect::<Vec<_>>().join(" "))
}

/// Where the database is, and how large, in bytes. What the engine is told of its disk is the same for both forms:
/// it has none.
fn sqlite(kept: &Kept, size: Option<usize>) -> Json {
    let pages = || format!("{}/database/pages", kept.folder);
    let path = kept.on_disk.then(pages);
    let pragmas = json!({
        "synchronous": "0",
        "journal_mode": "delete",
        "foreign_keys": if kept.foreign_keys { "1" } else { "0" },
    });
    json!({
        "path": path.as_deref().unwrap_or(":memory:"),
        "version": sqlite_version(),
        "size": size,
        "db_size": size,
        "wal_size": 0,
        "pragmas": { "ro": pragmas, "rw": pragmas },
    })
}
