//! The queue: two lists of requests, each in the order in which it will be served.
//!
//! Known clients and newcomers have virtual clocks of their own ([`super::fair`]), so their tags
//! cannot be compared directly: who of the two goes first is decided when a place falls free.
//! Inside a list a request's rank is fixed when it arrives. Requests of light clients come first, by
//! when they are due: all of them are within their rights, and the order of arrival keeps the longest
//! wait short. Those of heavy clients follow by start tag, least served first.

use std::collections::BTreeMap;

use super::clients::ClientRef;
use super::fair::{Charge, Group};
use super::types::{Class, Seconds};

/// A request's place in the order of its group. Doubles as its name while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    pub(super) group: Group,
    /// Light clients come before heavy ones.
    heavy: bool,
    /// The start tag, as the bits of a float that is not negative: for those the order of the bits
    /// is the order of the numbers.
    tag: u64,
    sequence: u64,
}

impl Rank {
    /// The rank of the request number `sequence`, of a client whose turn is at `tag`.
    pub(super) fn new(group: Group, tag: Seconds, sequence: u64) -> Self {
        Self {
            group,
            heavy: true,
            tag: tag.max(0.0).to_bits(),
            sequence,
        }
    }

    /// The rank of a request of a light client, due at this time.
    pub(super) fn light(group: Group, due: Seconds, sequence: u64) -> Self {
        Self {
            group,
            heavy: false,
            tag: due.max(0.0).to_bits(),
            sequence,
        }
    }

    /// The start tag, if that is what counts.
    pub(super) fn tag(self) -> Option<Seconds> {
        self.heavy.then(|| f64::from_bits(self.tag))
    }
}

/// A request that is queued.
#[derive(Debug)]
pub struct Waiting<T> {
    /// What the caller gave to be told by.
    pub token: T,
    /// Whose request it is.
    pub client: ClientRef,
    /// Class of its client when it came.
    pub class: Class,
    /// What its client was charged for it.
    pub charge: Charge,
    /// When it came.
    pub arrived: Seconds,
    /// How long its client's conduct entitles it to wait.
    pub patience: Seconds,
    /// What to tell its client if it is rejected.
    pub retry_after: Seconds,
}

/// Queued requests by rank.
#[derive(Debug)]
pub struct FairQueue<T> {
    lists: [BTreeMap<Rank, Waiting<T>>; 2],
}

impl<T> FairQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            lists: [BTreeMap::new(), BTreeMap::new()],
        }
    }

    /// Requests that are queued.
    pub fn len(&self) -> usize {
        self.lists.iter().map(BTreeMap::len).sum()
    }

    /// Requests of a group that are queued.
    pub fn len_of(&self, group: Group) -> usize {
        self.lists[group as usize].len()
    }

    /// Whether nobody is queued.
    pub fn is_empty(&self) -> bool {
        self.lists.iter().all(BTreeMap::is_empty)
    }

    /// Queues a request.
    pub fn push(&mut self, rank: Rank, waiting: Waiting<T>) {
        self.lists[rank.group as usize].insert(rank, waiting);
    }

    /// The rank of the request of this group that goes first.
    pub fn first(&self, group: Group) -> Option<Rank> {
        let first = self.lists[group as usize].first_key_value();
        first.map(|(rank, _)| *rank)
    }

    /// The rank of the request of this group that goes last.
    pub fn last(&self, group: Group) -> Option<Rank> {
        let last = self.lists[group as usize].last_key_value();
        last.map(|(rank, _)| *rank)
    }

    /// How long a queued request may wait.
    pub fn patience(&self, rank: Rank) -> Seconds {
        let waiting = self.lists[rank.group as usize].get(&rank);
        waiting.map_or(0.0, |waiting| waiting.patience)
    }

    /// Takes a request out of the queue.
    pub fn remove(&mut self, rank: Rank) -> Option<Waiting<T>> {
        self.lists[rank.group as usize].remove(&rank)
    }

    /// Takes out whoever came before `deadline`.
    pub fn take_older(&mut self, deadline: Seconds) -> Vec<(Rank, Waiting<T>)> {
        let lists = self.lists.iter_mut();
        lists
            .flat_map(|list| list.extract_if(.., move |_, w| w.arrived < deadline))
            .collect()
    }
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}
