//! SQLCluster: SQLite replicated by Raft. Any node takes any request; every request is executed
//! exactly once, in one order, on every node.
//!
//! [`run`] is the whole server as a future. Its parts, from the inside out, can be used alone:
//! [`consensus`] is Raft as a pure state machine; [`machine`] with [`database`] is what it replicates;
//! [`log`] is what survives a crash; [`transport`] is what nodes say to one another, and [`message`]
//! in which words; [`ids`] number nodes, places in the log and terms. `DESIGN.md` beside this crate tells
//! why.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let settings = level4::Settings::listening_at("127.0.0.1:0");
//! let runtime = tokio::runtime::Runtime::new()?;
//! // A cluster of one, until the future given as its end is done.
//! runtime.block_on(level4::run(settings, folder.path(), async {}))?;
//! assert!(folder.path().join("node").exists());
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

mod addresses;
mod api;
pub mod backup;
pub mod cdc;
mod codec;
pub mod consensus;
pub mod database;
#[doc(hidden)]
pub mod decoders;
mod doors;
mod duration;
mod fetch;
mod files;
mod founding;
mod identity;
pub mod ids;
mod joining;
mod json;
pub mod log;
pub mod machine;
pub mod message;
mod name;
mod node;
mod notes;
mod program;
mod reload;
pub mod rqlited;
pub mod security;
mod server;
mod settings;
pub mod shell;
#[cfg(feature = "simulation")]
pub mod simulation;
mod stack;
pub mod statement;
mod trace;
pub mod transport;

pub use fetch::{FetchError, Trust};
pub use founding::{Discovery, Founders, NotAllCame};
pub use identity::Identity;
pub use node::{Fault, RecoverError, SNAPSHOT_EVERY, SNAPSHOT_KEEP};
pub use notes::{note, set_program, set_verbose};
pub use program::{run_program, start_again};
pub use server::run;
pub use settings::{QueueSettings, RunError, Settings, SnapshotSettings};
pub use trace::TraceError;
