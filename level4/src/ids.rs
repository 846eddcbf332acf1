//! What numbers the cluster and its parts: nodes and their lives, places in the log, terms. To a computer
//! they are all a `u64`, and mixing them up goes unnoticed until a quorum is wrong; so each is a type of its
//! own.
//!
//! They are numbers only at the borders: for raft-rs, in the bytes of disk and wire, and in what is shown.
//!
//! ```compile_fail
//! # use level4::ids::{Index, Term};
//! let newer = Index::new(7) > Term::new(3);
//! ```

use std::fmt::{self, Display, Formatter};
use std::num::NonZeroU64;
use std::ops::Add;

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

/// One of a node's lives, from one start to the next: they count from 1; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(u64);

impl Incarnation {
    /// The life with this number, as read or told.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The life after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A cluster: drawn at random when its first node founds it. Only who has the same, or none yet, is let in.
///
/// Shown like a [`NodeId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterId(NonZeroU64);

impl ClusterId {
    /// The cluster with this number, as drawn, read or told; 0 is none.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The number that stands for it in files and messages: 0 for no cluster.
    pub fn number(cluster: Option<Self>) -> u64 {
        cluster.map_or(0, Self::get)
    }
}

impl Display for ClusterId {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Position of an entry in the replicated log, from 1; 0 is before the first.
///
/// ```
/// # use level4::ids::Index;
/// let last = Index::new(7);
/// assert_eq!(last.next().since(last), 1);
/// assert_eq!(last.since(last.next()), 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Index(u64);

impl Index {
    /// Before the first entry.
    pub const START: Self = Self(0);

    /// The position with this number, as Raft gave it or as it was read.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The entry after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// This entry and those after it.
    pub fn onwards(self) -> impl Iterator<Item = Self> + Clone {
        (self.0..).map(Self)
    }

    /// How many entries this one is after `earlier`; none, if it is before it.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The entry so many after this one, or the last of all.
    #[must_use]
    pub const fn saturating_add(self, entries: u64) -> Self {
        Self(self.0.saturating_add(entries))
    }

    /// The entry so many before this one, or the start.
    #[must_use]
    pub const fn saturating_sub(self, entries: u64) -> Self {
        Self(self.0.saturating_sub(entries))
    }

    /// Whether it is one of those that come every so many entries.
    pub const fn is_multiple_of(self, entries: u64) -> bool {
        self.0.is_multiple_of(entries)
    }
}

impl Add<u64> for Index {
    type Output = Self;

    /// The entry so many after this one.
    fn add(self, entries: u64) -> Self {
        Self(self.0 + entries)
    }
}

impl Display for Index {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}

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
