//! Octopus: real processes on a flaky network, with nodes that freeze and die on a schedule that
//! a seed decides.
//!
//! - [`Octopus`] puts it together: folders, sockets, a [`Network`], [`Nodes`], and the monkeys of a
//!   [`Schedule`] at work on them, written down in an [`EventLog`].
//! - [`Network`] stands between any programs over unix sockets or TCP: links that lag, split, lose.
//! - [`Schedule`] is what goes wrong and when, a pure function of a seed; [`Performer`] carries it
//!   out on any [`Stage`], in real time or in a test's.
//! - [`ProcessGroup`] and [`WorkDir`] are processes and folders that never outlive their owner,
//!   with a [`watcher`] not even when it is killed; [`interrupt`] turns Ctrl-C into an orderly end, and [`random`] has streams of random numbers.
//! - [`Transport::Machines`] gives each node a whole [`Machine`]: a network of its own with addresses and
//!   names, on which any program runs as it is, and packets between them.
//! - [`sandbox`] runs a program in namespaces of its own, where it cannot see, reach or use up what
//!   is not given to it.
//! - [`trace`] reads what any distributed program wrote down of a run, and draws it in space and time.
//!
//! The crate knows nothing of what its nodes say to each other.
//!
//! A link of 20 ms between two sockets, without nodes and monkeys; `examples/three_nodes.rs` has
//! both:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::os::unix::net::{UnixListener, UnixStream};
//! use std::time::{Duration, Instant};
//!
//! use octopus::{Change, Endpoint, LinkState, Network, NetworkConfig, Pair, Route, WorkDir};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = WorkDir::temporary()?;
//! let path = |name: &str| folder.path().join(name);
//! let network = Network::start(NetworkConfig {
//!     nodes: 2,
//!     seed: 1,
//!     links: vec![LinkState::new(20, 0)],
//!     routes: vec![Route {
//!         from: 0,
//!         to: 1,
//!         listen: Endpoint::Unix(path("0-to-1")),
//!         dial: Endpoint::Unix(path("1")),
//!     }],
//! })?;
//! let listener = UnixListener::bind(path("1"))?;
//!
//! let start = Instant::now();
//! let mut near = UnixStream::connect(path("0-to-1"))?;
//! near.write_all(b"hello")?;
//! let (mut far, _) = listener.accept()?;
//! let mut heard = [0; 5];
//! far.read_exact(&mut heard)?;
//! assert_eq!(&heard, b"hello");
//! // One delay to set the connection up, one for the words.
//! assert!(start.elapsed() >= Duration::from_millis(40));
//!
//! network.change(Pair::new(0, 1), Change::Down);
//! assert_eq!(far.read(&mut heard)?, 0, "a link that is down closes its connections");
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

mod error;
mod events;
pub mod interrupt;
mod machines;
mod monkeys;
#[cfg(target_os = "linux")]
mod netlink;
mod network;
mod nodes;
mod process;
pub mod random;
#[cfg(target_os = "linux")]
pub mod rootless;
#[cfg(not(target_os = "linux"))]
#[path = "rootless_elsewhere.rs"]
pub mod rootless;
pub mod sandbox;
mod scripts;
mod simulation;
mod socket_file;
pub mod trace;
mod workdir;

pub use error::Error;
pub use events::{
    ActEvent, EVENTS_SCHEMA, Event, EventLog, LinkNow, NodeAddress, NodeNow, Own, PeerAddress,
    Record, Sample, Start,
};
pub use machines::{LEAST_MTU, MOST_MACHINES, MOST_MTU, Machine, MachineAddress, MachineSettings};
pub use monkeys::{
    Act, BadSchedule, Intensity, Monkey, MonkeySettings, News, Pace, Performer, Progress, Schedule,
    Stage, What,
};
pub use network::{
    CHUNK_BYTES, Change, Deliverable, Device, Direction, DirectionTraffic, Down, Endpoint, Framing,
    LinkState, Moment, Network, NetworkConfig, NodeId, PacketRules, Pair, Passage, Passages, Pipe,
    Route, Step, SwitchConfig, Traffic, UNDER_DELAY, WAITING, Way, monotonic_ns, pairs,
};
pub use nodes::{
    Echo, NodeFile, NodeLimits, NodePlan, NodeSpec, NodeState, Nodes, ProcessSpec, SmallDisk,
    StopBy,
};
pub use process::{ProcessGroup, Signal, watcher};
pub use scripts::Script;
pub use simulation::{Config, Octopus, Place, Transport};
pub use socket_file::{SocketFile, SocketFileError};
pub use workdir::{MARKER, WorkDir};
