//! The keeper: one indexing job at a time, and seeing to it that the nodes have what was asked.
//!
//! Between jobs the keeper compares what the nodes hold with what was asked for, and starts a job
//! if anything is missing; so a node that comes back empty, or a master that was killed in the
//! middle, needs nobody's help.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Master, reindex};
use crate::wire::ShardStatus;

/// How often the keeper looks after the nodes.
const KEEPER_PERIOD: Duration = Duration::from_secs(1);

/// Periods for which the keeper lets a failed job rest.
const FAILURE_REST: u32 = 10;

/// Runs jobs as they are asked for, and those that it finds necessary.
pub(crate) async fn run(master: Arc<Master>) {
    let requests = &master.requests;
    let mut rest = 0_u32;
    loop {
        let woken = timeout(KEEPER_PERIOD, requests.wake.notified())
            .await
            .is_ok();
        rest = if woken { 0 } else { rest.saturating_sub(1) };
        let (asked, serial) = {
            let state = requests.state();
            (state.requested > state.finished, state.requested)
        };
        if !asked && (rest > 0 || !is_incomplete(&master).await) {
            continue;
        }
        let Some(root) = requests.wanted() else {
            continue;
        };
        // Seen from outside, a job that the keeper starts is no different from a requested one.
        let serial = if asked {
            serial
        } else {
            let mut state = requests.state();
            state.requested += 1;
            state.requested
        };
        let outcome = reindex::run(&master, &root, serial).await;
        let mut state = requests.state();
        state.finished = state.finished.max(serial);
        if outcome.is_ok() && state.finished == state.requested {
            requests.forget_request();
        }
        if let Err(failure) = &outcome {
            crate::note!("indexing {} failed: {failure}", root.display());
            rest = FAILURE_REST;
        }
        if outcome.is_err() {
            state.seen = None;
        }
        state.failure = outcome.err();
    }
}

/// Whether the nodes are without something that was asked for, and could be given it now. What
/// only waits to be committed is committed on the way.
async fn is_incomplete(master: &Master) -> bool {
    let topology = &master.topology;
    let statuses = master.statuses().await;
    let newest = statuses
        .answers()
        .flat_map(|status| &status.shards)
        .flat_map(ShardStatus::states)
        .max_by_key(|id| id.job);
    {
        let mut state = master.requests.state();
        if let Some(newest) = newest {
            state.job = state.job.max(newest.job);
        }
        if state.wanted.is_none() {
            // A master without a data folder learns from its nodes what it was serving.
            state.wanted = newest.map(|identity| PathBuf::from(&identity.root));
        }
    }
    let Some(wanted) = master.requests.wanted() else {
        return false;
    };
    if master.served.known().is_none() {
        master.learn(&statuses);
    }
    let served = master.served.known();
    let mut uncommitted = Vec::new();
    for shard in 1..=topology.shards() {
        // A node that cannot be reached is looked after when it is back.
        for node in topology
            .replicas(shard)
            .filter(|&node| statuses.of(node).is_ok())
        {
            let Some(held) = statuses.states(node, shard).next() else {
                return true;
            };
            let is_right = Path::new(&held.root) == wanted
                && held.of == topology.shards()
                && served.as_ref().is_some_and(|state| state.job == held.job);
            if !is_right {
                return true;
            }
            if statuses.has_prepared(node, shard) {
                uncommitted.push((node, shard));
            }
        }
    }
    if let Some(state) = served {
        for (node, shard) in uncommitted {
            reindex::commit(master, node, shard, state.job).await;
        }
    }
    false
}
