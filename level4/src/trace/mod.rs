//! What happens at nodes, written down for `harness trace`: JSON lines of the format in
//! `harness/docs/trace.md`, by this crate's own writer, as judge and judged share no code.
//!
//! [`Line`] is one event that is being put together; [`fields_of`] knows what is to be told of a message, and
//! [`Told`] what has become of a core. A real node writes into a file, through a [`Tracer`]; what its core does
//! is told by a [`Watch`].

mod file;
mod line;
mod message;
mod told;
mod watch;

pub use file::{TraceError, Tracer};
#[cfg(feature = "simulation")]
pub use line::requests_in;
pub use line::{Line, NameOf};
pub use message::fields_of;
#[cfg(feature = "simulation")]
pub use told::{Told, last_of};
pub use watch::{Watch, node_request};
