//! Who belongs to the cluster: joins, removals and configuration changes.
//!
//! A change is a log entry that carries the names of the nodes it adds. One change is under way at a
//! time; several newcomers share one, through Raft's joint configuration. A newcomer learns first, and
//! is made a voter once it has caught up, so that nobody waits for it, unless its name says that it is
//! never to vote. One with the address of a member is that member after the loss of its disk: it takes the
//! old one's place when it begins to vote, unless the old one is alive.

use std::collections::BTreeMap;

use bytes::Bytes;
use protobuf::Message as _;
use raft::ProgressState;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType};

use super::{Core, Removal};
use crate::codec::{Malformed, Reader, Writer};
use crate::ids::{Index, NodeId};
use crate::message::PeerMessage;
use crate::name::MemberName;

/// What became of the nodes that want to be members, since this process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JoinCounts {
    /// How many times other nodes asked, for themselves or for others. Each asks until it is a member.
    pub asked: u64,
    /// How many of these times, while this node led, a member asked under the name that it has.
    pub ignored: u64,
    /// Nodes that this one as the leader saw become members, or members under another name.
    pub joined: u64,
    /// Members that this one as the leader saw go so that others could take their places.
    pub replaced: u64,
}

/// Names (addresses for peers) by id.
pub type Members = BTreeMap<NodeId, String>;

/// The members as of one place in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// The entries up to here are counted in: of two memberships, that of the later index is the newer.
    pub as_of: Index,
    /// Who belongs to the cluster then.
    pub members: Members,
}

/// The first entry of every log: the founder makes itself the only member.
pub fn founding_entry(id: NodeId, name: &str) -> Entry {
    let founder = Members::from([(id, name.to_owned())]);
    let change = change(&Members::new(), &founder, &[]);
    Entry {
        entry_type: EntryType::EntryConfChangeV2,
        term: 1,
        index: 1,
        data: Bytes::from(change.write_to_bytes().unwrap_or_default()),
        ..Entry::default()
    }
}

/// How many entries a newcomer may be behind when it begins to vote.
const CAUGHT_UP: u64 = 256;

/// A change by which some begin to learn, some to vote, and some leave.
fn change(learn: &Members, vote: &Members, remove: &[NodeId]) -> ConfChangeV2 {
    let single = |node: &NodeId, change_type| ConfChangeSingle {
        change_type,
        node_id: node.get(),
        ..ConfChangeSingle::default()
    };
    let mut change = ConfChangeV2::default();
    change.changes.extend(
        remove
            .iter()
            .map(|node| single(node, ConfChangeType::RemoveNode)),
    );
    let learn_ids = learn.keys();
    change
        .changes
        .extend(learn_ids.map(|node| single(node, ConfChangeType::AddLearnerNode)));
    change.changes.extend(
        vote.keys()
            .map(|node| single(node, ConfChangeType::AddNode)),
    );
    let mut names = Writer::new();
    let added: Members = learn
        .iter()
        .chain(vote)
        .map(|(&id, name)| (id, name.clone()))
        .collect();
    encode_members(&added, &mut names);
    change.context = Bytes::from(names.finish());
    change
}

/// Writes names by id.
pub fn encode_members(members: &Members, writer: &mut Writer) {
    writer.uint(members.len() as u64);
    for (node, name) in members {
        writer.uint(node.get());
        writer.bytes(name.as_bytes());
    }
}

/// Reads what [`encode_members`] wrote.
pub fn decode_members(reader: &mut Reader) -> Result<Members, Malformed> {
    let mut members = Members::new();
    for _ in 0..reader.uint()? {
        members.insert(NodeId::new(reader.uint()?), reader.text()?);
    }
    Ok(members)
}

/// Format of snapshots' content, its first byte.
const SNAPSHOT_VERSION: u8 = 1;

/// Begins a snapshot's content.
pub fn encode_snapshot_members(members: &Members, writer: &mut Writer) {
    writer.byte(SNAPSHOT_VERSION);
    encode_members(members, writer);
}

/// Reads what [`encode_snapshot_members`] wrote.
pub fn decode_snapshot_members(reader: &mut Reader) -> Result<Members, Malformed> {
    if reader.byte()? != SNAPSHOT_VERSION {
        return Err(Malformed { at: 0 });
    }
    decode_members(reader)
}

/// Whether two names stand for one member, before and after the loss of its disk: it is reached at the same
/// address, or its operator calls it the same.
fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (MemberName::parse(one), MemberName::parse(other));
    one.address == other.address || one.label.is_some() && one.label == other.label
}

