//! What the simulation tests share.

pub mod disk;
pub mod cluster;
