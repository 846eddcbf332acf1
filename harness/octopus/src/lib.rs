//! Octopus: real processes on a flaky network, with nodes that freeze and die on a schedule that
//! a seed decides.
//!
//! - [`Octopus`] puts it together: folders, sockets, a [`Network`], [`Nodes`], and the monkeys of a
//!   [`Schedule`] at work on them, written down in an [`EventLog`].
//! - [`Network`] stands between any programs over unix sockets or TCP: links that lag, split, lose.
//! - [`Schedule`] is what goes wrong and when, a pure function of a seed; [`Performer`] carries it
//!   out on any [`Stage`], in real time or in a test's.
//! - [`ProcessGroup`] and [`WorkDir`] are processes and folders that never outlive their owner;
//!   [`interrupt`] turns Ctrl-C into an orderly end, and [`random`] has streams of random numbers.
//!
//! The crate knows nothing of what its nodes say to each other.
#![forbid(unsafe_code)]

mod events;
pub mod interrupt;
mod monkeys;
mod network;
mod nodes;
mod process;
pub mod random;
mod simulation;
mod workdir;

pub use events::EventLog;
pub use monkeys::{
    Act, Intensity, Monkey, MonkeySettings, Pace, Performer, Progress, Schedule, Stage, What,
};
pub use network::{
    CHUNK_BYTES, Change, Deliverable, DirectionTraffic, Endpoint, LinkState, Moment, Network,
    NetworkConfig, NodeId, Pair, Pipe, Route, Traffic, UNDER_DELAY, WAITING, pairs,
};
pub use nodes::{NodeSpec, NodeState, Nodes, SmallDisk};
pub use process::{ProcessGroup, Signal};
pub use simulation::{Config, Octopus, Place, Transport};
pub use workdir::{MARKER, WorkDir};
