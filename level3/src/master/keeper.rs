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
        state.failure = outcome.err();
    }
}

/// Whether the nodes are without something that was asked for, and could be given it now.
async fn is_incomplete(master: &Master) -> bool {
    let topology = &master.topology;
    let statuses = master.statuses().await;
    let newest = statuses
        .answers()
        .flat_map(|status| &status.shards)
        .filter_map(|shard| shard.identity.as_ref())
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
    // A node that cannot be reached is looked after when it is back.
    (1..=topology.shards()).any(|shard| {
        topology
            .replicas(shard)
            .filter_map(|node| statuses.of(node).ok())
            .any(|status| {
                let held = status.shards.iter().find(|held| held.shard == shard);
                let identity = held.and_then(|held| held.identity.as_ref());
                !identity.is_some_and(|identity| {
                    Path::new(&identity.root) == wanted
                        && identity.of == topology.shards()
                        && newest.is_none_or(|newest| newest.job == identity.job)
                })
            })
    })
}
