//! Shield: a reverse proxy that lets the quiet clients through under a flood.
//!
//! The [`policy`] decides who is served, who waits and who is turned away; it is a pure value that
//! can be simulated (its documentation has the rules). Around it: [`http`] parses and writes messages,
//! `proxy` moves them between sockets, `gate` shares the policy among the workers, `health` says which
//! backends are fit, `tls` knows certificates, and [`run`] starts and stops everything.
//!
//! Words: a *client* sends requests; a *peer* is the other end of a connection, and may forward for many
//! clients; a *backend* answers requests; a request is *in flight* while a backend has it; a backend's
//! *limit* is how many it may have at once.
//!
//! The policy alone, with the time as the caller sees it:
//!
//! ```
//! use level2::policy::{ClientHasher, Decision, Outcome, Policy, Settings};
//!
//! let mut policy = Policy::new(Settings { max_in_flight: Some(1), ..Settings::default() });
//! let client = ClientHasher::default().key(b"somebody");
//! let mut effects = Vec::new();
//! let Decision::Admit(flight) = policy.arrive(0.0, client, || "first", &mut effects) else {
//!     panic!("a lone request is admitted");
//! };
//! // The only place is taken: the next request waits, and has its turn when the first has ended.
//! assert!(matches!(policy.arrive(0.01, client, || "second", &mut effects), Decision::Queue(_)));
//! policy.finish(0.05, flight, Outcome::Answered, &mut effects);
//! assert_eq!(effects.len(), 1);
//! ```

#![deny(unsafe_code)]

mod access_log;
mod admin;
mod config;
mod gate;
mod health;
pub mod http;
mod http2;
mod metrics;
mod net;
mod notes;
pub mod policy;
mod proxy;
mod server;
mod sink;
mod snapshot;
mod stats;
mod tls;
mod trust;

pub use config::{AccessLog, Config, ConfigError, Flags, Inherited};
pub use net::{Address, BackendAddress, Bound, ListenAddress, inherited, proxy_protocol};
pub use notes::Notes;
pub use server::{ServerError, run};
pub use tls::{ClientNaming, Pair, TlsError, TlsFiles};
pub use trust::{Range, Trust};
