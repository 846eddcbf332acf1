//! What goes into a core at its start and what comes out of each flush: plain values.

use std::collections::BTreeSet;

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};

use super::agreement::Standing;
use super::digests::Link;
use super::gateway::Token;
use super::membership::{JoinCounts, Members, Membership};
use super::memory::MemoryLog;
use super::transfer::Part;
use crate::ids::{Incarnation, Index, NodeId, Term};
use crate::message::{PeerMessage, RequestId};

/// Timing of one node, in ticks, and its limits.
#[derive(Debug, Clone)]
pub struct Timing {
    /// The leader shows signs of life this often.
    pub heartbeat: usize,
    /// Silence of the leader that makes a follower doubt it.
    pub election: usize,
    /// Added per rank (a voter's place in the order of ids), so that two seldom stand at once.
    pub election_step: usize,
    /// An unanswered request is forwarded again after this long.
    pub resend: u64,
    /// A snapshot that nobody has pulled a piece of for this long is given up.
    pub snapshot: u64,
    /// A snapshot is pulled in pieces of this length, bytes.
    pub piece: u64,
    /// The leader has replicas compared this often, beside every so many entries.
    pub compare: u64,
    /// The node takes no more entries while it has so much to apply, bytes.
    pub apply_limit: usize,
}

/// What a node has to know at its start.
pub struct Start {
    /// This node.
    pub id: NodeId,
    /// How many times it has been started.
    pub incarnation: Incarnation,
    /// Its log as recovered.
    pub log: MemoryLog,
    /// The last applied entry, which the recovered state stands at.
    pub applied: Index,
    /// The last entry of which it is not known whether the state has left it out: that of the snapshot that the
    /// state began with.
    pub origin: Index,
    /// The members at `applied`.
    pub members: Members,
    /// Ticks.
    pub timing: Timing,
    /// For election timeouts.
    pub seed: u64,
    /// The state is known not to be that of the other replicas since this index.
    pub parted: Option<Index>,
    /// Entries that the recovered state leaves out, or will ([`super::MemoryLog::skips`]).
    pub skipped: BTreeSet<Index>,
    /// Peers have proved that they belong to the cluster before they are heard: a term far ahead is the
    /// cluster's own.
    pub proved: bool,
}

/// What the environment has applied.
#[derive(Debug, Default)]
pub struct Applied {
    /// The last applied entry.
    pub index: Index,
    /// The digests after the entries applied.
    pub links: Vec<Link>,
    /// The requests executed by now, with their answers.
    pub executed: Vec<(RequestId, Answer)>,
    /// The state was replaced by a snapshot, from another node.
    pub restored: bool,
}

impl Applied {
    /// What a process begins with, from its own snapshot.
    pub fn recovered(index: Index, links: Vec<Link>) -> Self {
        Self {
            index,
            links,
            ..Self::default()
        }
    }
}

/// What an [`Answer`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind {
    /// What the request gave.
    Output,
    /// Its `Idempotency-Key` stands for another request; it was not executed.
    OtherRequest,
    /// Its entry was skipped by an operator; it was not executed.
    Skipped,
    /// The request was executed, but its output took too much room to be remembered.
    Forgotten,
}

/// The answer to an executed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it is.
    pub kind: AnswerKind,
    /// Its place among the shell requests, from 0; other requests take none.
    pub sequence: Option<u64>,
    /// What was printed, or JSON.
    pub body: Bytes,
}

impl Answer {
    /// The answer to a request whose entry was skipped, which has not been executed and takes no number.
    pub fn skipped() -> Self {
        Self {
            kind: AnswerKind::Skipped,
            sequence: None,
            body: Bytes::new(),
        }
    }
}

/// A step of the replicated state machine.
#[derive(Debug, Clone)]
pub enum Apply {
    /// Execute this batch.
    Batch {
        /// Of the entry.
        index: Index,
        /// Of the entry.
        term: Term,
        /// Encoded [`crate::message::Batch`]; empty for entries that only mark a new term.
        data: Bytes,
    },
    /// The membership is now this.
    Members {
        /// Of the entry.
        index: Index,
        /// Of the entry.
        term: Term,
        /// Raft's view.
        conf_state: ConfState,
        /// Names by id.
        members: Members,
    },
    /// Replace the whole state.
    Restore(Snapshot),
}

