//! HTTP/1.1 messages (RFC 9110 and 9112): heads, bodies, buffers. Pure functions over bytes, without
//! sockets, and without a word about who sends them.
//!
//! A head is parsed and *translated*: what goes on to the other side is written afresh from what was
//! understood, never copied as it came. So nothing that two parsers could read in two ways survives the
//! proxy, which is what request smuggling lives on.

pub mod body;
pub mod buffer;
pub mod claims;
pub mod fields;
pub mod request;
pub mod response;
pub mod target;
pub mod trailers;
