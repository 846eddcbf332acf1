//! The queue: requests in the order in which they will be served.
//!
//! Order: the class of the client first, then the service the client has had and has coming (so
//! that heavy clients share evenly among themselves), then arrival. A request's rank is fixed when
//! it arrives: waits are short beside the time over which service is forgotten.

use std::collections::BTreeMap;

use super::clients::ClientRef;
use super::{Class, Seconds};

/// A request's place in the order. Smaller goes first. Doubles as its name while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Class of the client when the request arrived.
    pub class: Class,
    /// Service had and due, in seconds, as the bits of a float that is not negative: for those the
    /// order of the bits is the order of the numbers.
    account: u32,
    sequence: u64,
}

impl Rank {
    /// The rank of the request number `sequence`, of a client whose service had and due is `account`.
    pub fn new(class: Class, account: f32, sequence: u64) -> Self {
        Self {
            class,
            account: account.max(0.0).to_bits(),
            sequence,
        }
    }
}

/// A request that waits.
#[derive(Debug)]
pub struct Waiting<T> {
    /// What the caller gave to be told by.
    pub token: T,
    /// Whose request it is; `None` for a client the table had no place for.
    pub client: Option<ClientRef>,
    /// When it came.
    pub arrived: Seconds,
    /// How long its client's conduct entitles it to wait.
    pub patience: Seconds,
}

/// Waiting requests by rank.
#[derive(Debug)]
pub struct FairQueue<T> {
    waiting: BTreeMap<Rank, Waiting<T>>,
}

impl<T> FairQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
        }
    }

    /// Requests that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Queues a request.
    pub fn push(&mut self, rank: Rank, waiting: Waiting<T>) {
        self.waiting.insert(rank, waiting);
    }

    /// Takes the request that goes first.
    pub fn pop_first(&mut self) -> Option<(Rank, Waiting<T>)> {
        self.waiting.pop_first()
    }

    /// The request that goes last.
    pub fn last(&self) -> Option<(Rank, &Waiting<T>)> {
        self.waiting
            .last_key_value()
            .map(|(rank, waiting)| (*rank, waiting))
    }

    /// Takes a request out of the queue.
    pub fn remove(&mut self, rank: Rank) -> Option<Waiting<T>> {
        self.waiting.remove(&rank)
    }

    /// Takes out whoever came before `deadline`.
    pub fn take_older(&mut self, deadline: Seconds) -> Vec<Waiting<T>> {
        self.waiting
            .extract_if(.., |_, w| w.arrived < deadline)
            .map(|(_, w)| w)
            .collect()
    }
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}
