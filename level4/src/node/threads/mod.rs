//! The node's threads and what they tell one another.
//!
//! The *consensus* thread owns the core and never waits for a disk; the *log* thread writes and syncs what
//! the core hands it, many changes at once; the *state* thread applies committed entries to the database;
//! the *snapshot* thread saves the node's own snapshots, for which no sync should wait; the *parcels* thread
//! reads and writes for those that go from node to node.

pub(super) mod consensus;
pub(super) mod log;
pub(super) mod parcels;
mod room;
pub(super) mod snapshot;
pub(super) mod state;

use std::panic::{self, AssertUnwindSafe};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::fault::{Fault, FaultSender};
use crate::consensus::{Applied, Apply, Offered, Persist, Status, Token};
use crate::database::{Read, View};
use crate::ids::{Index, NodeId};
use crate::message::Command;
use crate::stack::Stack;
use crate::transport::Event;

/// What the consensus thread is told.
pub(super) enum Input {
    Peer(Event),
    Request {
        token: Token,
        key: Option<String>,
        command: Command,
    },
    Read(Token),
    Persisted(u64),
    Applied(Applied),
    Content(Index, u64),
    Skip(Index),
    Offer(Option<Offered>),
    Saved(Index),
    Join(NodeId, String),
    Remove(NodeId),
    Status(oneshot::Sender<Status>),
    /// Another one should lead, this one if one is named: the node is ending, or its log has no room, or an
    /// operator wants it.
    StepDown(Option<NodeId>),
}

/// What the log's thread is told.
pub(super) enum LogWork {
    Write(Persist),
    Compact(Index),
}

/// What the state's thread is told.
pub(super) enum StateWork {
    Apply(Apply),
    Read(Token),
    ReadNow(Read),
    Snapshot,
    /// An operator wants the state saved; whether there was anything new is told.
    Save(oneshot::Sender<bool>),
    View(oneshot::Sender<View>),
}

/// Starts a thread. What it returns, and a panic, are faults of the node.
pub(super) fn spawn(
    name: &'static str,
    stack: Stack,
    faults: &FaultSender,
    work: impl FnOnce() -> Result<(), Fault> + Send + 'static,
) {
    let reporter = faults.clone();
    let guarded = move || {
        let ended = panic::catch_unwind(AssertUnwindSafe(work));
        if let Err(fault) = ended.unwrap_or(Err(Fault::Panicked { thread: name })) {
            reporter.report(fault);
        }
    };
    let result = stack.spawn(name, guarded);
    if let Err(cause) = result {
        faults.report(Fault::NoThread {
            thread: name,
            cause,
        });
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as u64)
}
