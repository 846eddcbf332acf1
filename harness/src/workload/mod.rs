//! Workloads: what clients ask of a system, written down operation by operation, and judged.
//!
//! - `operation` has what can be asked and answered, and the JSON lines in which it is written down.
//! - `generate` decides what the clients of a built-in workload ask next; a function of the seed.
//! - `drivers` ask a system in its own protocol.
//! - `clients` are the threads that do it, on the clients' machine; `program` is a program of the user's in
//!   their place, and `reader` reads what it writes.
//! - `record` collects what was asked and answered; `judge` gives it to the checks of the crate `history`.

mod clients;
mod drivers;
mod generate;
mod judge;
mod operation;
mod program;
mod reader;
mod record;

pub use clients::{ClientSettings, Clients};
pub use drivers::DriverKind;
pub use generate::Kind;
pub use judge::{Finding, judge};
pub use operation::{Line, Operation, Reply, Type};
pub use program::{Flaw, Program};
pub use record::{Done, End, Recorder, into_log, lines};
