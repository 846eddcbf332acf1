//! Which node holds what: shards on nodes, replicas beside each other.
//!
//! Shard *s* has its first replica on node *s*, the next on the node behind it, and so on in a
//! ring, so that each node holds as many shards as there are replicas.

use futures_util::future::join_all;

use super::error::{Cause, Fault};
use super::pool::Pool;
use crate::wire::{self, Endpoint, Kind, NodeStatus};

/// A node's position among the master's nodes, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeIndex(usize);

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

    /// What each node says about itself, or why it says nothing.
    pub(crate) async fn statuses(&self, patience: std::time::Duration) -> Statuses {
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
        let answers = join_all(self.nodes().map(ask)).await;
        let answers = answers.into_iter().zip(self.nodes());
        Statuses(
            answers
                .map(|(answer, node)| answer.map_err(|cause| self.fault(node, cause)))
                .collect(),
        )
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

    /// The nodes that did not.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter().filter_map(|status| status.as_ref().err())
    }
}
