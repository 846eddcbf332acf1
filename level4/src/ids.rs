//! What numbers the cluster's parts: nodes, places in the log, terms. To a computer all three are a `u64`,
//! and mixing them up goes unnoticed until a quorum is wrong; so each is a type of its own.
//!
//! They become numbers only where they leave this crate's hands: for raft-rs, in bytes for disk and wire
//! ([`NodeId::get`]), and in what people read.

use std::fmt::{self, Display, Formatter};

/// A node of the cluster: drawn at random when a node first starts with an empty folder. A wiped node
/// gets a new one, so it cannot vote as if it remembered.
///
/// Shown as everywhere, in 16 hexadecimal digits:
///
/// ```
/// # use level4::ids::NodeId;
/// assert_eq!(NodeId::new(0xbeef).to_string(), "000000000000beef");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// The node with this number, as drawn, read or told.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The node that Raft means, for which 0 is nobody.
    pub const fn from_raft(number: u64) -> Option<Self> {
        match number {
            raft::INVALID_ID => None,
            number => Some(Self(number)),
        }
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Display for NodeId {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Position in the replicated log, from 1.
pub type Index = u64;
/// A term of Raft's: one election and the time of the leader it made, if it made one. Terms only grow; 0 is
/// before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(u64);

impl Term {
    /// The term with this number, as Raft gave it or as it was read.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The term so many later, or the last of all.
    #[must_use]
    pub const fn saturating_add(self, terms: u64) -> Self {
        Self(self.0.saturating_add(terms))
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}
