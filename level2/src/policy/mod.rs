//! The policy: who is admitted, who is queued, who is rejected. A pure value without sockets or clocks.
//!
//! It is told of arrivals, ends of requests, abandoned waits, and what time it is, and answers with
//! decisions. The caller keeps a *token* for each request that is queued and is told through a list
//! of [`Effect`]s.
//!
//! The rules, in the order in which they matter:
//! 1. A backend has at most its limit in flight ([`limit`]); the rest is queued here, where it can
//!    still be reordered or rejected.
//! 2. A free place is never left empty while anybody is queued (work conserving). A heavy client may be
//!    asked to come again a moment later, so that places fall free one after another and not all at once.
//! 3. The queue goes in the order of the [`Class`] of the client, then least served first ([`queue`]).
//! 4. A light client may wait as long as it can still be answered in time ([`Settings::max_wait`]).
//!    A heavy one may wait only if its turn comes before another request can be expected to take it
//!    ([`supply`]): then somebody is always at hand when a place falls free, and nobody is kept
//!    longer than that needs.
//! 5. Clients are told apart by what they did lately: requests made and service had, both with decay
//!    ([`clients`]). A client is heavy while it asks for more than an even share of what the backends
//!    can do, or for more places at once.
//! 6. When most requests come from names never seen before, the names say nothing: unknown ones then
//!    go behind known light clients and are held no longer than heavy ones.

mod backend;
mod capacity;
mod clients;
mod decide;
mod limit;
mod queue;
mod supply;
mod types;

pub use backend::{Backend, Outcome};
pub use clients::{ClientHasher, ClientKey};
pub use decide::Policy;
pub use queue::Rank;
pub use types::{Class, Counters, Decision, Effect, Flight, Reason, Seconds, Settings};
