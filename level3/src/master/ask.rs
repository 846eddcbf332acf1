//! Asking for one shard: which replica, when to ask another one, what counts as an answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::sleep;

use super::Master;
use super::error::{Cause, Fault, MasterError};
use super::pool::Connection;
use super::requests::Root;
use super::served::State;
use super::topology::{NodeIndex, Statuses};
use crate::root::RootName;
use crate::wire::Kind;

/// A second replica is asked when the first has been silent for this many times its usual time.
const HEDGE_FACTOR: u32 = 4;

/// But not before this: below it, a hiccup of the scheduler is the likelier reason.
const HEDGE_MIN: Duration = Duration::from_millis(2);

/// The first frame of an answer, and the connection that the rest will come from.
pub(crate) struct Started {
    pub node: NodeIndex,
    pub connection: Connection,
    pub kind: Kind,
    pub payload: Bytes,
}

impl Master {
    /// Sends a request to a replica of a shard and waits for the first frame; asks further
    /// replicas if that one fails or takes unusually long.
    pub(crate) async fn ask(
        &self,
        root: &RootName,
        shard: u32,
        frame: &[u8],
        patience: Duration,
    ) -> Result<Started, MasterError> {
        let mut replicas: Vec<NodeIndex> = self.topology.replicas(shard).collect();
        let outcome = if let [only] = *replicas {
            let outcome = self.attempt(only, frame, patience).await;
            outcome.map_err(|fault| vec![fault])
        } else {
            replicas.sort_by_key(|&node| self.topology.pool(node).rank());
            // Boxed, since most clusters have no replicas and should not carry its room along.
            Box::pin(self.hedge(replicas, frame, patience)).await
        };
        outcome.map_err(|faults| MasterError::Shard {
            root: root.clone(),
            shard,
            faults,
        })
    }

    /// Asks one replica after the other until one has answered, or all have failed.
    async fn hedge(
        &self,
        replicas: Vec<NodeIndex>,
        frame: &[u8],
        patience: Duration,
    ) -> Result<Started, Vec<Fault>> {
        let mut waiting = replicas.into_iter();
        let mut running = FuturesUnordered::new();
        let mut faults: Vec<Fault> = Vec::new();
        loop {
            let next = waiting.next();
            let usual = next.map(|node| self.topology.pool(node).latency());
            running.extend(next.map(|node| self.attempt(node, frame, patience)));
            // With nobody left to ask there is nothing to hedge with.
            let hedge = usual.filter(|_| !waiting.as_slice().is_empty());
            let silence = async {
                match hedge {
                    Some(usual) => sleep((usual * HEDGE_FACTOR).max(HEDGE_MIN)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                outcome = running.next() => match outcome {
                    Some(Ok(started)) => return Ok(started),
                    Some(Err(fault)) => faults.push(fault),
                    None => return Err(faults),
                },
                () = silence => {}
            }
        }
    }

    async fn attempt(
        &self,
        node: NodeIndex,
        frame: &[u8],
        patience: Duration,
    ) -> Result<Started, Fault> {
        let pool = self.topology.pool(node);
        match pool.request(frame, patience).await {
            Ok((connection, Kind::Error, message)) => {
                pool.give_back(connection);
                Err(self.topology.fault(node, Cause::of_error(&message)))
            }
            Ok((connection, kind, payload)) => Ok(Started {
                node,
                connection,
                kind,
                payload,
            }),
            Err(cause) => Err(self.topology.fault(node, cause)),
        }
    }

    /// What each node says about itself.
    pub(crate) async fn statuses(&self) -> Statuses {
        self.topology.statuses(self.config.node_timeout).await
    }

    /// Why queries of a root cannot be answered in full, if so.
    pub(crate) async fn obstacle(&self, name: &RootName) -> Option<String> {
        let root = self.roots.get(name);
        if let Some(obstacle) = root.and_then(|root| root.obstacle()) {
            return Some(obstacle);
        }
        let statuses = self.statuses().await;
        self.obstacle_by(name, &statuses)
    }

    /// Likewise, by what the nodes have said.
    pub(crate) fn obstacle_by(&self, name: &RootName, statuses: &Statuses) -> Option<String> {
        let shards = self.topology.shards();
        let is_known = |root: &Arc<Root>| root.served().is_some();
        if !self.roots.get(name).as_ref().is_some_and(is_known) {
            self.learn(statuses);
        }
        let Some(root) = self.roots.get(name) else {
            let faults: Vec<String> = statuses.faults().map(Fault::to_string).collect();
            let known = if faults.is_empty() {
                "not indexed".to_owned()
            } else {
                format!("not indexed, as far as is known: {}", faults.join("; "))
            };
            return Some(known);
        };
        if let Some(obstacle) = root.obstacle() {
            return Some(obstacle);
        }
        let served = root.served();
        let problem = |shard: u32| {
            let is_ready = |node: NodeIndex| {
                let mut states = statuses.states(node, root.name(), shard);
                states.any(|identity| {
                    let is_served = |state: &State| State::of(identity) == *state;
                    identity.of == shards && served.as_deref().is_some_and(is_served)
                })
            };
            let replicas = || self.topology.replicas(shard);
            if replicas().any(is_ready) {
                return None;
            }
            let reasons = replicas().filter_map(|node| statuses.of(node).err());
            let reasons: Vec<String> = reasons.map(Fault::to_string).collect();
            let why = if reasons.is_empty() {
                "not indexed".to_owned()
            } else {
                reasons.join("; ")
            };
            Some(format!("shard {shard}: {why}"))
        };
        let problems: Vec<String> = (1..=shards).filter_map(problem).collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}
