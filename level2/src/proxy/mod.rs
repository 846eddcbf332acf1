//! The data path: one single-threaded runtime per worker, each with its own listeners, clients' connections and
//! pools of backends' connections, so that a request is served from end to end without leaving its
//! core. Workers share the [`Gate`](crate::gate::Gate) and nothing else.
//!
//! In the order in which a request meets them: `accept` lets connections in, `secure` speaks TLS with those
//! that are to be (`handshakes` says when), `streams` takes connections of HTTP/2 apart, `client` reads heads and ends connections, `local` answers what
//! needs no backend, `forward` buffers a body and gets a place at a backend (a `permit`), `exchange`
//! carries request and answer with a `pump` each, and `orphan` waits for backends whose client has left.
//! None of them knows those before it. `call` is the state machine they all obey; `pace`, `budget`,
//! `peers` and `retry` are what clients and backends may use up.

mod accept;
mod answer;
mod beginning;
mod budget;
mod call;
mod client;
mod conn;
mod exchange;
mod fan_out;
mod forward;
mod handshakes;
mod local;
mod multiplexed;
mod origin;
mod orphan;
mod pace;
mod peers;
mod permit;
mod pool;
mod pump;
mod record;
mod retry;
mod secure;
mod shared;
mod streams;
mod timer;
mod worker;

pub use accept::run;
pub(crate) use answer::Answer;
pub use shared::Shared;
pub(crate) use worker::is_shortage;
