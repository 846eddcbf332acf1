//! Where on which connection a message is, so that what one end tells of it in its trace and what the other
//! end tells can be laid side by side.

use std::fmt::Write as _;

use super::greeting::Nonce;
use crate::ids::NodeId;
use crate::message::PeerMessage;
use crate::trace::{Line, Tracer, fields_of, node_request};

/// Bytes of the nonce that a connection is named by.
const NAMED: usize = 6;

/// A connection's name, and how far both directions have got: both ends have the same name, and count the
/// same bytes, from the first of the greeting on (within TLS, if they speak it).
#[derive(Debug, Clone)]
pub struct Course {
    name: String,
    pub written: u64,
    pub read: u64,
}

impl Course {
    /// After the greeting; whoever dialled had drawn this nonce.
    pub fn new(dialler: &Nonce, written: u64, read: u64) -> Self {
        let mut name = String::with_capacity(2 * NAMED);
        for byte in &dialler[..NAMED] {
            let _infallible = write!(name, "{byte:02x}");
        }
        Self {
            name,
            written,
            read,
        }
    }
}

/// From whom to whom a message goes in one step.
#[derive(Debug, Clone, Copy)]
pub struct Hop {
    /// The other end of the connection.
    pub peer: NodeId,
    /// Who wrote the message, if it is passed on by the sender.
    pub author: Option<NodeId>,
    /// Whom the receiver is to pass it on to.
    pub beyond: Option<NodeId>,
}

impl Hop {
    /// Between the two that the message is of and for.
    pub fn direct(peer: NodeId) -> Self {
        Self {
            peer,
            author: None,
            beyond: None,
        }
    }
}

/// A message that is to be told of when its bytes are given to the socket.
#[derive(Debug)]
pub struct Told {
    /// Where its bytes go.
    pub hop: Hop,
    /// The message.
    pub message: PeerMessage,
}

/// Tells that a message is sent, in a block that ends where the course is now.
pub fn sent(tracer: &Tracer, course: &Course, told: &Told) {
    let Told { hop, message } = told;
    tracer.tell("send", |line| {
        line.shown("to", hop.peer).number("bytes", course.written);
        fill(line, course, hop, message);
    });
}

/// Tells that a message has come.
pub fn delivered(tracer: &Tracer, course: &Course, hop: &Hop, message: &PeerMessage) {
    tracer.tell("deliver", |line| {
        line.shown("from", hop.peer).number("bytes", course.read);
        fill(line, course, hop, message);
    });
}

fn fill(line: &mut Line, course: &Course, hop: &Hop, message: &PeerMessage) {
    line.word("connection", &course.name);
    if let Some(author) = hop.author {
        line.shown("author", author);
    }
    if let Some(beyond) = hop.beyond {
        line.shown("beyond", beyond);
    }
    fields_of(message, line, node_request);
}
