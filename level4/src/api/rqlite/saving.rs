//! The state is saved after as many entries as rqlite's `-raft-snap` says, besides the node's own rule.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::sleep;

use super::counters::Counters;
use crate::node::Node;
use crate::settings::SnapshotSettings;

/// Looks as long as it is polled.
pub async fn keep_saving(node: Arc<Node>, counters: Arc<Counters>, settings: SnapshotSettings) {
    loop {
        sleep(settings.look_every).await;
        let Ok(status) = node.status().await else {
            return;
        };
        let saved = node.figures.saved.load(Relaxed);
        counters.look(saved);
        if status.applied_index.get() >= saved.saturating_add(settings.entries) {
            // A node whose state is not to be trusted saves nothing.
            let _ = node.save().await;
            counters.look(node.figures.saved.load(Relaxed));
        }
    }
}
