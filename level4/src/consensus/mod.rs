//! The node as a pure state machine: Raft, forwarding, commit notices and membership, without I/O,
//! clock or threads.
//!
//! The environment feeds it (ticks, messages, requests, "this is on disk", "this is applied") and then
//! calls [`Core::flush`], which returns what has to happen: messages to send, entries to persist and to
//! apply, clients to answer. A real server and the simulation in `tests/` drive the same code; nothing
//! in here knows which of the two it is in. Whatever `flush` puts into [`Effects::messages`] may be sent
//! at once: answers that depend on the disk are held back until [`Core::persisted`].

mod acks;
mod agreement;
mod comparison;
mod digests;
mod durability;
mod effects;
mod gateway;
mod membership;
mod memory;
mod placement;
mod proposals;
mod reads;
mod ready;
mod skip;
mod snapshots;
mod tally;
mod transfer;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use raft::eraftpb::{Message, MessageType};
use raft::{Config, RawNode, ReadOnlyOption, StateRole};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

pub use agreement::Standing;
pub use comparison::asks_for_comparison;
pub use digests::{Chain, Digests, Link};
pub use effects::{
    Answer, AnswerKind, Applied, Apply, Effects, Notice, Outline, Persist, Removal, Start, Status,
    Timing,
};
pub use gateway::Token;
pub use membership::{
    JoinCounts, Members, Membership, decode_members, decode_snapshot_members, encode_members,
    encode_snapshot_members, founding_entry,
};
pub use memory::MemoryLog;
pub use transfer::{At, InMemory, Intake, Intakes, Offered, Part, SnapshotMessage, Source};

use crate::ids::{Index, NodeId, Term};
use crate::message::{Batch, Command, PeerMessage, RequestId};
use acks::Acks;
use agreement::Agreement;
use comparison::Comparisons;
use durability::Durability;
use gateway::Gateway;
use placement::Placement;
use proposals::Proposals;
use reads::Reads;
use skip::Skips;
use snapshots::Snapshots;

/// No term is as high as this, whoever says so: it would take one a nanosecond for a century.
const TERM_LIMIT: Term = Term::new(1 << 62);
/// A term is not further ahead of this node's than so many, unless its author has proved himself: that is
/// some days of elections one after the other, which a member may have slept through.
const TERM_LEAP: u64 = 1 << 20;
/// So many senders of such terms are told of.
const REFUSED_TERMS: usize = 64;

/// Elections that a node whose state has parted leaves to the others before it stands.
const PARTED_PATIENCE: usize = 4;

/// One node's consensus state.
pub struct Core {
    raw: RawNode<MemoryLog>,
    timing: Timing,
    rng: ChaCha8Rng,
    /// Election timeout, and the term it was drawn in, if it was.
    timeout: (Option<Term>, usize),
    ticks: u64,
    gateway: Gateway,
    members: Members,
    /// The members are those of this place in the log.
    members_as_of: Index,
    /// Nodes that asked to be members.
    joins: BTreeMap<NodeId, String>,
    join_counts: JoinCounts,
    /// The tick at which each peer was last heard of.
    heard: HashMap<NodeId, u64>,
    snapshots: Snapshots,
    acks: Acks,
    durability: Durability,
    /// Configuration changes in the log that have not been handed to `apply`.
    unapplied_changes: BTreeSet<Index>,
    proposals: Proposals,
    reads: Reads,
    /// This node was a member, and is none any more.
    removed: Option<Removal>,
    /// This process has had a leader.
    followed: bool,
    /// As last told to the environment.
    told_removed: bool,
    /// See [`Start::proved`].
    proved: bool,
    /// Whose terms have been refused.
    refused_terms: BTreeSet<NodeId>,
    notices: Vec<Notice>,
    placement: Placement,
    agreement: Agreement,
    comparisons: Comparisons,
    /// As last told to the environment.
    standing: Standing,
    /// Peers that said that their state has parted from the others'.
    suspects: BTreeSet<NodeId>,
    /// Snapshots from other nodes that have been handed out and are not in place yet.
    restoring: usize,
    /// The index of a snapshot from another node that was put in place, and is not on disk yet.
    rebuilt: Option<Index>,
    skips: Skips,
    /// Entries that were skipped here.
    skipped: BTreeSet<Index>,
    outbox: Vec<(NodeId, PeerMessage)>,
    answers: Vec<(Token, Answer)>,
    /// The last entry that the state machine has applied.
    applied: Index,
    /// The last one that it was given.
    handed_out: Index,
    /// The state began with a snapshot at this index: what came after it was executed here.
    origin: Index,
}

