//! A few cores driven by hand, message by message: whose disk and state machine do something is for the
//! story to say.

use std::collections::BTreeSet;

use bytes::Bytes;
use level4::consensus::{
    Answer, Applied, Apply, Core, Effects, Link, Members, MemoryLog, Notice, Offered, Persist,
    Standing, Start, Timing, asks_for_comparison,
};
use level4::ids::{Incarnation, Index, NodeId, Term};
use level4::machine::Machine;
use level4::message::{Command, PeerMessage};
use raft::eraftpb::{ConfState, HardState, MessageType};

use level4::simulation::Ledger;

/// Of all nodes.
pub const TIMING: Timing = Timing {
    heartbeat: 2,
    election: 10,
    election_step: 4,
    resend: 20,
    snapshot: 200,
    piece: 8,
    compare: 16,
    apply_limit: 1_000,
};

/// Where a cluster begins: it has been founded.
const FIRST: (Index, Term) = (Index::new(1), Term::new(1));

/// A node whose disk and state machine are as fast or as slow as the story wants.
pub struct Node {
    pub core: Core,
    pub machine: Machine<Ledger>,
    /// Handed out and not written.
    pub writes: Vec<Persist>,
    pub applies: Vec<Apply>,
    pub answers: Vec<(u64, Answer)>,
    pub reads: Vec<u64>,
    pub refused: Vec<u64>,
    pub standing: Standing,
    pub notices: Vec<Notice>,
}

/// Nodes 1.. of a cluster that has just begun; all of them vote, if nothing else is said. They go by their
/// numbers here.
pub struct Story {
    pub nodes: Vec<Node>,
    /// On their way: from, to, message.
    pub wire: Vec<(u64, u64, PeerMessage)>,
    now_ms: u64,
    /// This one's state machine does nothing.
    pub stalled: Option<u64>,
}

impl Story {
    /// All of them vote.
    pub fn new(size: u64) -> Self {
        Self::begin(size, size, None)
    }

    /// Only the first of them vote.
    pub fn with_voters(size: u64, voters: u64) -> Self {
        Self::begin(size, voters, None)
    }

    /// One of them has noted that its state is not the others'.
    pub fn with_parted(size: u64, parted: Option<u64>) -> Self {
        Self::begin(size, size, parted)
    }

    fn begin(size: u64, voters: u64, parted: Option<u64>) -> Self {
        let names = (1..=size).map(|id| (NodeId::new(id), id.to_string()));
        let members: Members = names.collect();
        let (voters, learners): (Vec<_>, Vec<_>) = (1..=size).partition(|&id| id <= voters);
        let conf_state = ConfState::from((voters, learners));
        let node = |id: u64| {
            let hard_state = HardState {
                term: 1,
                commit: 1,
                ..HardState::default()
            };
            let log = MemoryLog::new(FIRST, Vec::new(), hard_state, conf_state.clone());
            let mut machine = Machine::new(Ledger::default());
            machine
                .apply(Apply::Members {
                    index: FIRST.0,
                    term: FIRST.1,
                    conf_state: conf_state.clone(),
                    members: members.clone(),
                })
                .unwrap();
            let core = Core::new(Start {
                id: NodeId::new(id),
                incarnation: Incarnation::new(1),
                log,
                applied: FIRST.0,
                origin: FIRST.0,
                members: members.clone(),
                timing: TIMING,
                seed: id,
                parted: (parted == Some(id)).then_some(FIRST.0),
                skipped: BTreeSet::new(),
                proved: false,
            })
            .unwrap();
            Node {
                core,
                machine,
                writes: Vec::new(),
                applies: Vec::new(),
                answers: Vec::new(),
                reads: Vec::new(),
                refused: Vec::new(),
                standing: Standing::Sound,
                notices: Vec::new(),
            }
        };
        Self {
            nodes: (1..=size).map(node).collect(),
            wire: Vec::new(),
            now_ms: 1,
            stalled: None,
        }
    }

