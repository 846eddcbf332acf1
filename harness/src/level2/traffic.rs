//! Traffic as plain data: clients, and the times at which their requests are due.
//!
//! A schedule is fixed before the run starts, so it can be looked at and tested without a socket;
//! the flood (`flood.rs`) only plays it.

/// What a client is; nothing in its requests says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A legitimate client, whose answers count.
    Mouse,
    /// A malicious one, welcome only to fill what is left over.
    Elephant,
}

/// The place of a client in [`Traffic::clients`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientIndex(pub usize);

/// A client of the simulated world.
#[derive(Clone, Debug)]
pub struct Client {
    /// The value of its `X-Forwarded-For` header.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// One request that will be sent.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When, in microseconds from the start.
    pub due_us: u64,
    /// By whom.
    pub client: ClientIndex,
    /// Work asked of the backend in milliseconds, where the world's requests differ in that.
    pub cost_ms: Option<u64>,
    /// Bytes of body that it sends.
    pub upload: usize,
    /// Bytes of body that its answer is to have at least.
    pub download: usize,
}

impl Arrival {
    /// A request of the usual cost.
    pub fn plain(due_us: u64, client: ClientIndex) -> Self {
        Self {
            due_us,
            client,
            cost_ms: None,
            upload: 0,
            download: 0,
        }
    }
}

/// All clients and all their requests, in order of time.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The clients, by [`ClientIndex`].
    pub clients: Vec<Client>,
    /// The requests; of two at the same time the client created first goes first.
    pub arrivals: Vec<Arrival>,
}

impl Traffic {
    /// Puts the requests in order.
    pub fn new(clients: Vec<Client>, mut arrivals: Vec<Arrival>) -> Self {
        arrivals.sort_by_key(|arrival| (arrival.due_us, arrival.client));
        Self { clients, arrivals }
    }

    /// The client of an index that this schedule made.
    pub fn client(&self, index: ClientIndex) -> &Client {
        &self.clients[index.0]
    }
}

#[cfg(test)]
impl Traffic {
    /// Requests that clients of a kind send.
    pub fn sent(&self, kind: Kind) -> usize {
        let of_kind = |arrival: &&Arrival| self.client(arrival.client).kind == kind;
        self.arrivals.iter().filter(of_kind).count()
    }
}