impl Core {
    /// Starts from recovered state.
    ///
    /// # Errors
    ///
    /// If Raft refuses the configuration or the log.
    pub fn new(start: Start) -> raft::Result<Self> {
        let Start {
            id,
            incarnation,
            log,
            applied,
            origin,
            members,
            timing,
            seed,
            parted,
            skipped,
            proved,
        } = start;
        // The timeout is drawn by us at every change of term, so the range given here only has to
        // contain all that we may draw.
        let config = Config {
            id: id.get(),
            election_tick: timing.election,
            heartbeat_tick: timing.heartbeat,
            min_election_tick: timing.election,
            max_election_tick: timing.election * 100 + timing.election_step * 100,
            applied: applied.get(),
            max_size_per_msg: 128 * 1024,
            max_inflight_msgs: 1024,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            // Everybody overhears acknowledgements, so the leader need not send commit notices.
            skip_bcast_commit: true,
            // raft 0.7 joins new entries to an empty append that waits to be sent without looking
            // whether they follow on its index; the follower then claims to hold what it has not.
            batch_append: false,
            max_uncommitted_size: 256 * 1024 * 1024,
            max_committed_size_per_ready: 4 * 1024 * 1024,
            ..Config::default()
        };
        let unapplied_changes = log.unapplied_changes(applied);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, log, &logger)?;
        let mut core = Self {
            raw,
            timeout: (None, timing.election),
            rng: ChaCha8Rng::seed_from_u64(seed),
            ticks: 0,
            gateway: Gateway::new(id, incarnation, timing.resend),
            members,
            members_as_of: applied,
            joins: BTreeMap::new(),
            join_counts: JoinCounts::default(),
            heard: HashMap::new(),
            snapshots: Snapshots::default(),
            acks: Acks::default(),
            durability: Durability::default(),
            unapplied_changes,
            proposals: Proposals::default(),
            reads: Reads::new(id, incarnation),
            removed: None,
            followed: false,
            told_removed: false,
            proved,
            refused_terms: BTreeSet::new(),
            notices: Vec::new(),
            timing,
            placement: Placement::default(),
            agreement: Agreement::new(id, parted),
            comparisons: Comparisons::default(),
            standing: Standing::default(),
            suspects: BTreeSet::new(),
            restoring: 0,
            rebuilt: None,
            skips: Skips::default(),
            skipped,
            outbox: Vec::new(),
            answers: Vec::new(),
            applied,
            handed_out: applied,
            origin,
        };
        core.set_timeout();
        Ok(core)
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        NodeId::new(self.raw.raft.id)
    }

    /// Who leads, as far as this node knows.
    fn leader(&self) -> Option<NodeId> {
        NodeId::from_raft(self.raw.raft.leader_id)
    }

    fn term(&self) -> Term {
        Term::new(self.raw.raft.term)
    }

    /// The last entry that is known to be committed.
    fn committed(&self) -> Index {
        Index::new(self.raw.raft.raft_log.committed)
    }

    /// The last entry of this node's log.
    fn last_index(&self) -> Index {
        Index::new(self.raw.raft.raft_log.last_index())
    }

    fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// One tick of the clock has passed.
    pub fn tick(&mut self) {
        self.ticks += 1;
        if self.is_installing() {
            self.raw.raft.election_elapsed = 0;
        }
        self.raw.tick();
        if self.ticks.is_multiple_of(8) {
            self.gateway.resend_older(self.ticks);
            self.reads
                .retry(self.ticks.saturating_sub(self.timing.election as u64));
            self.tend_snapshots();
            self.consider_places();
            self.compare();
        }
    }

    /// A snapshot from the leader has been taken into the log, and is not applied and on disk yet. Raft
    /// would look for the entries before it, which are gone, if it came to an election now.
    fn is_installing(&self) -> bool {
        Index::new(self.raw.raft.raft_log.applied()) < self.raw.store().base_index()
    }

    /// Whether the state machine still stands before the log's beginning.
    fn is_replaced(&self) -> bool {
        self.applied < self.raw.store().base_index()
    }

    /// Whether Raft can be given this message: it panics at what no correct peer sends.
    fn is_usable(&self, from: NodeId, message: &Message) -> bool {
        let entries = &message.entries;
        message.from == from.get()
            && match message.msg_type {
                // A node that cannot keep up takes no more, and gets a snapshot in the end.
                MessageType::MsgAppend if !entries.is_empty() && self.takes_no_more() => false,
                MessageType::MsgAppend => {
                    // No index is so high that it has none after it, whoever says so.
                    let mut last = Some(message.index);
                    entries.iter().all(|entry| {
                        last = last.and_then(|last| last.checked_add(1));
                        last == Some(entry.index)
                    })
                }
                MessageType::MsgHeartbeat => message.commit <= self.raw.raft.raft_log.last_index(),
                MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => entries.len() == 1,
                MessageType::MsgTimeoutNow => !self.is_installing() && !self.has_parted(),
                // Requests and snapshots travel as our own messages; transfers begin at the leader.
                MessageType::MsgPropose
                | MessageType::MsgTransferLeader
                | MessageType::MsgSnapshot => false,
                other => !raft::raw_node::is_local_msg(other),
            }
    }

    /// The members, and since when.
    pub fn membership(&self) -> Membership {
        Membership {
            as_of: self.members_as_of,
            members: self.members.clone(),
        }
    }

    /// Whether this term can be the cluster's. One beyond all measure would be the last, as terms only
    /// grow; who has proved nothing may not even come near.
    fn is_plausible(&self, term: Term) -> bool {
        let known = self.proved || !self.members.contains_key(&self.id());
        term < TERM_LIMIT && (known || term <= self.term().saturating_add(TERM_LEAP))
    }

    /// A message came from another node. What cannot be used is dropped, as if lost.
    pub fn receive(&mut self, from: NodeId, message: PeerMessage) {
        let term = message.highest_term();
        if !self.is_plausible(term) {
            if self.refused_terms.len() < REFUSED_TERMS && self.refused_terms.insert(from) {
                self.notices.push(Notice::Term { from, term });
            }
            return;
        }
        self.heard.insert(from, self.ticks);
        match message {
            PeerMessage::Raft(message) => {
                if self.is_usable(from, &message) {
                    let acknowledged = (message.msg_type == MessageType::MsgAppendResponse
                        && !message.reject)
                        .then_some(Index::new(message.index));
                    // Errors say that the message is out of date or its sender unknown.
                    let _ = self.raw.step(*message);
                    if let Some(index) = acknowledged {
                        self.snapshot_done(from, index);
                    }
                }
            }
            PeerMessage::Forward(requests) => {
                if self.is_leader() {
                    self.proposals.enqueue(requests);
                }
            }
            PeerMessage::Ack { term, index } => {
                self.acks.note(from, term, index);
                self.commit_by_acks();
            }
            PeerMessage::Join { node, name } => {
                self.join_counts.asked += 1;
                self.join(node, name);
            }
            PeerMessage::Remove { node } => self.remove(node),
            PeerMessage::Ping { sent } => self.outbox.push((from, PeerMessage::Pong { sent })),
            PeerMessage::Pong { sent } => self.placement.pong(from, sent, self.ticks),
            PeerMessage::Distances(report) => self.placement.note_report(from, report),
            PeerMessage::Snapshot(message) => self.receive_snapshot(from, message),
            PeerMessage::Digests(digests) => {
                self.with_quorum(|agreement, quorum| agreement.receive(from, &digests, quorum));
            }
            PeerMessage::Progress { applied, parted } => self.note_progress(from, applied, parted),
            PeerMessage::Skip { index } => self.skip(index),
        }
    }

    /// A client wants `command` executed, once. Gives the id that the request has from now on.
    pub fn request(&mut self, token: Token, key: Option<String>, command: Command) -> RequestId {
        self.gateway.take(token, key, command)
    }

    /// A client wants to read; the read's turn comes in [`Effects::reads`].
    pub fn read(&mut self, token: Token) {
        self.reads.take(token);
    }

    /// Everything up to this [`Persist::number`] is on disk.
    pub fn persisted(&mut self, number: u64) {
        let done = self.durability.persisted(number);
        self.raw.on_persist_ready(done);
        self.release_held(done);
        self.advance_applied();
    }

    /// The state machine has applied entries.
    pub fn applied(&mut self, applied: Applied) {
        let Applied {
            index,
            links,
            executed,
            restored,
        } = applied;
        if restored {
            // What was applied of one's own counts no more.
            self.agreement.restart();
            self.restoring = self.restoring.saturating_sub(1);
            self.rebuilt = Some(index);
            self.origin = index;
        }
        self.applied = self.applied.max(index);
        self.trim_marks();
        self.proposals.applied(self.applied);
        self.with_quorum(|agreement, quorum| agreement.applied(&links, quorum));
        self.advance_applied();
        for (id, answer) in executed {
            if let Some(token) = self.gateway.answered(&id) {
                self.answers.push((token, answer));
            }
        }
    }

    /// The digest of this node's whole content at `index`.
    pub fn content(&mut self, index: Index, digest: u64) {
        self.with_quorum(|agreement, quorum| agreement.note_content(index, digest, quorum));
    }

    /// Tells Raft what is applied. For Raft that means configuration changes, which take effect when they
    /// are committed: it would hold no election while one waits behind an entry that takes long, or for
    /// ever. A snapshot has to be in place and on disk.
    fn advance_applied(&mut self) {
        let done = if self.is_replaced() {
            self.applied
        } else {
            self.handed_out
        };
        let log = &self.raw.raft.raft_log;
        let index = done.get().min(log.persisted).min(log.committed);
        if index > log.applied() {
            self.raw.advance_apply_to(index);
        }
        let applied = Index::new(self.raw.raft.raft_log.applied()).min(self.applied);
        let is_safe = !self.durability.is_snapshot_unwritten();
        if is_safe && self.rebuilt.is_some_and(|rebuilt| rebuilt <= applied) {
            self.rebuilt = None;
            self.agreement.rebuilt();
        }
    }

    /// The connection to `peer` broke: what was on its way may be lost.
    pub fn peer_lost(&mut self, peer: NodeId) {
        if self.is_leader() {
            self.raw.report_unreachable(peer.get());
        } else if self.leader() == Some(peer) {
            self.gateway.resend_all();
        }
    }

    /// A connection to `peer` is there (again): gets it going without waiting for a heartbeat.
    pub fn peer_found(&mut self, peer: NodeId) {
        self.resume_snapshots(peer);
        if self.is_leader() {
            if self.raw.raft.prs().get(peer.get()).is_some() {
                self.raw.ping();
            }
        } else if self.leader() == Some(peer) {
            self.gateway.resend_all();
        }
    }

    /// Measures distances, and moves leadership to where they are shorter; see [`placement`].
    fn consider_places(&mut self) {
        let me = self.id();
        let voters = self.voters();
        let peers: Vec<NodeId> = voters.iter().copied().filter(|&id| id != me).collect();
        let now = self.ticks;
        let leader = self.leader();
        for peer in self.placement.pings(&peers, now) {
            self.outbox.push((peer, PeerMessage::Ping { sent: now }));
            if Some(peer) == leader {
                let report = self.placement.report(now);
                self.outbox.push((peer, PeerMessage::Distances(report)));
            }
        }
        if !self.is_leader() {
            self.placement.follow();
        } else if let Some(successor) = self.placement.better_leader(me, &voters, now)
            && !self.change_under_way()
        {
            self.raw.transfer_leader(successor.get());
        }
    }

    /// For `GET /cluster/status`.
    pub fn status(&self) -> Status {
        Status {
            id: self.id(),
            role: self.role(),
            term: self.term(),
            leader: self.leader(),
            last_index: self.last_index(),
            commit_index: self.committed(),
            applied_index: self.applied,
            applied_term: self.applied_term(),
            waiting: self.gateway.waiting(),
            members: self.members.clone(),
            members_as_of: self.members_as_of,
            removed: self.removed,
            voters: self.voters(),
            standing: self.agreement.standing(),
            mixed_engines: self.agreement.is_mixed(),
            stuck_at: self.stuck_at(),
            receiving_snapshot: self.snapshots.is_receiving(),
            leader_silence: self.leader_silence(),
            changing: self.change_under_way(),
            joins: self.join_counts,
        }
    }

    /// The term of the last entry that is applied. Of the state that a snapshot is about to replace it is not
    /// known any more: 0.
    fn applied_term(&self) -> Term {
        let term = self.raw.raft.raft_log.term(self.applied.get());
        Term::new(term.unwrap_or_default())
    }

    fn role(&self) -> &'static str {
        let raft = &self.raw.raft;
        match raft.state {
            StateRole::Leader => "leader",
            StateRole::Follower if raft.promotable() => "follower",
            StateRole::Follower if self.is_configured(self.id()) => "learner",
            StateRole::Follower => "joining",
            StateRole::Candidate | StateRole::PreCandidate => "candidate",
        }
    }

    /// The core's view in short.
    pub fn outline(&self) -> Outline {
        Outline {
            role: match self.raw.raft.state {
                StateRole::PreCandidate => "precandidate",
                _ => self.role(),
            },
            term: self.term().get(),
            commit: self.committed().get(),
        }
    }

    /// Its log, as it is in memory.
    pub fn log(&self) -> &MemoryLog {
        self.raw.store()
    }

    fn leader_silence(&self) -> Option<u64> {
        if self.is_leader() {
            return Some(0);
        }
        let heard = self.heard.get(&self.leader()?)?;
        Some(self.ticks - heard)
    }

    /// What is known about this node's state.
    pub fn standing(&self) -> Standing {
        self.agreement.standing()
    }

    /// Whether this node is a member of the cluster, as far as it knows.
    pub fn is_member(&self) -> bool {
        self.members.contains_key(&self.id())
    }

    /// The term in which this node leads; `None`: it does not.
    pub fn leads(&self) -> Option<Term> {
        self.is_leader().then(|| self.term())
    }

    /// What has to happen now. `now_ms` is the wall clock, the time of new entries.
    pub fn flush(&mut self, now_ms: u64) -> Effects {
        let mut effects = Effects::default();
        self.stand_alone();
        self.followed |= self.leader().is_some();
        self.drain_ready(&mut effects);
        self.advance_applied();
        self.follow_leadership();
        self.forward();
        self.admit_joins();
        self.propose(now_ms);
        if self.leader().is_some()
            && let Some(context) = self.reads.ask(self.ticks)
        {
            self.raw.read_index(context);
        }
        self.drain_ready(&mut effects);
        self.set_timeout();
        self.tell_digests();
        effects.messages.append(&mut self.outbox);
        self.answer(&mut effects);
        let removed = self.removed.is_some();
        if std::mem::replace(&mut self.told_removed, removed) != removed {
            let notice = if removed {
                Notice::Removed
            } else {
                Notice::Readmitted
            };
            self.notices.push(notice);
        }
        effects.notices.append(&mut self.notices);
        effects.skip = self.due_skip();
        let wanted = self.raw.store().take_snapshot_wanted();
        effects.parts = self.snapshots.take_parts();
        effects.snapshot_wanted = self.snapshots.ask(wanted);
        effects
    }

    /// A sole member need not wait for others to fall silent.
    fn stand_alone(&mut self) {
        let raft = &self.raw.raft;
        let log = &raft.raft_log;
        // Nothing promised as a follower may be under way, nor anything be missing from the disk.
        let idle = self.durability.is_idle() && raft.msgs.is_empty();
        let caught_up = log.applied() == log.committed && log.persisted == log.last_index();
        if raft.state == StateRole::Follower && idle && caught_up && self.voters() == [self.id()] {
            // Refused only when not a member, and then there is nothing to do.
            let _ = self.raw.campaign();
        }
    }

    /// Sends everything unanswered to a new leader, and forgets what an old one had promised.
    fn follow_leadership(&mut self) {
        let leadership = (self.term(), self.leader());
        if self.proposals.is_new_leadership(leadership) {
            self.durability.restart_announcing();
            self.gateway.resend_all();
            self.reads.restart();
        }
    }

    fn forward(&mut self) {
        let Some(leader) = self.leader() else {
            return;
        };
        let requests = self.gateway.due(self.ticks);
        if requests.is_empty() {
            return;
        }
        if self.is_leader() {
            self.proposals.enqueue(requests);
        } else {
            self.outbox.push((leader, PeerMessage::Forward(requests)));
        }
    }

    fn propose(&mut self, now_ms: u64) {
        // While leadership is on its way to another node, Raft takes nothing. What comes in meanwhile
        // waits: its gateways send it again to the new leader, or it is proposed if the transfer fails.
        if !self.is_leader() || self.raw.raft.lead_transferee.is_some() || self.is_overloaded() {
            return;
        }
        let mut batches = self.proposals.take().into_iter();
        while let Some(requests) = batches.next() {
            let batch = Batch {
                time_ms: now_ms,
                requests,
            };
            if self.raw.propose(Vec::new(), batch.encode()).is_err() {
                // Refused (too much in flight): the gateways will send them again.
                self.proposals.refused(&batch.requests);
                self.proposals.refused(batches.as_slice().iter().flatten());
                return;
            }
            self.proposals.taken(self.last_index(), &batch.requests);
        }
    }

    /// Ids of all that have a vote, in order.
    fn voters(&self) -> Vec<NodeId> {
        let voters = self.raw.raft.prs().conf().voters().ids();
        let mut voters: Vec<NodeId> = voters.iter().map(NodeId::new).collect();
        voters.sort_unstable();
        voters
    }

    /// Draws an election timeout once a term. A rank of its own keeps each voter from standing at the
    /// same time as another; the random part keeps a pair from colliding for ever.
    fn set_timeout(&mut self) {
        let term = Some(self.term());
        if self.timeout.0 != term {
            let me = self.id();
            let rank = self.voters().iter().position(|&id| id == me).unwrap_or(0);
            let step = self.timing.election_step;
            let ticks = self.timing.election + rank * step + self.rng.random_range(0..step.max(1));
            self.timeout = (term, ticks);
        }
        let ticks = if self.removed.is_some() {
            100 * self.timing.election
        } else if self.has_parted() {
            // It has no state to lead with. But it may be the only one with all of the log: then it leads
            // until another one has it.
            PARTED_PATIENCE * self.timing.election + self.timeout.1
        } else {
            self.timeout.1
        };
        self.raw.raft.set_randomized_election_timeout(ticks);
    }
}
