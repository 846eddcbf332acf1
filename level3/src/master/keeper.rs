//! The keeper: one indexing job at a time for each root, and seeing to it that the nodes have what
//! was asked for, and nothing that was removed.
//!
//! From time to time the keeper compares what the nodes hold with what was asked for, and has a job
//! started where anything is missing; so a node that comes back empty, or a master that was killed in
//! the middle, needs nobody's help. Jobs of different roots run beside each other: one that waits for
//! a node holds up no other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::error::{Cause, MasterError};
use super::requests::{Root, Wanted};
use super::topology::{NodeIndex, Statuses};
use super::{Master, reindex};
use crate::root::RootName;
use crate::wire::{ForgetRequest, Kind};

/// How often the keeper looks after the nodes.
const KEEPER_PERIOD: Duration = Duration::from_secs(1);

/// Runs jobs as they are asked for, and those that are found to be necessary. Never ends.
pub(crate) async fn run(master: Arc<Master>) {
    tokio::join!(run_jobs(&master), look_after(&master));
}

async fn run_jobs(master: &Arc<Master>) {
    let mut jobs = JoinSet::new();
    loop {
        for root in master.roots.list() {
            root.begin(|wanted, serial| {
                jobs.spawn(job(Arc::clone(master), Arc::clone(&root), wanted, serial))
            });
        }
        tokio::select! {
            () = master.roots.wake.notified() => {}
            Some(_) = jobs.join_next() => {}
        }
    }
}

/// Works on one request.
async fn job(master: Arc<Master>, root: Arc<Root>, wanted: Wanted, serial: u64) {
    let work = reindex::run(&master, &root, &wanted, serial);
    let outcome = AssertUnwindSafe(work).catch_unwind().await;
    let outcome = outcome.unwrap_or(Err(MasterError::Worker));
    if let Err(failure) = &outcome {
        let path = wanted.path.display();
        crate::note!("indexing {path} as {} failed: {failure}", root.name());
    }
    let is_done = outcome.is_ok();
    root.finish(serial, outcome);
    if is_done && !root.is_indexing() {
        master.roots.finished();
    }
    // Another request may have come meanwhile.
    master.roots.wake.notify_one();
}

async fn look_after(master: &Master) {
    loop {
        // Nothing happens for want of an event; a removal is one.
        let _ = timeout(KEEPER_PERIOD, master.roots.removal.notified()).await;
        for node in master.topology.nodes() {
            for (root, job) in master.roots.removals(node) {
                forget(master, node, &root, job).await;
            }
        }
        let statuses = master.statuses().await;
        master.adopt(&statuses);
        for root in master.roots.list() {
            if root.is_rested() && is_incomplete(master, &root, &statuses).await {
                root.ask_again();
                master.roots.wake.notify_one();
            }
        }
    }
}

/// Tells a node that a root was removed.
async fn forget(master: &Master, node: NodeIndex, root: &RootName, job: u64) {
    let request = ForgetRequest {
        root: root.clone(),
        job,
    };
    let (pool, patience) = (master.topology.pool(node), master.config.node_timeout);
    match pool.order(Kind::Forget, &request, patience).await {
        Ok(()) => {
            let nodes = master.topology.nodes().count();
            master.roots.told(root, job, node, nodes);
        }
        // A node that is away is told when it is back.
        Err(Cause::Silent | Cause::Down | Cause::Connection(_)) => {}
        Err(cause) => {
            let fault = master.topology.fault(node, cause);
            crate::note!("cannot remove {root}: {fault}");
        }
    }
}

/// Whether the nodes are without something of a root that was asked for, and could be given it now.
/// What only waits to be committed is committed on the way.
async fn is_incomplete(master: &Master, root: &Root, statuses: &Statuses) -> bool {
    let topology = &master.topology;
    if root.served().is_none() {
        master.learn(statuses);
    }
    let (wanted, served) = (root.wanted(), root.served());
    let mut uncommitted = Vec::new();
    for shard in 1..=topology.shards() {
        // A node that cannot be reached is looked after when it is back.
        for node in topology
            .replicas(shard)
            .filter(|&node| statuses.of(node).is_ok())
        {
            let Some(held) = statuses.states(node, root.name(), shard).next() else {
                return true;
            };
            let is_right = held.of == topology.shards()
                && served
                    .as_ref()
                    .is_some_and(|state| state.job == held.job && state.is_of(&wanted));
            if !is_right {
                return true;
            }
            if statuses.has_prepared(node, root.name(), shard) {
                uncommitted.push((node, shard));
            }
        }
    }
    if let Some(state) = served {
        for (node, shard) in uncommitted {
            reindex::commit(master, node, root.name(), shard, state.job).await;
        }
    }
    false
}
