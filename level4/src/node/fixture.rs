//! Small logs for tests.

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry};

use crate::consensus::{Apply, Members};
use crate::ids::{Incarnation, Index, NodeId, Term};
use crate::message::{Batch, Command, Request, RequestId};

/// The only member.
pub const NODE: NodeId = NodeId::new(1);

/// The first entry.
pub fn founding(node: NodeId) -> Apply {
    Apply::Members {
        index: Index::new(1),
        term: Term::new(1),
        conf_state: ConfState::from((vec![node.get()], vec![])),
        members: Members::from([(node, "n".to_owned())]),
    }
}

/// An entry with one request of that node's.
pub fn entry_of(node: NodeId, index: u64, sql: &str) -> Entry {
    let command = Command::Shell(Bytes::copy_from_slice(sql.as_bytes()));
    entry_with(node, index, command)
}

/// An entry with this request.
pub fn entry_with(node: NodeId, index: u64, command: Command) -> Entry {
    let id = RequestId {
        node,
        incarnation: Incarnation::new(1),
        counter: index,
    };
    let request = Request {
        id,
        floor: index,
        key: None,
        command,
    };
    let batch = Batch {
        time_ms: index,
        requests: vec![request],
    };
    Entry {
        index,
        term: 1,
        data: batch.encode().into(),
        ..Entry::default()
    }
}

/// An entry with one request.
pub fn entry(index: u64, sql: &str) -> Entry {
    entry_of(NODE, index, sql)
}

/// What the state machine is given of it.
pub fn step(entry: &Entry) -> Apply {
    Apply::Batch {
        index: Index::new(entry.index),
        term: Term::new(entry.term),
        data: entry.data.clone(),
    }
}
