//! The values of one kind of digest, by index and node, and what a majority of them says.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use raft::ProgressTracker;

use super::digests::DETAIL;
use crate::ids::{Index, NodeId};

/// Own values of the chain are kept for so many entries.
pub(super) const KEPT: u64 = 4_096;
/// Own digests of contents, which are rare, are kept for so many entries.
pub(super) const CONTENT_KEPT: u64 = 1_000_000;
/// Others' values are kept for so many indexes.
const VOTES_LIMIT: usize = 4 * DETAIL as usize;

/// Values by index: this node's and the others'.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub own: BTreeMap<Index, u64>,
    pub others: BTreeMap<Index, BTreeMap<NodeId, u64>>,
    /// A majority is known to have this node's value here.
    pub agreed: Index,
}

/// How the values at one index stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// A majority has this node's value.
    With,
    /// A majority has another one.
    Against,
    /// Values differ, and none has a majority.
    Split,
    /// Nothing that is known differs.
    Open,
}

impl Tally {
    /// Forgets own values from before `oldest`, and others' of which there are too many.
    pub fn keep(&mut self, oldest: Index) {
        while self
            .own
            .first_key_value()
            .is_some_and(|(&index, _)| index < oldest)
        {
            self.own.pop_first();
        }
        while self.others.len() > VOTES_LIMIT {
            self.others.pop_first();
        }
    }

    pub fn count(&self, me: NodeId, index: Index, quorum: &Quorum) -> Count {
        let (Some(own), Some(others)) = (self.own.get(&index), self.others.get(&index)) else {
            return Count::Open;
        };
        let mut camps: BTreeMap<u64, HashSet<NodeId>> = BTreeMap::new();
        camps.entry(*own).or_default().insert(me);
        for (&node, &value) in others.iter().filter(|&(&node, _)| quorum.is_voter(node)) {
            // What a parted node has says nothing against anybody.
            if value == *own || !quorum.parted.contains(&node) {
                camps.entry(value).or_default().insert(node);
            }
        }
        let winner = camps.iter().find(|(_, nodes)| quorum.has(nodes));
        match winner {
            Some((value, _)) if value == own => Count::With,
            Some(_) => Count::Against,
            None if camps.len() > 1 => Count::Split,
            None => Count::Open,
        }
    }
}

/// Whether these nodes are a majority of the voters that Raft knows.
pub(super) fn has_quorum(voters: &ProgressTracker, nodes: &HashSet<NodeId>) -> bool {
    voters.has_quorum(&nodes.iter().map(|node| node.get()).collect())
}

/// Who has a say.
pub struct Quorum<'a> {
    /// Whether a node is a voter.
    pub voters: &'a HashSet<NodeId>,
    /// Nodes that know themselves that their state is not the others', and will get another.
    pub parted: &'a BTreeSet<NodeId>,
    /// Whether these nodes are a majority of the voters.
    pub is_majority: &'a dyn Fn(&HashSet<NodeId>) -> bool,
}

impl Quorum<'_> {
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node)
    }

    fn has(&self, nodes: &HashSet<NodeId>) -> bool {
        (self.is_majority)(nodes)
    }
}
