//! Which node holds what: shards on nodes, replicas beside each other.
//!
//! Shard *s* has its first replica on node *s*, the next on the node behind it, and so on in a
//! ring, so that each node holds as many shards as there are replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::error::{Cause, Fault};
use super::pool::Pool;
use crate::index::Identity;
use crate::root::RootName;
use crate::wire::{self, Endpoint, Kind, NodeStatus, ShardStatus};

/// A node's position among the master's nodes, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeIndex(pub(super) usize);

/// The nodes, and how shards are laid over them.
pub(crate) struct Topology {
    pools: Vec<Pool>,
    replicas: usize,
}

impl Topology {
    /// Lays as many shards as there are nodes over the nodes, each `replicas` times.
    pub(crate) fn new(nodes: &[Endpoint], replicas: usize) -> Self {
        Self {
            pools: nodes.iter().cloned().map(Pool::new).collect(),
            replicas,
        }
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> u32 {
        self.pools.len() as u32
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.pools.len()).map(NodeIndex)
    }

    /// The connections to a node.
    pub(crate) fn pool(&self, node: NodeIndex) -> &Pool {
        &self.pools[node.0]
    }

    /// The nodes that hold a shard (counting from 1), its first replica first.
    pub(crate) fn replicas(&self, shard: u32) -> impl Iterator<Item = NodeIndex> + use<> {
        let nodes = self.pools.len();
        (0..self.replicas.min(nodes))
            .map(move |replica| NodeIndex((shard as usize - 1 + replica) % nodes))
    }

    /// The shards that a node holds.
    pub(crate) fn shards_of(&self, node: NodeIndex) -> Vec<u32> {
        (1..=self.shards())
            .filter(|&shard| self.replicas(shard).any(|replica| replica == node))
            .collect()
    }

    /// A node's failure, with its name.
    pub(crate) fn fault(&self, node: NodeIndex, cause: impl Into<Cause>) -> Fault {
        Fault {
            node: self.pool(node).endpoint.clone(),
            cause: cause.into(),
        }
    }

    /// Asks nodes that are down until they answer again. Never ends.
    pub(crate) async fn probe(&self, patience: Duration) {
        join_all(self.pools.iter().map(|pool| pool.probe(patience))).await;
    }

    /// What each node says about itself, or why it says nothing.
    pub(crate) async fn statuses(&self, patience: Duration) -> Statuses {
        self.statuses_until(patience, |_| false).await
    }

    /// Likewise, without those who have not answered yet when the others are `enough`.
    pub(crate) async fn statuses_until(
        &self,
        patience: Duration,
        enough: impl Fn(&Statuses) -> bool,
    ) -> Statuses {
        let request = wire::frame(Kind::Status, &[]);
        let ask = async |node: NodeIndex| {
            let pool = self.pool(node);
            let (connection, kind, payload) = pool.request(&request, patience).await?;
            if kind != Kind::Last {
                return Err(Cause::Unexpected);
            }
            pool.give_back(connection);
            serde_json::from_slice(&payload).map_err(|_| Cause::Unexpected)
        };
        let silent = |node| Err(self.fault(node, Cause::Silent));
        let mut statuses = Statuses(self.nodes().map(silent).collect());
        let mut running: FuturesUnordered<_> = self
            .nodes()
            .map(|node| {
                let ask = &ask;
                async move { (node, ask(node).await) }
            })
            .collect();
        while let Some((node, answer)) = running.next().await {
            statuses.0[node.0] = answer.map_err(|cause| self.fault(node, cause));
            if enough(&statuses) {
                break;
            }
        }
        statuses
    }
}

/// What each node said about itself.
pub(crate) struct Statuses(Vec<Result<NodeStatus, Fault>>);

impl Statuses {
    /// What one node said.
    pub(crate) fn of(&self, node: NodeIndex) -> Result<&NodeStatus, &Fault> {
        self.0[node.0].as_ref()
    }

    /// The nodes that answered.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &NodeStatus> {
        self.0.iter().flatten()
    }

    /// The roots that nodes were told to remove: the number of the last removal, and who knows of it.
    pub(crate) fn removals(&self) -> BTreeMap<&RootName, (u64, BTreeSet<NodeIndex>)> {
        let mut removals: BTreeMap<_, (u64, BTreeSet<_>)> = BTreeMap::new();
        for (node, status) in self.0.iter().enumerate() {
            for (root, job) in status.iter().flat_map(|status| &status.removed) {
                let (last, told) = removals.entry(root).or_default();
                if job > last {
                    (*last, *told) = (*job, BTreeSet::new());
                }
                if job == last {
                    told.insert(NodeIndex(node));
                }
            }
        }
        removals
    }

    /// All states of all shards.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &Identity> {
        let shards = self.answers().flat_map(|status| &status.shards);
        shards.flat_map(ShardStatus::states)
    }

    fn shard(
        &self,
        node: NodeIndex,
        root: &RootName,
        shard: u32,
    ) -> impl Iterator<Item = &ShardStatus> {
        let shards = self.0[node.0].iter().flat_map(|status| &status.shards);
        shards.filter(move |held| held.shard == shard && held.root == *root)
    }

    /// The states of a root's shard on a node, the newest first; none if the node is silent.
    pub(crate) fn states(
        &self,
        node: NodeIndex,
        root: &RootName,
        shard: u32,
    ) -> impl Iterator<Item = &Identity> {
        self.shard(node, root, shard).flat_map(ShardStatus::states)
    }

    /// Whether a node holds a state of a root's shard that is not committed.
    pub(crate) fn has_prepared(&self, node: NodeIndex, root: &RootName, shard: u32) -> bool {
        let mut held = self.shard(node, root, shard);
        held.any(|held| held.prepared.is_some())
    }

    /// The nodes that did not.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter().filter_map(|status| status.as_ref().err())
    }
}
