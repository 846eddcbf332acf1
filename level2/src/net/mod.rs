//! The network: addresses, listening sockets and connections, over TCP or unix sockets alike.

mod address;
mod listen;
mod prefixed;
pub mod proxy_protocol;
mod stream;

pub use address::{Address, BackendAddress};
pub use listen::{Accepted, Bound, ListenAddress, Listener, OwnSocket, bind, inherited};
pub use prefixed::Prefixed;
pub use stream::{Layer, Stream};
