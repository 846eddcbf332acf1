//! A flaky network between real processes, over unix sockets or TCP on loopback.
//!
//! N nodes are joined pairwise by *links*. For every ordered pair (I, J) the network listens where
//! node I expects node J, and carries each connection accepted there to the place where node J
//! itself listens, chunk by chunk, each chunk delayed by what the link's state says at that moment.
//! The network knows nothing of what the bytes mean.
//!
//! One thread (`engine`) owns every socket and every timer; the rules are plain values without
//! I/O or clocks (`link`, `pipe`) so that tests drive them in virtual time. Callers hold a
//! [`Network`], which sends commands to the thread and reads counters.
//!
//! Between whole machines another thread (`packets`) takes its place, which carries IP packets over the
//! same links.

mod config;
mod connection;
mod counters;
mod end;
mod engine;
mod handle;
mod link;
mod packets;
mod passage;
mod pipe;
mod socket;
mod timer;

pub use config::{NetworkConfig, Route};
pub use counters::{DirectionTraffic, Traffic};
pub use handle::Network;
pub use link::{Change, Direction, LinkState, Moment, NodeId, Pair, pairs};
pub use packets::{Device, Down, Framing, PacketRules, SwitchConfig};
pub use passage::{Passage, Passages, Step, Way, monotonic_ns};
pub use pipe::{CHUNK_BYTES, Deliverable, Pipe, UNDER_DELAY, WAITING};
pub use socket::Endpoint;
