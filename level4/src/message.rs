//! What nodes say to one another, and what the log holds: requests, batches, peer messages.
//!
//! Everything here is plain data with a compact encoding. The sender of a message is known from the
//! connection it came on (or the relay header), so Raft's `from` and `to` are left out on the wire.

use std::collections::BTreeMap;

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::Message as RaftMessage;

use crate::codec::{Malformed, Reader, Writer};
use crate::consensus::{Digests, SnapshotMessage};
use crate::ids::{Incarnation, Index, NodeId, Term};

/// Names one client request for ever: which node took it, in which of its lives, and the how-manieth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// The node that the client asked (the *gateway*).
    pub node: NodeId,
    /// How many times that node had been started; counts from 1.
    pub incarnation: Incarnation,
    /// Counts the requests of that incarnation from 0.
    pub counter: u64,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// SQL text, answered in the `sqlite3` shell's format; takes a sequence number.
    Shell(Bytes),
    /// Encoded [`crate::statement::Statements`], answered by encoded [`crate::statement::Outcome`]s.
    Statements(Bytes),
    /// A whole SQLite database file that replaces the current one; answered like statements.
    Load(Bytes),
    /// An encoded [`crate::database::Budget`], the one of every request from here on; answered like
    /// statements.
    Configure(Bytes),
    /// An encoded [`crate::database::Capturing`]: whether changes of rows are kept for others to be told, and
    /// how far they have been; answered like statements.
    Capture(Bytes),
    /// An encoded [`crate::database::Stage`]: a piece of a long SQLite file, or what to do with those that came;
    /// answered like statements.
    Stage(Bytes),
    /// A command with so many times the usual budget.
    Budgeted {
        /// At least 1.
        factor: u64,
        /// What to do; none of these again.
        command: Box<Command>,
    },
}

impl Command {
    /// Its content, whatever it is.
    pub fn body(&self) -> &Bytes {
        match self {
            Self::Shell(body)
            | Self::Statements(body)
            | Self::Load(body)
            | Self::Configure(body)
            | Self::Capture(body)
            | Self::Stage(body) => body,
            Self::Budgeted { command, .. } => command.body(),
        }
    }

    /// This command with `factor` times the usual budget.
    #[must_use]
    pub fn with_budget(self, factor: u64) -> Self {
        if factor <= 1 {
            return self;
        }
        let command = Box::new(self);
        Self::Budgeted { factor, command }
    }

    /// How many times the usual budget it has, and what it is.
    pub fn budget(&self) -> (u64, &Self) {
        match self {
            Self::Budgeted { factor, command } => (*factor, command),
            other => (1, other),
        }
    }

    /// Whether it takes a sequence number.
    pub fn is_numbered(&self) -> bool {
        matches!(self.budget().1, Self::Shell(_))
    }

    /// What kind it is, for the wire.
    fn kind(&self) -> u8 {
        match self {
            Self::Shell(_) => 0,
            Self::Statements(_) => 1,
            Self::Load(_) => 2,
            Self::Configure(_) => 3,
            Self::Budgeted { .. } => 4,
            Self::Capture(_) => 5,
            Self::Stage(_) => 6,
        }
    }

    fn of_kind(kind: u8, body: Bytes) -> Option<Self> {
        Some(match kind {
            0 => Self::Shell(body),
            1 => Self::Statements(body),
            2 => Self::Load(body),
            3 => Self::Configure(body),
            5 => Self::Capture(body),
            6 => Self::Stage(body),
            _ => return None,
        })
    }
}

/// A client request on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The same through every resend.
    pub id: RequestId,
    /// Every counter of this incarnation below this one has been answered: the replicated state may
    /// forget those answers.
    pub floor: u64,
    /// The client's own `Idempotency-Key`, if it sent one.
    pub key: Option<String>,
    /// What to do.
    pub command: Command,
}

/// The content of one log entry: requests in order, and the moment they are executed at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The leader's clock, milliseconds since 1970: `now` for SQL on every node.
    pub time_ms: u64,
    /// Executed one after the other.
    pub requests: Vec<Request>,
}

/// A message between two nodes' cores.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerMessage {
    /// Raft's own.
    Raft(Box<RaftMessage>),
    /// Requests from a gateway to the leader.
    Forward(Vec<Request>),
    /// "My disk holds the log of term `term`'s leader up to `index`", told to everybody, so that all
    /// learn of a commit one hop earlier than from the leader.
    Ack {
        /// The leader's term.
        term: Term,
        /// The last entry known to match and to be durable.
        index: Index,
    },
    /// "`node`, reached at `name`, wants to be a member", passed on until it reaches the leader.
    Join {
        /// The newcomer.
        node: NodeId,
        /// Its address for its peers.
        name: String,
    },
    /// "`node` is to be a member no more", passed on like [`PeerMessage::Join`].
    Remove {
        /// The member.
        node: NodeId,
    },
    /// Asks for a [`PeerMessage::Pong`], to measure the round trip.
    Ping {
        /// The sender's tick.
        sent: u64,
    },
    /// Answers a [`PeerMessage::Ping`] at once.
    Pong {
        /// The ping's.
        sent: u64,
    },
    /// The round trips that the sender has measured, in eighths of a tick, told to the leader.
    Distances(BTreeMap<NodeId, u64>),
    /// About a snapshot.
    Snapshot(SnapshotMessage),
    /// Digests of what the sender applied.
    Digests(Digests),
    /// How far the sender has applied, and whether its state is known to be another than the others'.
    Progress {
        /// The last applied entry, if the next one is committed; 0: nothing waits to be applied.
        applied: Index,
        /// Its state is to be rebuilt: it is no leader, and nobody to learn from.
        parted: bool,
    },
    /// "The entry at `index` is to be skipped", on its way to the leader.
    Skip {
        /// The entry.
        index: Index,
    },
}

