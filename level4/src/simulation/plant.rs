//! Bugs on purpose, to see that the simulation finds their kind: each is a value that a run is given, and
//! lies in the simulated world around the cores. No binary has any of it.

use std::collections::{HashMap, HashSet};

use raft::eraftpb::MessageType;

use crate::consensus::MemoryLog;
use crate::ids::NodeId;
use crate::message::{PeerMessage, Request, RequestId};

/// A bug that a run is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A node that starts again has forgotten whom it gave its vote in this term.
    ForgottenVote,
    /// A request that is forwarded again is taken for another one as well.
    NoDedupe,
    /// A node answers reads from what it has, and asks nobody whether that is the newest.
    StaleRead,
    /// A node says that entries are on its disk when they are on their way there.
    EarlyAck,
    /// What a quorum acknowledges is taken for committed, though the leader has none of its own term among
    /// it (against section 5.4.2 of the Raft paper).
    OldTerm,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ForgottenVote,
        Self::NoDedupe,
        Self::StaleRead,
        Self::EarlyAck,
        Self::OldTerm,
    ];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForgottenVote => "forgotten-vote",
            Self::NoDedupe => "no-dedupe",
            Self::StaleRead => "stale-read",
            Self::EarlyAck => "early-ack",
            Self::OldTerm => "old-term",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plant| plant.name() == name)
    }
}

/// Far beyond the counters of requests that are taken in a run.
const ANOTHER: u64 = 1 << 40;

/// What is planted in a run, and what it has to remember.
#[derive(Debug, Default)]
pub struct Planted {
    plant: Option<Plant>,
    forwarded: HashSet<RequestId>,
    /// How far the log of each node is on its disk, by what it said to the leader of this term.
    acknowledged: HashMap<u64, HashMap<NodeId, u64>>,
}

impl Planted {
    /// Plants a bug, or none.
    pub fn new(plant: Option<Plant>) -> Self {
        Self {
            plant,
            ..Self::default()
        }
    }

    /// What the command that replays a run needs beside the seed.
    pub fn flags(&self) -> String {
        let name = self.plant.map(Plant::name);
        name.map_or_else(String::new, |name| format!(" --plant {name}"))
    }

    /// Whether it is this one.
    pub fn is(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// What a process that begins finds on its disk.
    pub fn recovered(&self, log: &mut MemoryLog) {
        use raft::Storage as _;
        if self.is(Plant::ForgottenVote)
            && let Ok(mut state) = log.initial_state()
        {
            state.hard_state.vote = 0;
            log.set_hard_state(&state.hard_state);
        }
    }

    /// What is sent instead of a message in a cluster of so many, if another one is.
    pub fn sent(
        &mut self,
        (from, to): (NodeId, NodeId),
        size: usize,
        message: &PeerMessage,
    ) -> Option<PeerMessage> {
        match (self.plant?, message) {
            (Plant::NoDedupe, PeerMessage::Forward(requests)) => Some(self.twice(requests)),
            (Plant::OldTerm, PeerMessage::Raft(message)) => match message.msg_type {
                MessageType::MsgAppendResponse if !message.reject => {
                    let acknowledged = self.acknowledged.entry(message.term).or_default();
                    let known = acknowledged.entry(from).or_default();
                    *known = message.index.max(*known);
                    None
                }
                MessageType::MsgHeartbeat => {
                    let acknowledged = self.acknowledged.get(&message.term)?;
                    let mut all: Vec<u64> = acknowledged.values().copied().collect();
                    all.sort_unstable_by(|a, b| b.cmp(a));
                    // The leader has everything that it was acknowledged, so one fewer make a quorum.
                    let by_quorum = *all.get((size / 2).checked_sub(1)?)?;
                    let mut message = message.clone();
                    message.commit = by_quorum.min(*acknowledged.get(&to)?).max(message.commit);
                    Some(PeerMessage::Raft(message))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn twice(&mut self, requests: &[Request]) -> PeerMessage {
        let again = requests
            .iter()
            .filter(|request| !self.forwarded.insert(request.id))
            .cloned();
        let mut others: Vec<Request> = again.collect();
        for request in &mut others {
            request.id.counter += ANOTHER;
        }
        PeerMessage::Forward(requests.iter().cloned().chain(others).collect())
    }
}
