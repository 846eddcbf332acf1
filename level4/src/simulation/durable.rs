//! What a machine may promise: what its disk holds for certain.

use crate::consensus::{MemoryLog, Persist};
use crate::message::PeerMessage;
use raft::Storage as _;
use raft::eraftpb::MessageType;

/// What a machine's disk holds for certain.
#[derive(Default)]
pub struct Durable {
    term: u64,
    vote: u64,
    last_index: u64,
    /// The commit index that is on disk, or on its way there.
    pub commit: u64,
}

impl Durable {
    /// As recovered.
    pub fn of(log: &MemoryLog) -> Self {
        let state = log.initial_state().expect("in memory").hard_state;
        Self {
            term: state.term,
            vote: state.vote,
            last_index: log.last_index().expect("in memory"),
            commit: state.commit,
        }
    }

    /// A write is done.
    pub fn note(&mut self, write: &Persist) {
        if let Some(snapshot) = &write.snapshot {
            self.last_index = snapshot.get_metadata().index;
        }
        if let Some(last) = write.entries.last() {
            self.last_index = last.index;
        }
        if let Some(state) = &write.hard_state {
            (self.term, self.vote) = (state.term, state.vote);
        }
    }

    /// Whatever a message promises has to be on disk already.
    pub fn check(&self, message: &PeerMessage) {
        match message {
            PeerMessage::Raft(message) if !message.reject => match message.msg_type {
                MessageType::MsgRequestVoteResponse => {
                    // In a later term no other vote in this one can be given any more.
                    let kept = self.term == message.term && self.vote == message.to;
                    assert!(kept || self.term > message.term, "a vote not on disk");
                }
                MessageType::MsgAppendResponse => {
                    assert!(self.term >= message.term, "a term not on disk");
                    assert!(self.last_index >= message.index, "entries not on disk");
                }
                _ => {}
            },
            PeerMessage::Ack { index, .. } => {
                assert!(self.last_index >= index.get(), "entries not on disk");
            }
            _ => {}
        }
    }
}
