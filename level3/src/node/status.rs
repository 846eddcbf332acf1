//! What a node says about itself.

use std::sync::atomic::Ordering;

use super::Node;
use crate::index::Shard;
use crate::root::RootName;
use crate::wire::{IndexingStatus, NodeStatus, ShardStatus};

/// How many of the files that are left out a status names.
const MAX_REJECTED: usize = 100;

impl Node {
    /// The state of the node and its shards.
    pub fn status(&self) -> NodeStatus {
        // One that is being written down is waited for before anything else is held up.
        let removed = self.removals().jobs().clone();
        let shards = self.shards();
        let indexing = self
            .updates()
            .current
            .as_ref()
            .map(|(_, progress)| IndexingStatus {
                files_total: progress.files_total.load(Ordering::Relaxed),
                files_done: progress.files_done.load(Ordering::Relaxed),
                bytes_done: progress.bytes_done.load(Ordering::Relaxed),
            });
        NodeStatus {
            id: self.id,
            folder: self.dir.display().to_string(),
            shards: shards
                .iter()
                .map(|((root, number), shard)| shard_status(root, *number, shard))
                .collect(),
            removed,
            indexing,
            searching: self.load.running(),
            peak_memory_bytes: peak_memory_bytes(),
        }
    }
}

fn shard_status(root: &RootName, number: u32, shard: &Shard) -> ShardStatus {
    let mut status = ShardStatus {
        root: root.clone(),
        shard: number,
        identity: None,
        prepared: shard.prepared().map(|state| state.identity.clone()),
        damage: shard.damage(),
        files: 0,
        text_bytes: 0,
        packed_bytes: 0,
        index_bytes: 0,
        segments: 0,
        rejected: 0,
        rejected_files: Vec::new(),
    };
    let Some(snapshot) = shard.snapshot() else {
        return status;
    };
    status.identity = Some(snapshot.identity.clone());
    for live in &snapshot.segments {
        status.segments += 1;
        status.text_bytes += live.text_bytes();
        status.packed_bytes += live.segment.text_bytes();
        status.index_bytes += live.segment.index_bytes();
        for (_, row) in live.files() {
            match row.reject {
                None => status.files += 1,
                Some(reason) => {
                    status.rejected += 1;
                    if status.rejected_files.len() < MAX_REJECTED {
                        status.rejected_files.push((row.path.to_string(), reason));
                    }
                }
            }
        }
    }
    status
}

/// Peak resident memory of this process, where the system says.
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
