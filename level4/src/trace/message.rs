//! What a trace tells of a message between nodes: its type, and the fields that say how far it reaches.

use raft::eraftpb::{Message as RaftMessage, MessageType};

use super::{Line, NameOf};
use crate::message::PeerMessage;

/// Adds what is told of a message to its line.
pub fn fields_of(message: &PeerMessage, line: &mut Line, name_of: NameOf) {
    match message {
        PeerMessage::Raft(message) => raft_fields(message, line, name_of),
        PeerMessage::Forward(requests) => {
            line.word("type", "Forward").requests(requests, name_of);
        }
        PeerMessage::Ack { term, index } => {
            line.word("type", "Ack")
                .number("term", term.get())
                .number("index", index.get());
        }
        PeerMessage::Snapshot(message) => {
            let at = message.at();
            line.word("type", "Snapshot").number("term", at.term.get());
        }
        PeerMessage::Progress { applied, parted } => {
            line.word("type", "Progress")
                .number("applied", applied.get());
            if *parted {
                line.word("text", "my state has parted from the others'");
            }
        }
        PeerMessage::Skip { index } => {
            line.word("type", "Skip").number("skipped", index.get());
        }
        PeerMessage::Join { name, .. } => {
            line.word("type", "Join").word("name", name);
        }
        PeerMessage::Remove { .. } => {
            line.word("type", "Remove");
        }
        PeerMessage::Ping { .. } => {
            line.word("type", "Ping");
        }
        PeerMessage::Pong { .. } => {
            line.word("type", "Pong");
        }
        PeerMessage::Distances(_) => {
            line.word("type", "Distances");
        }
        PeerMessage::Digests(_) => {
            line.word("type", "Digests");
        }
    }
}

/// Raft's own messages. An index is the last place in the log that a message tells of or acknowledges; a
/// refusal acknowledges nothing.
fn raft_fields(message: &RaftMessage, line: &mut Line, name_of: NameOf) {
    line.word("type", type_of(message.msg_type))
        .number("term", message.term);
    match message.msg_type {
        MessageType::MsgAppend => {
            let last = message.entries.last().map_or(message.index, |e| e.index);
            line.number("index", last)
                .number("commit", message.commit)
                .number("behind", message.index)
                .entries(&message.entries, name_of);
        }
        MessageType::MsgHeartbeat => {
            line.number("commit", message.commit);
        }
        MessageType::MsgAppendResponse if !message.reject => {
            line.number("index", message.index);
        }
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
            line.number("last", message.index)
                .number("last_term", message.log_term);
        }
        _ => {}
    }
    if message.reject {
        line.word("text", "refused");
    }
}

/// A type's name, without what all of them begin with.
fn type_of(message: MessageType) -> &'static str {
    match message {
        MessageType::MsgAppend => "Append",
        MessageType::MsgAppendResponse => "AppendResponse",
        MessageType::MsgHeartbeat => "Heartbeat",
        MessageType::MsgHeartbeatResponse => "HeartbeatResponse",
        MessageType::MsgRequestVote => "RequestVote",
        MessageType::MsgRequestVoteResponse => "RequestVoteResponse",
        MessageType::MsgRequestPreVote => "RequestPreVote",
        MessageType::MsgRequestPreVoteResponse => "RequestPreVoteResponse",
        MessageType::MsgReadIndex => "ReadIndex",
        MessageType::MsgReadIndexResp => "ReadIndexResp",
        MessageType::MsgTimeoutNow => "TimeoutNow",
        MessageType::MsgTransferLeader => "TransferLeader",
        MessageType::MsgSnapshot => "RaftSnapshot",
        // Within a node only.
        _ => "Raft",
    }
}
