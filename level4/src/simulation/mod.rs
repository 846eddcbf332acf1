//! Whole clusters in virtual time: real cores, logs and state machines over a simulated network that
//! drops, delays, duplicates, reorders and partitions, and simulated disks that lose what was not
//! synced. One seed decides everything. [`Cluster::traced`] writes down what happens, for `harness trace`.
//!
//! It is for tests and examples, behind the feature `simulation`: what is wrong with a run is a panic.

mod cluster;
mod disk;
mod durable;
mod ledger;
mod plant;
mod record;
mod run;
mod stories;

pub use cluster::{Cluster, Notes, Summary};
pub use disk::SimulatedDisk;
pub use ledger::{Defect, Ledger};
pub use plant::Plant;
pub use record::Trace;
pub use run::{Outcome, Run};
pub use stories::Story;
