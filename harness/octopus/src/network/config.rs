//! What a network is made of: its links, and for each direction of them the place where it listens
//! and the place that it dials.

use super::link::{LinkState, NodeId};
use super::socket::Endpoint;

/// One direction of a link: where the network listens for `from`, and where `to` listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The node that connects.
    pub from: NodeId,
    /// The node that it wants to reach.
    pub to: NodeId,
    /// Where the network listens on behalf of `to`.
    pub listen: Endpoint,
    /// Where `to` itself listens.
    pub dial: Endpoint,
}

/// What a network is made of.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// How many nodes there are.
    pub nodes: usize,
    /// Seed of the delays. Each link draws from a stream of its own.
    pub seed: u64,
    /// The state of each link at the start, in the order of `pairs`.
    pub links: Vec<LinkState>,
    /// Both directions of every link.
    pub routes: Vec<Route>,
}
