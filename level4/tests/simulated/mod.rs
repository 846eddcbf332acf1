//! What the simulation tests share.

pub mod cluster;
pub mod disk;
pub mod durable;
pub mod ledger;
#[allow(dead_code, reason = "not every test runs many seeds")]
pub mod run;
