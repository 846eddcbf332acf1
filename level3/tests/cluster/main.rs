//! A whole cluster, its nodes in this process, asked as a client asks. One program of all of it: each would
//! be built with the nodes in it.
#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod contract;
mod exactness;
mod failures;
mod freshness;
mod query;
mod roots;
mod search;
mod servers;