/// What has to be on disk before anybody hears of it.
#[derive(Debug, Default)]
pub struct Persist {
    /// Give this to [`super::Core::persisted`].
    pub number: u64,
    /// Replaces the log up to its index, and is written first.
    pub snapshot: Option<Snapshot>,
    /// Entries, replacing what the log has from their first index on.
    pub entries: Vec<Entry>,
    /// Term, vote and commit index.
    pub hard_state: Option<HardState>,
}

impl Persist {
    /// What the entries hold, bytes.
    pub fn size(&self) -> usize {
        self.entries.iter().map(|entry| entry.data.len()).sum()
    }
}

/// What the environment has to do after [`super::Core::flush`].
#[derive(Debug, Default)]
pub struct Effects {
    /// To send, in order; losing some is allowed.
    pub messages: Vec<(NodeId, PeerMessage)>,
    /// To write and sync, in order of number.
    pub persist: Vec<Persist>,
    /// To apply in order.
    pub apply: Vec<Apply>,
    /// To answer.
    pub answers: Vec<(Token, Answer)>,
    /// Clients that will get no answer here: the node has been removed.
    pub refused: Vec<Token>,
    /// Reads whose turn has come: execute them after everything in `apply` so far.
    pub reads: Vec<Token>,
    /// The membership changed to this.
    pub members: Option<Membership>,
    /// What the operator should know.
    pub notices: Vec<Notice>,
    /// What is known about this node's state has changed to this.
    pub standing: Option<Standing>,
    /// An entry that has not been applied here is to be skipped: start again from what is on disk.
    pub skip: Option<Index>,
    /// Parts of snapshots that have to be read and sent.
    pub parts: Vec<(NodeId, Part)>,
    /// A follower needs a snapshot: make one and give it to [`super::Core::offer_snapshot`].
    pub snapshot_wanted: bool,
}

/// Something about this node or its peers that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// It was removed from the cluster.
    #[error(
        "this node has been removed from its cluster, and answers nothing: start it with --join ADDRESS to have it taken in again, or stop it and keep or empty its folder"
    )]
    Removed,
    /// It is a member again.
    #[error("this node is a member of its cluster again")]
    Readmitted,
    /// A term that cannot be the cluster's.
    #[error("{from} speaks of term {term}, which is out of all measure: what it says is not heard")]
    Term {
        /// Who said it.
        from: NodeId,
        /// The term.
        term: Term,
    },
}

/// When a node ceased to be a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// While it was down.
    Absent,
    /// While this process ran and had a leader: somebody wanted it out.
    Live,
}

/// Where a core stands by Raft's rules, in short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outline {
    /// Raft's role.
    pub role: &'static str,
    /// Current term.
    pub term: u64,
    /// Of this node's log.
    pub commit: u64,
}

/// What `GET /cluster/status` shows.
#[derive(Debug, Clone)]
pub struct Status {
    /// This node.
    pub id: NodeId,
    /// Raft's role.
    pub role: &'static str,
    /// Current term.
    pub term: Term,
    /// `None`: unknown.
    pub leader: Option<NodeId>,
    /// The last entry of this node's log.
    pub last_index: Index,
    /// Of this node's log.
    pub commit_index: Index,
    /// Of this node's state.
    pub applied_index: Index,
    /// Of the entry there; 0: not known.
    pub applied_term: Term,
    /// Clients that wait for an answer here.
    pub waiting: usize,
    /// Members by id.
    pub members: Members,
    /// They are those of this index in the log.
    pub members_as_of: Index,
    /// This node was a member, and is none any more.
    pub removed: Option<Removal>,
    /// Those of them that vote; the others are catching up.
    pub voters: Vec<NodeId>,
    /// What is known about this node's state.
    pub standing: Standing,
    /// Members run different versions, whose replicas cannot be compared.
    pub mixed_engines: bool,
    /// Voters that have applied everything but the entries from this index on, if it is a majority.
    pub stuck_at: Option<Index>,
    /// A snapshot is on its way to this node.
    pub receiving_snapshot: bool,
    /// Ticks since the leader was heard of: none on the leader itself; `None`: never, or there is no leader.
    pub leader_silence: Option<u64>,
    /// A change of the membership is under way here: until it is through, quorums of the old and of
    /// the new members are needed.
    pub changing: bool,
    /// Who wanted to be a member.
    pub joins: JoinCounts,
}
