//! What numbers the cluster's parts: nodes, places in the log, terms.

/// A node of the cluster: drawn at random when a node first starts with an empty folder. A wiped node
/// gets a new one, so it cannot vote as if it remembered.
pub type NodeId = u64;
/// Position in the replicated log, from 1.
pub type Index = u64;
/// Raft term.
pub type Term = u64;
