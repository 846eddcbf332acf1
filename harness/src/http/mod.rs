//! HTTP/1.1 messages as the judges need them (RFC 9112): answers read piece by piece, requests of
//! backends.
//!
//! Both are values that are fed bytes and know no sockets, so the level 2 simulation drives many
//! connections from one thread, level 3 reads an answer of any size, level 4 waits on unix sockets
//! of five nodes, and all three mean the same by a whole answer. Everything is bounded. No other
//! code in the harness reads answers.

mod answer;
mod fields;
#[doc(hidden)]
pub mod fuzz;
mod request;

pub use answer::{Answer, AnswerReader};
pub use request::Request;
use thiserror::Error;

/// Most bytes a message's head may have, and the trailers behind a chunked body.
const MAX_HEAD: usize = 16 * 1024;

/// Most header fields of a message.
const MAX_HEADERS: usize = 100;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// The head is no HTTP/1.x.
    #[error("the head is not HTTP/1.x")]
    Head,
    /// `Content-Length` or a chunk's size is no number, or they contradict each other.
    #[error("the length of the body is unclear")]
    Length,
    /// A head, a body, or a number of interim answers beyond the bounds.
    #[error("the message is too large")]
    TooLarge,
    /// Bytes after the end of the message that nothing asked for.
    #[error("bytes follow the end of the message")]
    Trailing,
    /// The connection ended before the first byte.
    #[error("the connection was closed without an answer")]
    Nothing,
    /// The connection ended inside the message.
    #[error("the connection ended inside the message")]
    Truncated,
}

impl From<httparse::Error> for Malformed {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooLarge,
            _ => Self::Head,
        }
    }
}
