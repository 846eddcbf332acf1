//! `GET /status`: what rqlite's clients and operators look at, as far as there is such a thing here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::IntoResponse;
use humantime::format_rfc3339_millis;
use serde_json::{Value as Json, json};
use tokio::runtime::Handle;

use super::super::cluster::json_reply_as;
use super::super::params::{Parameters, flag};
use super::super::{Api, ApiError, Kept, NOT_READ, answer, read_answer};
use super::front::RELEASE;
use super::queue;
use crate::backup::Backups;
use crate::cdc::Sender;
use crate::consensus::Status;
use crate::database::sqlite_version;
use crate::duration;
use crate::name::MemberName;
use crate::node::{SNAPSHOT_EVERY, SNAPSHOT_KEEP};
use crate::settings::TICK;
use crate::statement::{Outcome, Statement, Statements, Value};
use crate::transport::HELLO_TIMEOUT;

/// What the database has to say of itself is left out if it is not known after this.
const DATABASE_LIMIT: Duration = Duration::from_millis(200);
/// A time that never was, as Go writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Everything, or with `?key=store.raft` that part, which is `{}` if there is none.
pub async fn status(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let status = api.status().await?;
    // An operator wants to see the rest just when the state is at something long.
    let view = answer(Some(api.node.view()), Some(DATABASE_LIMIT), NOT_READ);
    let (view, ()) = tokio::join!(view, learn_options(&api));
    let size = view.ok().map(|view| view.size());
    let folder = PathBuf::from(&api.kept.folder);
    let pages = pages(&api.kept);
    // Disks may be slow.
    let look = move || Folder::look(&folder, pages.as_deref());
    let kept = tokio::task::spawn_blocking(look).await;
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
            "num_goroutine": Handle::current().metrics().num_alive_tasks(),
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
            "cluster": {
                "local_node_addr": api.addresses.peers,
                "timeout": duration::write(HELLO_TIMEOUT),
            },
            "queue": { "_default": queue::describe(&api.queue) },
            "tls": { "enabled": api.addresses.is_https.to_string() },
        },
        "extensions": { "dir": "", "names": [] },
        "store": store(&api, &status, size, &folder),
    });
    if let Some(time) = api.backups.fetched().last {
        all["last_backup_time"] = json!(format_rfc3339_millis(time).to_string());
    }
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

/// Asks the engine, once in the life of the process, how it was compiled.
async fn learn_options(api: &Api) {
    let options = &api.kept.compile_options;
    if options.get().is_some() {
        return;
    }
    let statement = Statement::plain("PRAGMA compile_options");
    let statements = Statements::query(vec![statement]);
    let read = api.node.read_local(statements, 1, Some(DATABASE_LIMIT));
    let read = read_answer(Some(read), Some(DATABASE_LIMIT)).await;
    // If it has no time now, the next one who asks will be told.
    if let Ok((outcomes, _)) = read
        && let [Outcome::Rows(rows)] = &outcomes[..]
    {
        let names = rows
            .values
            .iter()
            .flatten()
            .filter_map(|value| match value {
                Value::Text(name) => Some(name.clone()),
                _ => None,
            });
        options.get_or_init(|| names.collect());
    }
}

fn written(time: Option<SystemTime>) -> String {
    time.map_or_else(
        || NEVER.to_owned(),
        |time| format_rfc3339_millis(time).to_string(),
    )
}

fn auto_backups(backups: &Backups) -> Json {
    let last = backups.done().last;
    json!({
        "upload_destination": backups.config.store.to_string(),
        "upload_interval": duration::write(backups.config.interval),
        "last_upload_time": written(last.map(|(time, _)| time)),
        "last_index": last.map_or(0, |(_, index)| index.get()),
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
        "uptime": duration::write(uptime),
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
    /// When the database's file was last written to, where there is one.
    modified: Option<SystemTime>,
}

impl Folder {
    fn look(path: &Path, pages: Option<&Path>) -> Self {
        let mut found = Self {
            size: total(&files(path)),
            modified: pages.and_then(|pages| fs::metadata(pages).ok()?.modified().ok()),
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
    let updated = match api.node.figures.applied_at.load(Relaxed) {
        0 => None,
        ms => Some(UNIX_EPOCH + Duration::from_millis(ms)),
    };
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
        "fsm_term": status.applied_term.get(),
        "fsm_update_time": written(updated),
        "db_applied_index": status.applied_index.get(),
        "leader": {
            "node_id": leader.map_or_else(String::new, |id| status.called(id)),
            "addr": leader
                .and_then(|id| status.members.get(&id))
                .map_or("", |name| MemberName::parse(name).address),
        },
        "nodes": nodes.collect::<Vec<Json>>(),
        "heartbeat_timeout": duration::write(api.kept.heartbeat),
        "election_timeout": duration::write(api.kept.election),
        "snapshot_threshold": threshold,
        "snapshot_interval": duration::write(interval.unwrap_or_default()),
        "snapshot_store": {
            "dir": format!("{}/log", api.kept.folder),
            "dir_size": folder.snapshots,
            "snapshots": folder.names,
        },
        "trailing_logs": SNAPSHOT_KEEP,
        "db_conf": { "fk_constraints": if api.kept.foreign_keys { "enabled" } else { "disabled" } },
        "raft": raft(api, status, folder),
        "sqlite3": sqlite(&api.kept, size, folder),
    })
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

/// The database's file, where there is one.
fn pages(kept: &Kept) -> Option<PathBuf> {
    let path = || Path::new(&kept.folder).join("database/pages");
    kept.on_disk.then(path)
}

/// Where the database is, and how large, in bytes. What the engine is told of its disk is the same for both forms:
/// it has none.
fn sqlite(kept: &Kept, size: Option<usize>, folder: &Folder) -> Json {
    let path = pages(kept).map(|path| path.display().to_string());
    let pragmas = json!({
        "synchronous": "0",
        "journal_mode": "delete",
        "foreign_keys": if kept.foreign_keys { "1" } else { "0" },
    });
    let mut database = json!({
        "path": path.as_deref().unwrap_or(":memory:"),
        "version": sqlite_version(),
        "size": size,
        "db_size": size,
        "wal_size": 0,
        "extensions": [],
        "pragmas": { "ro": pragmas, "rw": pragmas },
    });
    if let Some(options) = kept.compile_options.get() {
        database["compile_options"] = json!(options);
    }
    if let Some(time) = folder.modified {
        database["last_modified"] = json!(format_rfc3339_millis(time).to_string());
    }
    database
}
