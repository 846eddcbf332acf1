//! The policy: who is admitted, who is queued, who is rejected. A pure value without sockets or clocks.
//!
//! It is told of arrivals, ends of requests, abandoned waits, and what time it is, and answers with
//! decisions. The caller keeps a *token* for each request that is queued and is told through a list
//! of [`Effect`]s.
//!
//! The rules, in the order in which they matter:
//! 1. A backend has at most its limit in flight (`limit`); the rest is queued here, where it can
//!    still be reordered or rejected.
//! 2. A free place is never left empty while anybody is queued (work conserving). A heavy client may be
//!    asked to come again a moment later, so that places fall free one after another and not all at once.
//! 3. The capacity is shared max-min fairly, in service time (`fair`): whoever asks for no more than
//!    the fair level is *light* and gets all of it, the others share the rest evenly. A quiet client
//!    saves up a bounded credit.
//! 4. The queue goes: light known clients in the order of arrival (a client's own requests one service
//!    time apart), then light newcomers, then heavy clients, least served first (`queue`).
//! 5. A light client may wait as long as it can still be answered in time ([`Settings::max_wait`]).
//!    A heavy one may wait only if its turn comes before another request can be expected to take it
//!    (`supply`): then somebody is always at hand when a place falls free, and nobody is kept
//!    longer than that needs.
//! 6. A client is known four seconds after its first request. Newcomers are told apart in the same way
//!    among themselves; together, once they ask for more than the known leave, they count as one client.

mod backend;
mod capacity;
mod clients;
mod decide;
mod fair;
mod latency;
mod limit;
mod memory;
mod naming;
mod queue;
mod shedding;
mod supply;
mod types;

pub use backend::{Backend, Outcome, Trust};
pub use decide::Policy;
pub use naming::{ClientClass, ClientHasher, ClientKey, FixedLimit, Naming, Pattern};
pub use queue::Rank;
pub use types::{Allowance, Class, Counters, Decision, Effect, Flight, Reason, Seconds, Settings};
