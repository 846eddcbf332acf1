//! `GET /metrics`: figures in Prometheus' text format.

use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::{Api, ApiError, operate};
use crate::consensus::{Standing, Status};
use crate::ids::Index;

/// A figure: its name without the prefix, Prometheus' type, what it tells, and its value.
type Row = (&'static str, &'static str, &'static str, u64);

/// All figures of this node.
pub async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let status = api.status().await?;
    let mut text = String::new();
    for (name, kind, help, value) in work(&api)
        .into_iter()
        .chain(position(&api, &status))
        .chain(changes(&api))
    {
        // Writing into a string does not fail.
        let _ = writeln!(
            text,
            "# HELP level4_{name} {help}\n# TYPE level4_{name} {kind}\nlevel4_{name} {value}"
        );
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}

/// What this process has done.
fn work(api: &Api) -> [Row; 6] {
    let figures = &api.node.figures;
    let (sent, read) = (&api.transport.traffic.0, &api.transport.traffic.1);
    let counter = "counter";
    let requests = figures.requests.load(Relaxed);
    let syncs = figures.syncs.load(Relaxed);
    let waiting = api.node.waiting() as u64;
    [
        (
            "requests_total",
            counter,
            "Client requests taken.",
            requests,
        ),
        ("log_syncs_total", counter, "Writes to the log.", syncs),
        (
            "peer_sent_bytes_total",
            counter,
            "Sent to peers.",
            sent.load(Relaxed),
        ),
        (
            "peer_read_bytes_total",
            counter,
            "Read from peers.",
            read.load(Relaxed),
        ),
        (
            "peer_refusals_total",
            counter,
            "Greetings and messages of peers that were refused.",
            api.transport.refusals.load(Relaxed),
        ),
        ("waiting_requests", "gauge", "Clients that wait.", waiting),
    ]
}

/// Changes that others are told.
fn changes(api: &Api) -> [Row; 6] {
    let standing = api.node.feed.standing();
    let figures = api.sender.as_ref().map(|sender| &sender.figures);
    let (gauge, counter) = ("gauge", "counter");
    [
        (
            "cdc_queued_entries",
            gauge,
            "Entries whose changes wait to be sent.",
            standing.entries as u64,
        ),
        (
            "cdc_queued_bytes",
            gauge,
            "Bytes of these.",
            standing.bytes as u64,
        ),
        (
            "cdc_delivered_index",
            gauge,
            "Up to here changes have been sent, as all nodes know.",
            standing.delivered.get(),
        ),
        (
            "cdc_lost_entries_total",
            counter,
            "Entries whose changes were lost for want of room.",
            standing.lost,
        ),
        (
            "cdc_sent_entries_total",
            counter,
            "Entries whose changes this node has sent.",
            figures.map_or(0, |figures| figures.entries.load(Relaxed)),
        ),
        (
            "cdc_failures_total",
            counter,
            "Tries of this node to send changes that failed.",
            figures.map_or(0, |figures| figures.failures.load(Relaxed)),
        ),
    ]
}

/// Where this node stands.
fn position(api: &Api, status: &Status) -> [Row; 12] {
    let gauge = "gauge";
    let leads = u64::from(status.role == "leader");
    let members = status.members.len() as u64;
    let connected = api.transport.connected().len() as u64;
    [
        ("term", gauge, "Raft term.", status.term.get()),
        ("is_leader", gauge, "1 on the leader.", leads),
        (
            "commit_index",
            gauge,
            "Of this node's log.",
            status.commit_index.get(),
        ),
        (
            "applied_index",
            gauge,
            "Of this node's state.",
            status.applied_index.get(),
        ),
        (
            "apply_backlog",
            gauge,
            "Committed entries that are not applied here.",
            status.commit_index.since(status.applied_index),
        ),
        (
            "state_sound",
            gauge,
            "0 if this node's state is not known to be the majority's.",
            u64::from(status.standing == Standing::Sound),
        ),
        (
            "parted_at_index",
            gauge,
            "Where this node's state parted from the majority's; 0: nowhere.",
            operate::parted_at(status).map_or(0, Index::get),
        ),
        (
            "peers_insecure",
            gauge,
            "1 if whoever reaches this node can act as a member.",
            u64::from(api.transport.is_open()),
        ),
        (
            "removed",
            gauge,
            "1 if this node has been removed from its cluster.",
            u64::from(status.removed.is_some()),
        ),
        (
            "disk_full",
            gauge,
            "1 while this node waits for room on its disk.",
            u64::from(api.node.figures.is_disk_full()),
        ),
        ("members", gauge, "Of the cluster.", members),
        ("peers_connected", gauge, "Connections.", connected),
    ]
}
