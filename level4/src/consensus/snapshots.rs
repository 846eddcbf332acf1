//! Snapshots for followers that are too far behind: asked of the environment, offered to Raft, and sent
//! again when one got lost.

use std::collections::HashMap;

use raft::eraftpb::Snapshot;
use raft::{ProgressState, SnapshotStatus};

use super::Core;
use crate::message::{Index, NodeId};

/// How far followers have got with their snapshots.
#[derive(Debug, Default)]
pub struct Snapshots {
    /// The tick since which a follower has been waiting for a snapshot.
    waiting: HashMap<NodeId, u64>,
    /// The environment is making one.
    asked: bool,
}

impl Snapshots {
    /// Whether the environment has to be asked for a snapshot, given that Raft `wants` one.
    pub fn ask(&mut self, wants: bool) -> bool {
        let ask = wants && !self.asked;
        self.asked |= wants;
        ask
    }
}

impl Core {
    /// A snapshot lost on the way would keep its follower waiting for ever.
    pub(super) fn retry_snapshots(&mut self) {
        let now = self.ticks;
        let behind: Vec<NodeId> = self
            .raw
            .raft
            .prs()
            .iter()
            .filter(|(_, progress)| progress.state == ProgressState::Snapshot)
            .map(|(&node, _)| node)
            .collect();
        let waiting = &mut self.snapshots.waiting;
        waiting.retain(|node, _| behind.contains(node));
        for node in behind {
            let since = *waiting.entry(node).or_insert(now);
            if now - since > self.timing.snapshot {
                waiting.remove(&node);
                self.raw.report_snapshot(node, SnapshotStatus::Failure);
            }
        }
    }

    /// A snapshot of the state for followers that need one; `None`: it could not be made.
    pub fn offer_snapshot(&mut self, snapshot: Option<Snapshot>) {
        self.snapshots.asked = false;
        self.raw.mut_store().offer_snapshot(snapshot);
    }

    /// A snapshot at `index` is durable: entries before it may go, and go from memory here, but for the
    /// last `keep` and of these not more than `keep_bytes`. Returns the last index that is gone, up to
    /// which the log on disk may be cut as well.
    pub fn compact(&mut self, index: Index, keep: u64, keep_bytes: usize) -> Index {
        let store = self.raw.mut_store();
        store.compact(index, keep, keep_bytes);
        store.offer_snapshot(None);
        store.base_index()
    }
}