/// Format of [`Batch`] in log entries; the first byte of each.
const BATCH_VERSION: u8 = 1;

impl Request {
    fn encode(&self, writer: &mut Writer) {
        writer.uint(self.id.node.get());
        writer.uint(self.id.incarnation.get());
        writer.uint(self.id.counter);
        writer.uint(self.id.counter - self.floor.min(self.id.counter));
        writer.byte(self.command.kind() << 1 | u8::from(self.key.is_some()));
        if let Command::Budgeted { factor, command } = &self.command {
            writer.uint(*factor);
            writer.byte(command.kind());
        }
        if let Some(key) = &self.key {
            writer.bytes(key.as_bytes());
        }
        writer.bytes(self.command.body());
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let id = RequestId {
            node: NodeId::new(reader.uint()?),
            incarnation: Incarnation::new(reader.uint()?),
            counter: reader.uint()?,
        };
        let floor = id.counter.saturating_sub(reader.uint()?);
        let kind = reader.byte()?;
        let budgeted = if kind >> 1 == 4 {
            Some((reader.uint()?, reader.byte()?))
        } else {
            None
        };
        let key = if kind & 1 == 1 {
            Some(reader.text()?)
        } else {
            None
        };
        let body = reader.shared()?;
        let (factor, kind) = budgeted.unwrap_or((1, kind >> 1));
        let command = Command::of_kind(kind, body).ok_or(Malformed { at: 0 })?;
        let command = command.with_budget(factor);
        Ok(Self {
            id,
            floor,
            key,
            command,
        })
    }

    /// Roughly the encoded size, bytes.
    pub fn size(&self) -> usize {
        self.command.body().len() + self.key.as_ref().map_or(0, String::len) + 32
    }
}

fn encode_requests(requests: &[Request], writer: &mut Writer) {
    writer.uint(requests.len() as u64);
    for request in requests {
        request.encode(writer);
    }
}

fn decode_requests(reader: &mut Reader) -> Result<Vec<Request>, Malformed> {
    let count = reader.uint()?;
    let mut requests = Vec::new();
    for _ in 0..count {
        requests.push(Request::decode(reader)?);
    }
    Ok(requests)
}

impl Batch {
    /// The bytes of a log entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.byte(BATCH_VERSION);
        writer.uint(self.time_ms);
        encode_requests(&self.requests, &mut writer);
        writer.finish()
    }

    /// Reads a log entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != BATCH_VERSION {
            return Err(Malformed { at: 0 });
        }
        Ok(Self {
            time_ms: reader.uint()?,
            requests: decode_requests(&mut reader)?,
        })
    }
}