impl Core {
    /// `node` wants to be a member under `name`, which for a member is its new address. Asked again and
    /// again until it is one.
    pub fn join(&mut self, node: NodeId, name: String) {
        if self.members.get(&node) == Some(&name) {
            self.join_counts.ignored += u64::from(self.is_leader());
            return;
        }
        if self.is_leader() {
            // Who lost its disk while it was waiting asks under another id.
            self.joins.retain(|_, waiting| !is_same(waiting, &name));
            self.joins.insert(node, name);
        } else if let Some(leader) = self.leader() {
            self.outbox.push((leader, PeerMessage::Join { node, name }));
        }
    }

    /// Takes `node` out of the cluster. Asked again and again until it is out.
    pub fn remove(&mut self, node: NodeId) {
        if !self.members.contains_key(&node) {
            return;
        }
        if !self.is_leader() {
            if let Some(leader) = self.leader() {
                self.outbox.push((leader, PeerMessage::Remove { node }));
            }
        } else if node != self.id() {
            self.propose_change(&change(&Members::new(), &Members::new(), &[node]));
        } else {
            // A leader does not remove itself: the next one will.
            self.step_down();
        }
    }

    /// Gives leadership to a voter, if this node has it.
    pub fn step_down_for(&mut self, successor: NodeId) {
        if self.is_leader() && self.is_voter(successor) && !self.suspects.contains(&successor) {
            self.raw.transfer_leader(successor.get());
        }
    }

    /// Gives leadership away, if this node has it.
    pub fn step_down(&mut self) {
        let me = self.id();
        let matched = |id: NodeId| {
            let progress = self.raw.raft.prs().get(id.get());
            progress.map_or(0, |progress| progress.matched)
        };
        let parted = |id: NodeId| self.suspects.contains(&id);
        let voters = self.voters().into_iter();
        let others = voters.filter(|&id| id != me && !parted(id));
        let successor = others.max_by_key(|&id| (self.is_alive(id), matched(id)));
        if let Some(successor) = successor {
            self.step_down_for(successor);
        }
    }

    /// Whether something was heard of the node lately.
    fn is_alive(&self, node: NodeId) -> bool {
        let recently = self.ticks.saturating_sub(2 * self.timing.election as u64);
        self.heard.get(&node).is_some_and(|&tick| tick >= recently)
    }

    /// Proposes the joins that are due, in one change, or else the promotions.
    pub(super) fn admit_joins(&mut self) {
        if !self.is_leader() {
            self.joins.clear();
            return;
        }
        if self.change_under_way() {
            return;
        }
        let asked = std::mem::take(&mut self.joins);
        let (moved, mut learn): (Members, Members) = asked
            .into_iter()
            .partition(|(node, _)| self.members.contains_key(node));
        if let Some((node, name)) = moved.into_iter().next() {
            return self.relocate(node, name);
        }
        let mut remove = Vec::new();
        learn.retain(|node, name| {
            let namesakes = self.namesakes(*node, name);
            if self.is_taken(&namesakes) {
                return false;
            }
            // One that never got to vote is not waited for.
            remove.extend(namesakes.into_iter().filter(|&old| !self.is_voter(old)));
            true
        });
        if learn.is_empty() {
            self.promote();
        } else {
            self.propose_change(&change(&learn, &Members::new(), &remove));
        }
    }

    /// Other members with this name's address or label.
    fn namesakes(&self, node: NodeId, name: &str) -> Vec<NodeId> {
        let others = self.members.iter().filter(|&(&id, _)| id != node);
        let namesakes = others.filter(|(_, other)| is_same(other, name));
        namesakes.map(|(&id, _)| id).collect()
    }

    /// Whether one of these, who have a name, still needs it.
    fn is_taken(&self, namesakes: &[NodeId]) -> bool {
        let me = self.id();
        namesakes.iter().any(|&old| old == me || self.is_alive(old))
    }

    /// A member is reached at another address from now on: its part in the cluster stays the same.
    fn relocate(&mut self, node: NodeId, name: String) {
        if self.members.get(&node) == Some(&name) || self.is_taken(&self.namesakes(node, &name)) {
            return;
        }
        let member = Members::from([(node, name)]);
        let nobody = Members::new();
        let change = if self.is_voter(node) {
            change(&nobody, &member, &[])
        } else {
            change(&member, &nobody, &[])
        };
        self.propose_change(&change);
    }

    /// Others know that this node, which takes itself for a member, is none since `index`: it was removed
    /// while it was down or heard nothing, or before the entry that says so reached it, and nobody tells it
    /// by the log any more. `None`: it is one again.
    pub fn learn_removed(&mut self, index: Option<Index>) {
        let is_member = self.members.contains_key(&self.id());
        let removed = index.is_some_and(|index| index > self.members_as_of)
            || !self.members.is_empty() && self.removed.is_some() && !is_member;
        self.set_removed(removed);
    }

