//! HTTP/2 (RFC 9113) as something that carries the messages of HTTP/1.1.
//!
//! Frames, windows and compressed fields are the `h2` crate's. A stream of it is made to look like a connection
//! ([`Layer`](crate::net::Layer)) on which one message of HTTP/1.1 goes each way, so that a request has the same
//! way through the proxy whichever version it came in: the same checks, the same policy, the same limits.
//! `incoming` turns what a stream brings into text, `writing` text into what a stream takes (`outgoing` its body),
//! `message` knows heads, and [`Meter`] is what a connection may spend on frames that carry nothing.

mod client;
mod incoming;
mod message;
mod meter;
mod outgoing;
mod server;
mod writing;

pub use client::{AskedStream, begin};
pub use meter::{Meter, Metered};
pub use server::ServedStream;

/// What a client that knows the server speaks HTTP/2 begins with (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Something that HTTP/2 says, as the error of a connection.
fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, error)
}