impl PeerMessage {
    /// Roughly the encoded size, bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Raft(message) => {
                let entries: usize = message.entries.iter().map(|e| e.data.len() + 24).sum();
                entries + message.get_snapshot().data.len() + 32
            }
            Self::Forward(requests) => requests.iter().map(Request::size).sum(),
            Self::Distances(report) => 16 * report.len() + 1,
            Self::Join { name, .. } => name.len() + 16,
            Self::Snapshot(message) => message.size(),
            Self::Digests(digests) => 8 * digests.values.len() + 32,
            Self::Progress { .. }
            | Self::Skip { .. }
            | Self::Ack { .. }
            | Self::Remove { .. }
            | Self::Ping { .. }
            | Self::Pong { .. } => 20,
        }
    }

    /// The highest term that it speaks of; the one before the first: of none.
    pub fn highest_term(&self) -> Term {
        match self {
            Self::Raft(message) => {
                let entries = message.entries.iter().map(|entry| entry.term).max();
                let terms = [message.term, message.log_term, message.commit_term];
                let highest = terms.into_iter().chain(entries).max();
                Term::new(highest.unwrap_or_default())
            }
            Self::Ack { term, .. } => *term,
            Self::Snapshot(message) => message.at().term,
            _ => Term::default(),
        }
    }

    /// The message's bytes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        match self {
            Self::Raft(message) => {
                writer.byte(0);
                let mut message = message.clone();
                message.from = 0;
                message.to = 0;
                // Writing a message into memory fails only on fields left unset, which proto3 lacks.
                writer.raw(&message.write_to_bytes().unwrap_or_default());
            }
            Self::Forward(requests) => {
                writer.byte(1);
                encode_requests(requests, &mut writer);
            }
            Self::Ack { term, index } => {
                writer.byte(2);
                writer.uint(term.get());
                writer.uint(index.get());
            }
            Self::Join { node, name } => {
                writer.byte(3);
                writer.uint(node.get());
                writer.bytes(name.as_bytes());
            }
            Self::Remove { node } => {
                writer.byte(4);
                writer.uint(node.get());
            }
            Self::Ping { sent } => {
                writer.byte(5);
                writer.uint(*sent);
            }
            Self::Pong { sent } => {
                writer.byte(6);
                writer.uint(*sent);
            }
            Self::Distances(report) => {
                writer.byte(7);
                for (node, distance) in report {
                    writer.uint(node.get());
                    writer.uint(*distance);
                }
            }
            Self::Snapshot(message) => {
                writer.byte(8);
                message.encode(&mut writer);
            }
            Self::Digests(digests) => {
                writer.byte(9);
                digests.encode(&mut writer);
            }
            Self::Progress { applied, parted } => {
                writer.byte(10);
                writer.uint(applied.get());
                writer.byte(u8::from(*parted));
            }
            Self::Skip { index } => {
                writer.byte(11);
                writer.uint(index.get());
            }
        }
        writer.finish()
    }

    /// Reads a message that came from `from` and is meant for `to`.
    pub fn decode(bytes: &[u8], from: NodeId, to: NodeId) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.byte()? {
            0 => {
                let mut message = RaftMessage::parse_from_bytes(reader.rest())
                    .map_err(|_| Malformed { at: 1 })?;
                message.from = from.get();
                message.to = to.get();
                Self::Raft(Box::new(message))
            }
            1 => Self::Forward(decode_requests(&mut reader)?),
            2 => Self::Ack {
                term: Term::new(reader.uint()?),
                index: Index::new(reader.uint()?),
            },
            3 => Self::Join {
                node: NodeId::new(reader.uint()?),
                name: reader.text()?,
            },
            4 => Self::Remove {
                node: NodeId::new(reader.uint()?),
            },
            5 => Self::Ping {
                sent: reader.uint()?,
            },
            6 => Self::Pong {
                sent: reader.uint()?,
            },
            7 => {
                let mut report = BTreeMap::new();
                while !reader.is_empty() {
                    report.insert(NodeId::new(reader.uint()?), reader.uint()?);
                }
                Self::Distances(report)
            }
            8 => Self::Snapshot(SnapshotMessage::decode(&mut reader)?),
            9 => Self::Digests(Digests::decode(&mut reader)?),
            10 => Self::Progress {
                applied: Index::new(reader.uint()?),
                parted: reader.byte()? == 1,
            },
            11 => Self::Skip {
                index: Index::new(reader.uint()?),
            },
            _ => return Err(Malformed { at: 0 }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(counter: u64) -> Request {
        Request {
            id: RequestId {
                node: NodeId::new(u64::MAX),
                incarnation: Incarnation::new(3),
                counter,
            },
            floor: counter.saturating_sub(2),
            key: (counter % 2 == 1).then(|| "key".to_owned()),
            command: Command::Shell(Bytes::from_static(b"SELECT 1;")).with_budget(counter),
        }
    }

    #[test]
    fn batches_and_messages_survive_the_wire() {
        let batch = Batch {
            time_ms: 1_700_000_000_000,
            requests: (0..5).map(request).collect(),
        };
        assert_eq!(Batch::decode(&batch.encode()).unwrap(), batch);
        let mut raft = RaftMessage {
            term: 7,
            from: 1,
            to: 2,
            ..RaftMessage::default()
        };
        raft.entries.push(raft::eraftpb::Entry {
            index: 9,
            term: 7,
            ..Default::default()
        });
        let (from, to, node) = (NodeId::new(1), NodeId::new(2), NodeId::new(77));
        for message in [
            PeerMessage::Raft(Box::new(raft)),
            PeerMessage::Forward(batch.requests),
            PeerMessage::Ack {
                term: Term::new(3),
                index: Index::new(300),
            },
            PeerMessage::Join {
                node,
                name: "./node3.sock".to_owned(),
            },
            PeerMessage::Remove { node },
            PeerMessage::Ping { sent: 1 << 40 },
            PeerMessage::Pong { sent: 0 },
            PeerMessage::Distances(BTreeMap::from([(NodeId::new(u64::MAX), 40), (node, 0)])),
            PeerMessage::Progress {
                applied: Index::new(1 << 50),
                parted: true,
            },
            PeerMessage::Skip {
                index: Index::new(5),
            },
        ] {
            let PeerMessage::Raft(_) = &message else {
                assert_eq!(
                    PeerMessage::decode(&message.encode(), from, to).unwrap(),
                    message
                );
                continue;
            };
            let again = PeerMessage::decode(&message.encode(), from, to).unwrap();
            assert_eq!(again.encode(), message.encode());
        }
    }

    #[test]
    fn cut_off_messages_are_malformed() {
        let bytes = Batch {
            time_ms: 5,
            requests: vec![request(1)],
        }
        .encode();
        for length in 0..bytes.len() {
            assert!(Batch::decode(&bytes[..length]).is_err(), "length {length}");
        }
    }
}