    /// The node with this number.
    pub fn node(&mut self, id: u64) -> &mut Node {
        &mut self.nodes[id as usize - 1]
    }

    /// What the node's core gives out is noted, and its messages are on their way.
    pub fn flush(&mut self, id: u64) -> Effects {
        self.now_ms += 1;
        let now_ms = self.now_ms;
        let node = self.node(id);
        let mut effects = node.core.flush(now_ms);
        node.applies.append(&mut effects.apply);
        node.answers.append(&mut effects.answers);
        node.reads.append(&mut effects.reads);
        node.refused.append(&mut effects.refused);
        node.notices.append(&mut effects.notices);
        node.standing = effects.standing.unwrap_or(node.standing);
        if effects.snapshot_wanted {
            let snapshot = node.machine.snapshot().unwrap();
            node.core.offer_snapshot(Some(Offered::beside(snapshot)));
        }
        let messages = effects.messages.drain(..);
        self.wire
            .extend(messages.map(|(to, message)| (id, to.get(), message)));
        effects
    }

    /// The node's disk writes everything it was given.
    pub fn write(&mut self, id: u64) {
        let mut effects = self.flush(id);
        let node = self.node(id);
        node.writes.append(&mut effects.persist);
        if let Some(last) = node.writes.drain(..).map(|write| write.number).last() {
            node.core.persisted(last);
        }
    }

    /// The node's state machine applies everything it was given.
    pub fn apply(&mut self, id: u64) {
        if self.stalled == Some(id) {
            return;
        }
        let node = self.node(id);
        for step in std::mem::take(&mut node.applies) {
            let restored = matches!(step, Apply::Restore(_));
            let asked = matches!(&step, Apply::Batch { data, .. } if asks_for_comparison(data));
            let executed = node.machine.apply(step).unwrap();
            let links: Vec<Link> = node.machine.take_links();
            let index = node.machine.applied();
            node.core.applied(Applied {
                index,
                links,
                executed,
                restored,
            });
            if asked {
                node.core.content(index, node.machine.look().digest());
            }
        }
    }

    /// Everything happens, and what `pass` lets through arrives, until nothing more does.
    pub fn settle_with(&mut self, pass: impl Fn(u64, u64, &PeerMessage) -> bool) {
        for _ in 0..200 {
            for id in 1..=self.nodes.len() as u64 {
                self.write(id);
                self.apply(id);
                self.write(id);
            }
            if self.wire.is_empty() {
                return;
            }
            for (from, to, message) in std::mem::take(&mut self.wire) {
                if pass(from, to, &message) {
                    self.receive(to, from, message);
                }
            }
        }
    }

    /// `message` of node `from` comes to node `to`.
    pub fn receive(&mut self, to: u64, from: u64, message: PeerMessage) {
        self.node(to).core.receive(NodeId::new(from), message);
    }

    /// Everything happens and arrives.
    pub fn settle(&mut self) {
        self.settle_with(|_, _, _| true);
    }

    /// Time passes for all.
    pub fn pass(&mut self, ticks: usize) {
        for _ in 0..ticks {
            for node in &mut self.nodes {
                node.core.tick();
            }
            self.settle();
        }
    }

    /// Time passes until node 1 leads.
    pub fn elect_first(&mut self) {
        for _ in 0..100 {
            self.node(1).core.tick();
            self.settle();
            if self.node(1).core.status().role == "leader" {
                return;
            }
        }
        panic!("node 1 does not lead: {:?}", self.node(1).core.status());
    }

    /// A client asks the node for something.
    pub fn ask(&mut self, id: u64, token: u64, text: &'static str) {
        let command = Command::Shell(Bytes::from_static(text.as_bytes()));
        self.node(id).core.request(token, None, command);
    }
}

/// Whether it is a message of Raft's of this kind.
pub fn is_raft(message: &PeerMessage, kind: MessageType) -> bool {
    matches!(message, PeerMessage::Raft(message) if message.msg_type == kind)
}
