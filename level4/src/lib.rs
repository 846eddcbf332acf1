//! SQLCluster: SQLite replicated by Raft. Any node takes any request; every request is executed
//! exactly once, in one order, on every node.
#![deny(unsafe_code)]

pub mod codec;
pub mod core;
pub mod database;
pub mod log;
pub mod machine;
pub mod message;
