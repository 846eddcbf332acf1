//! What this node has been asked, as rqlite counts it: `GET /debug/vars`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value as Json, json};

use super::super::cluster::json_reply_as;
use super::super::params::{Parameters, flag};
use super::super::{Api, ApiError};
use crate::cdc::Figures;
use crate::consensus::JoinCounts;
use crate::node::Beginning;

/// Requests since the start of the process.
#[derive(Debug, Default)]
pub struct Counters {
    /// `/db/execute`.
    pub executions: AtomicU64,
    /// `/db/query`.
    pub queries: AtomicU64,
    /// `/db/request`.
    pub requests: AtomicU64,
    /// `/db/execute?queue`,
    pub queued: AtomicU64,
    /// and those of them that have been executed.
    pub queued_ok: AtomicU64,
    /// `/db/backup`.
    pub backups: AtomicU64,
    /// `/db/load` and `/boot`.
    pub loads: AtomicU64,
    /// `/snapshot`.
    pub user_snapshots: AtomicU64,
    /// Of the last snapshot that was seen, the index,
    saved: AtomicU64,
    /// and how many were; two between two looks are one.
    snapshots: AtomicU64,
    /// `/reap`.
    pub reaps: AtomicU64,
    /// Requests that needed a leader when there was none.
    pub leader_not_found: AtomicU64,
    /// Requests of those who might, where there are users,
    pub auth_ok: AtomicU64,
    /// and of those who might not.
    pub auth_fail: AtomicU64,
}

impl Counters {
    /// Those of a node whose last snapshot has this index.
    pub fn new(saved: u64) -> Self {
        Self {
            saved: saved.into(),
            ..Self::default()
        }
    }

    /// The last snapshot has this index now.
    pub fn look(&self, saved: u64) {
        if self.saved.fetch_max(saved, Relaxed) < saved {
            self.snapshots.fetch_add(1, Relaxed);
        }
    }

    fn http(&self) -> Json {
        json!({
            "executions": of(&self.executions),
            "queries": of(&self.queries),
            "requests": of(&self.requests),
            "queued_executions": of(&self.queued),
            "queued_executions_ok": of(&self.queued_ok),
            "backups": of(&self.backups),
            "loads": of(&self.loads),
            "user_snapshots": of(&self.user_snapshots),
            "user_reaps": of(&self.reaps),
            "auth_ok": of(&self.auth_ok),
            "auth_fail": of(&self.auth_fail),
            "leader_not_found": of(&self.leader_not_found),
        })
    }
}

fn of(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

/// What has become of the state, and of the members.
fn store(api: &Api, joins: JoinCounts) -> Json {
    let (counters, figures) = (&api.counters, &api.node.figures);
    let began_with = |beginning| u64::from(figures.beginning == beginning);
    let at_start = began_with(Beginning::Snapshot);
    json!({
        "num_backups": api.backups.fetched().count,
        "num_loads": of(&counters.loads),
        "num_snapshots": of(&counters.snapshots),
        "num_user_snapshots": of(&counters.user_snapshots),
        "num_restores": at_start + of(&figures.restores),
        "num_restores_start": at_start,
        "num_restores_start_skipped": began_with(Beginning::Left),
        "num_joins": joins.joined,
        "num_ignored_joins": joins.ignored,
        "num_removed_before_joins": joins.replaced,
    })
}

/// Of backups that are made by themselves; none where there are none to be made.
fn uploader(api: &Api) -> Json {
    let done = api.auto_backups.as_ref().map(|backups| backups.done());
    let done = done.unwrap_or_default();
    json!({
        "num_uploads_ok": done.uploaded,
        "num_uploads_fail": done.failed,
        "num_uploads_skipped": done.skipped,
    })
}

/// Of changes that others are told; none where nobody is to be.
fn changes(api: &Api) -> Json {
    let none = Figures::default();
    let figures = api.sender.as_ref().map_or(&none, |sender| &sender.figures);
    json!({
        "num_batches_sent": of(&figures.batches),
        "num_groups_sent": of(&figures.entries),
        "retries": of(&figures.failures),
        "dropped_failed_to_send": of(&figures.dropped),
        "dropped_no_room": api.node.feed.standing().lost,
    })
}

/// `GET /debug/vars`: all of it, or with `?key=store` that part.
pub async fn show(
    State(api): State<Api>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ApiError> {
    let joins = api.status().await?.joins;
    api.counters.look(api.node.figures.saved.load(Relaxed));
    let mut counters = json!({
        "http": api.counters.http(),
        "store": store(&api, joins),
        "cluster": {
            "num_join_req": joins.asked,
            // There is one connection to each node, and no request waits for another one.
            "num_client_force_new_conn": 0,
        },
        "uploader": uploader(&api),
        "cdc.service": changes(&api),
    });
    if let Some(key) = parameters.get("key") {
        counters = match counters.get_mut(key) {
            Some(found) => json!({ key: found.take() }),
            None => json!({}),
        };
    }
    Ok(json_reply_as(&counters, flag(&parameters, "pretty")))
}
