//! The network: addresses, listening sockets and connections, over TCP or unix sockets alike.

mod address;
mod listen;
mod stream;

pub use address::Address;
pub use listen::{Bound, Listener, OwnSocket, bind, inherited};
pub use stream::Stream;
