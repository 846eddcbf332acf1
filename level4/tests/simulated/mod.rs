//! What the simulation tests share.

pub mod cluster;
pub mod disk;
pub mod durable;
pub mod ledger;