    /// This node is no member, or it is one.
    pub(super) fn set_removed(&mut self, removed: bool) {
        let kind = if self.followed {
            Removal::Live
        } else {
            Removal::Absent
        };
        self.removed = removed.then(|| self.removed.unwrap_or(kind));
        if removed && self.is_leader() {
            // Raft would have it go on, and panic at the next acknowledgement.
            self.stand_down();
        }
    }

    /// Leads no more, at once.
    pub(super) fn stand_down(&mut self) {
        let raft = &mut self.raw.raft;
        raft.become_follower(raft.term, raft::INVALID_ID);
    }

    /// Makes voters of those who have caught up and are to vote.
    fn promote(&mut self) {
        let raft = &self.raw.raft;
        let last = raft.raft_log.last_index();
        let caught_up = |id: NodeId| {
            raft.prs().get(id.get()).is_some_and(|progress| {
                // In an idle cluster Raft goes on probing one that has everything.
                progress.state != ProgressState::Snapshot
                    && progress.matched > 0
                    && progress.matched + CAUGHT_UP >= last
                    && self.is_alive(id)
            })
        };
        let learners = self.members.iter();
        let vote: Members = learners
            .filter(|(_, name)| !MemberName::parse(name).is_nonvoter)
            .filter(|&(&id, _)| !self.is_voter(id) && caught_up(id))
            .map(|(&id, name)| (id, name.clone()))
            .collect();
        if vote.is_empty() {
            return;
        }
        let replaced = self.members.iter().filter(|&(id, name)| {
            let has_successor = || vote.values().any(|new| is_same(new, name));
            !vote.contains_key(id) && has_successor() && !self.is_alive(*id)
        });
        let replaced: Vec<NodeId> = replaced
            .map(|(&id, _)| id)
            .filter(|&id| id != self.id())
            .collect();
        self.propose_change(&change(&Members::new(), &vote, &replaced));
    }

    /// Whether the node votes.
    pub(super) fn is_voter(&self, node: NodeId) -> bool {
        self.raw.raft.prs().conf().voters().contains(node.get())
    }

    /// Whether the node is a voter or a learner, for Raft.
    pub(super) fn is_configured(&self, node: NodeId) -> bool {
        self.is_voter(node) || self.raw.raft.prs().conf().learners().contains(&node.get())
    }

    pub(super) fn change_under_way(&self) -> bool {
        let raft = &self.raw.raft;
        self.durability.is_change_unwritten()
            || raft.has_pending_conf()
            || !self.unapplied_changes.is_empty()
            || !raft.prs().conf().to_conf_state().voters_outgoing.is_empty()
    }

    fn propose_change(&mut self, change: &ConfChangeV2) {
        if !self.change_under_way() {
            // Refused ones are asked for again by whoever wants them.
            let _ = self.raw.propose_conf_change(Vec::new(), change.clone());
        }
    }

    /// Makes a committed configuration change take effect. An entry that cannot be read (which would
    /// have to come from another version) changes nothing, on every node alike.
    pub(super) fn apply_change(&mut self, entry: &Entry) -> ConfState {
        let current = self.raw.raft.prs().conf().to_conf_state();
        let Ok(change) = ConfChangeV2::parse_from_bytes(&entry.data) else {
            return current;
        };
        let Ok(state) = self.raw.apply_conf_change(&change) else {
            return current;
        };
        let names = decode_members(&mut Reader::new(&change.context)).unwrap_or_default();
        if self.is_leader() {
            self.count(&change, &names);
        }
        for single in &change.changes {
            if single.change_type == ConfChangeType::RemoveNode {
                self.members.remove(&NodeId::new(single.node_id));
            }
        }
        self.members.extend(names);
        state
    }

    /// Counts what a change that takes effect makes of the members; `names` are those it adds or names anew.
    fn count(&mut self, change: &ConfChangeV2, names: &Members) {
        let is_news = |(id, name): &(&NodeId, &String)| self.members.get(id) != Some(name);
        let joined = names.iter().filter(is_news).count();
        let removed = change.changes.iter().filter(|single| {
            single.change_type == ConfChangeType::RemoveNode
                && self.members.contains_key(&NodeId::new(single.node_id))
        });
        // One that only removes makes room for nobody.
        let replaced = if names.is_empty() { 0 } else { removed.count() };
        self.join_counts.joined += joined as u64;
        self.join_counts.replaced += replaced as u64;
    }
}
