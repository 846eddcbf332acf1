//! What this node has been asked, as rqlite counts it: `GET /debug/vars`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value as Json, json};

use super::super::Api;
use super::super::cluster::json_reply_as;
use super::super::params::{Parameters, flag};

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

    fn to_json(&self) -> Json {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        json!({
            "http": {
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
            },
            "store": {
                "num_backups": of(&self.backups),
                "num_loads": of(&self.loads),
                "num_snapshots": of(&self.snapshots),
                "num_user_snapshots": of(&self.user_snapshots),
            },
        })
    }
}

/// `GET /debug/vars`: all of it, or with `?key=store` that part.
pub async fn show(State(api): State<Api>, parameters: Parameters) -> impl IntoResponse {
    api.counters.look(api.node.figures.saved.load(Relaxed));
    let mut counters = api.counters.to_json();
    if let Some(backups) = &api.auto_backups {
        let done = backups.done();
        counters["uploader"] = json!({
            "num_uploads_ok": done.uploaded,
            "num_uploads_fail": done.failed,
            "num_uploads_skipped": done.skipped,
        });
    }
    if let Some(sender) = &api.sender {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        let figures = &sender.figures;
        counters["cdc.service"] = json!({
            "num_batches_sent": of(&figures.batches),
            "num_groups_sent": of(&figures.entries),
            "retries": of(&figures.failures),
            "dropped_failed_to_send": of(&figures.dropped),
            "dropped_no_room": api.node.feed.standing().lost,
        });
    }
    if let Some(key) = parameters.get("key") {
        counters = json!({ key: counters[key.as_str()].take() });
    }
    json_reply_as(&counters, flag(&parameters, "pretty"))
}
