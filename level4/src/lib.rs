//! SQLCluster: SQLite replicated by Raft. Any node takes any request; every request is executed
//! exactly once, in one order, on every node.
//!
//! From the inside out: [`consensus`] is Raft as a pure state machine; [`machine`] with
//! [`database`] is what it replicates; [`log`] is what survives a crash; [`transport`] is what nodes say
//! to one another; [`node`] runs these on threads; [`api`] and [`server`] put them on a socket.
//! `DESIGN.md` beside this crate tells why.
#![deny(unsafe_code)]

pub mod api;
pub mod codec;
pub mod consensus;
pub mod database;
pub mod identity;
pub mod log;
pub mod machine;
pub mod message;
pub mod node;
pub mod notes;
pub mod server;
pub mod transport;
