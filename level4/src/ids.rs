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
/// Raft term.
pub type Term = u64;
