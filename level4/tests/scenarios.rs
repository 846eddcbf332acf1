//! The bugs that DESIGN.md tells of, each as the shortest story in which it would show: a few cores driven
//! by hand, message by message. The simulation found most of them; here a changed seed cannot lose them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use bytes::Bytes;
use level4::consensus::{
    Answer, Applied, Apply, Chain, Core, Digests, Effects, Link, Members, MemoryLog, Notice,
    Persist, Standing, Start, Timing, asks_for_comparison,
};
use level4::ids::{Incarnation, Index, NodeId, Term};
use level4::machine::Machine;
use level4::message::{Command, PeerMessage};
use raft::eraftpb::{ConfState, Entry, EntryType, HardState, Message, MessageType};

#[path = "simulated/ledger.rs"]
mod ledger;

use ledger::{Defect, Ledger};

const TIMING: Timing = Timing {
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
struct Node {
    core: Core,
    machine: Machine<Ledger>,
    /// Handed out and not written.
    writes: Vec<Persist>,
    applies: Vec<Apply>,
    answers: Vec<(u64, Answer)>,
    reads: Vec<u64>,
    refused: Vec<u64>,
    standing: Standing,
    notices: Vec<Notice>,
}

/// Nodes 1.. of a cluster that has just begun; all of them vote, if nothing else is said. They go by their
/// numbers here.
struct Story {
    nodes: Vec<Node>,
    /// On their way: from, to, message.
    wire: Vec<(u64, u64, PeerMessage)>,
    now_ms: u64,
    /// This one's state machine does nothing.
    stalled: Option<u64>,
}

impl Story {
    fn new(size: u64) -> Self {
        Self::begin(size, size, None)
    }

    /// Only the first of them vote.
    fn with_voters(size: u64, voters: u64) -> Self {
        Self::begin(size, voters, None)
    }

    /// One of them has noted that its state is not the others'.
    fn with_parted(size: u64, parted: Option<u64>) -> Self {
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

    fn node(&mut self, id: u64) -> &mut Node {
        &mut self.nodes[id as usize - 1]
    }

    fn flush(&mut self, id: u64) -> Effects {
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
            let snapshot = node.machine.snapshot();
            node.core.offer_snapshot(Some(snapshot));
        }
        let messages = effects.messages.drain(..);
        self.wire
            .extend(messages.map(|(to, message)| (id, to.get(), message)));
        effects
    }

    /// The node's disk writes everything it was given.
    fn write(&mut self, id: u64) {
        let mut effects = self.flush(id);
        let node = self.node(id);
        node.writes.append(&mut effects.persist);
        if let Some(last) = node.writes.drain(..).map(|write| write.number).last() {
            node.core.persisted(last);
        }
    }

    /// The node's state machine applies everything it was given.
    fn apply(&mut self, id: u64) {
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
    fn settle_with(&mut self, pass: impl Fn(u64, u64, &PeerMessage) -> bool) {
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
    fn receive(&mut self, to: u64, from: u64, message: PeerMessage) {
        self.node(to).core.receive(NodeId::new(from), message);
    }

    fn settle(&mut self) {
        self.settle_with(|_, _, _| true);
    }

    /// Time passes for all.
    fn pass(&mut self, ticks: usize) {
        for _ in 0..ticks {
            for node in &mut self.nodes {
                node.core.tick();
            }
            self.settle();
        }
    }

    /// Time passes until node 1 leads.
    fn elect_first(&mut self) {
        for _ in 0..100 {
            self.node(1).core.tick();
            self.settle();
            if self.node(1).core.status().role == "leader" {
                return;
            }
        }
        panic!("node 1 does not lead: {:?}", self.node(1).core.status());
    }

    fn ask(&mut self, id: u64, token: u64, text: &'static str) {
        let command = Command::Shell(Bytes::from_static(text.as_bytes()));
        self.node(id).core.request(token, None, command);
    }
}

fn is_raft(message: &PeerMessage, kind: MessageType) -> bool {
    matches!(message, PeerMessage::Raft(message) if message.msg_type == kind)
}

#[test]
fn a_read_at_the_leader_sees_what_a_follower_has_answered_before_the_leader_knew() {
    let mut story = Story::new(3);
    story.elect_first();
    story.ask(2, 7, "a");
    // The followers hear of each other that they have it; the leader hears nothing of that.
    story
        .settle_with(|_, to, message| to != 1 || !is_raft(message, MessageType::MsgAppendResponse));
    assert_eq!(story.node(2).answers.len(), 1, "the follower has answered");
    let leader = story.node(1).core.status();
    assert!(leader.commit_index < story.node(2).core.status().commit_index);
    story.node(1).core.read(8);
    story
        .settle_with(|_, to, message| to != 1 || !is_raft(message, MessageType::MsgAppendResponse));
    assert!(story.node(1).reads.is_empty(), "the read would miss it");
    story.pass(TIMING.heartbeat * 2);
    assert_eq!(story.node(1).reads, [8]);
}

#[test]
fn a_vote_waits_for_the_disk() {
    let mut story = Story::new(3);
    for _ in 0..30 {
        story.node(1).core.tick();
    }
    story.write(1);
    let mut asked = false;
    for _ in 0..20 {
        for (from, to, message) in std::mem::take(&mut story.wire) {
            if to == 2 {
                asked |= is_raft(&message, MessageType::MsgRequestVote);
                story.receive(2, from, message);
            } else if to == 1 {
                story.receive(1, from, message);
            }
        }
        // Node 2 flushes, and writes nothing.
        story.flush(2);
        story.write(1);
        let voted =
            |(_, _, m): &(u64, u64, PeerMessage)| is_raft(m, MessageType::MsgRequestVoteResponse);
        assert!(
            !story.wire.iter().any(voted),
            "a vote that may be forgotten"
        );
    }
    assert!(asked, "nobody asked for the vote");
}

#[test]
fn a_committed_configuration_change_is_on_disk_at_once() {
    let mut story = Story::new(1);
    story.elect_first();
    story.node(1).core.join(NodeId::new(9), "9".to_owned());
    let mut written = 0;
    for _ in 0..10 {
        let effects = story.flush(1);
        for write in &effects.persist {
            written = write
                .hard_state
                .as_ref()
                .map_or(written, |s| s.commit.max(written));
        }
        for step in &story.node(1).applies {
            if let Apply::Members { index, .. } = step {
                assert!(index.get() <= written, "{index} may be forgotten");
            }
        }
        if let Some(last) = effects.persist.last() {
            story.node(1).core.persisted(last.number);
        }
    }
    let status = story.node(1).core.status();
    assert!(status.members.contains_key(&NodeId::new(9)));
    assert_eq!(status.voters, [NodeId::new(1)], "it learns first");
}

#[test]
fn raft_gets_no_message_that_it_would_panic_at() {
    let mut story = Story::new(3);
    story.elect_first();
    let term = story.node(1).core.status().term.get();
    let message = |kind: MessageType| {
        let mut message = Message::default();
        message.set_msg_type(kind);
        (message.from, message.to, message.term) = (1, 2, term);
        message
    };
    let mut beyond = message(MessageType::MsgHeartbeat);
    beyond.commit = 1_000_000;
    let mut gap = message(MessageType::MsgAppend);
    gap.entries.push(Entry {
        index: 50,
        term,
        ..Entry::default()
    });
    let mut foreign = message(MessageType::MsgHeartbeat);
    foreign.from = 3;
    let mut local = message(MessageType::MsgHup);
    local.term = 0;
    let whole = message(MessageType::MsgSnapshot);
    let index = message(MessageType::MsgReadIndexResp);
    for bad in [beyond, gap, foreign, local, whole, index] {
        story.receive(2, 1, PeerMessage::Raft(Box::new(bad)));
        story.settle();
    }
    story.ask(2, 1, "still there");
    story.settle();
    assert_eq!(story.node(2).answers.len(), 1);
}

#[test]
fn acknowledgements_commit_nothing_beyond_a_configuration_change_that_has_just_come() {
    // Node 2 learns in a cluster whose only voter is node 1, as far as it knows.
    let mut story = Story::with_voters(2, 1);
    let entry = |index: u64, kind: EntryType| Entry {
        index,
        term: 1,
        entry_type: kind,
        ..Entry::default()
    };
    let mut append = Message::default();
    append.set_msg_type(MessageType::MsgAppend);
    (append.from, append.to, append.term) = (1, 2, 1);
    (append.index, append.log_term, append.commit) = (1, 1, 1);
    append.entries = vec![
        entry(2, EntryType::EntryConfChangeV2),
        entry(3, EntryType::EntryNormal),
    ]
    .into();
    // Both come before the node looks at either.
    story.receive(2, 1, PeerMessage::Raft(Box::new(append)));
    story.receive(
        2,
        1,
        PeerMessage::Ack {
            term: Term::new(1),
            index: Index::new(3),
        },
    );
    story.write(2);
    story.flush(2);
    assert!(story.node(2).applies.is_empty(), "one voter was a quorum");
}

#[test]
fn what_was_promised_to_the_leader_of_an_earlier_term_is_not_said_any_more() {
    let mut story = Story::new(3);
    let mut tell = |from: u64, term: u64| {
        let mut append = Message::default();
        append.set_msg_type(MessageType::MsgAppend);
        (append.from, append.to, append.term) = (from, 2, term);
        (append.index, append.log_term, append.commit) = (1, 1, 1);
        append.entries = vec![Entry {
            index: 2,
            term,
            ..Entry::default()
        }]
        .into();
        let append = PeerMessage::Raft(Box::new(append));
        story.receive(2, from, append);
        story.flush(2).persist
    };
    // Node 2's disk is slow: entry 2 has been replaced by the time that it is written.
    let mut writes = tell(1, 2);
    writes.extend(tell(3, 3));
    let last = writes.last().unwrap().number;
    story.node(2).core.persisted(last);
    story.flush(2);
    let promises = story
        .wire
        .iter()
        .filter_map(|(_, to, message)| match message {
            PeerMessage::Raft(message) if message.msg_type == MessageType::MsgAppendResponse => {
                Some((*to, message.term, message.index))
            }
            PeerMessage::Ack { term, index } => Some((*to, term.get(), index.get())),
            _ => None,
        });
    let promises: Vec<(u64, u64, u64)> = promises.collect();
    assert_eq!(promises, [(3, 3, 2), (1, 3, 2)]);
}

/// Node 3 is far behind, and the others have forgotten the entries that it lacks.
fn far_behind() -> Story {
    let mut story = Story::new(3);
    story.elect_first();
    for token in 0..20 {
        story.ask(1, token, "a");
        story.settle_with(|from, to, _| from != 3 && to != 3);
    }
    let applied = story.node(1).machine.applied();
    story.node(1).core.compact(applied, 0, 0);
    story
}

#[test]
fn a_snapshot_comes_in_pieces_and_resumes_where_it_broke_off() {
    let mut story = far_behind();
    let is_piece = |message: &PeerMessage| matches!(message, PeerMessage::Snapshot(m) if format!("{m:?}").starts_with("Piece"));
    let pieces = std::cell::Cell::new(0);
    // The first five pieces arrive, and then the connection breaks.
    for _ in 0..60 {
        for node in &mut story.nodes {
            node.core.tick();
        }
        story.settle_with(|_, _, message| {
            pieces.set(pieces.get() + u32::from(is_piece(message)));
            !is_piece(message) || pieces.get() <= 5
        });
    }
    assert!(pieces.get() > 5, "no snapshot was sent");
    assert_eq!(story.node(1).core.status().role, "leader");
    story.node(1).core.peer_lost(NodeId::new(3));
    story.node(3).core.peer_lost(NodeId::new(1));
    pieces.set(0);
    story.node(1).core.peer_found(NodeId::new(3));
    story.node(3).core.peer_found(NodeId::new(1));
    let size = story.node(1).machine.snapshot().data.len() as u64;
    for _ in 0..60 {
        for node in &mut story.nodes {
            node.core.tick();
        }
        story.settle_with(|_, _, message| {
            pieces.set(pieces.get() + u32::from(is_piece(message)));
            true
        });
    }
    assert_eq!(
        story.node(3).machine.applied(),
        story.node(1).machine.applied()
    );
    let all = size.div_ceil(TIMING.piece) as u32;
    assert!(
        pieces.get() <= all - 5 + 2,
        "{} of {all} came again",
        pieces.get()
    );
}

#[test]
fn there_is_no_election_while_a_snapshot_is_put_in_place() {
    let mut story = far_behind();
    // Node 3 gets it, and is slow to apply it.
    for _ in 0..60 {
        for id in 1..=2 {
            story.node(id).core.tick();
            story.write(id);
            story.apply(id);
            story.write(id);
        }
        story.node(3).core.tick();
        story.flush(3);
        for (from, to, message) in std::mem::take(&mut story.wire) {
            story.receive(to, from, message);
        }
    }
    let restores = |step: &Apply| matches!(step, Apply::Restore(_));
    assert!(story.node(3).applies.iter().any(restores));
    story.wire.clear();
    // The leader falls silent, for long.
    for _ in 0..200 {
        story.node(3).core.tick();
        story.flush(3);
    }
    let stands = |(_, _, m): &(u64, u64, PeerMessage)| {
        is_raft(m, MessageType::MsgRequestPreVote) || is_raft(m, MessageType::MsgRequestVote)
    };
    assert!(!story.wire.iter().any(stands));
}

#[test]
fn a_newcomer_learns_and_then_votes() {
    let mut story = Story::new(2);
    story.elect_first();
    let mut other = Story::new(3).nodes.pop().unwrap();
    let log = MemoryLog::new(
        (Index::START, Term::default()),
        Vec::new(),
        HardState::default(),
        ConfState::default(),
    );
    other.machine = Machine::new(Ledger::default());
    other.core = Core::new(Start {
        id: NodeId::new(3),
        incarnation: Incarnation::new(1),
        log,
        applied: Index::START,
        members: Members::new(),
        timing: TIMING,
        seed: 3,
        parted: None,
        skipped: BTreeSet::new(),
        proved: false,
    })
    .unwrap();
    story.nodes.push(other);
    let applied = story.node(1).machine.applied();
    story.node(1).core.compact(applied, 0, 0);
    story.node(1).core.join(NodeId::new(3), "3".to_owned());
    story.settle_with(|from, to, _| from != 3 && to != 3);
    let status = story.node(1).core.status();
    assert_eq!(status.voters, [1, 2].map(NodeId::new));
    assert!(status.members.contains_key(&NodeId::new(3)));
    // While it learns, a quorum is one of the two voters.
    story.pass(60);
    assert_eq!(
        story.node(1).core.status().voters,
        [1, 2, 3].map(NodeId::new)
    );
    assert_eq!(story.node(3).core.status().role, "follower");
    assert_eq!(
        story.node(1).core.status().term,
        Term::new(2),
        "nobody stood for election"
    );
}

#[test]
fn a_leader_whose_state_parts_stands_down_answers_nothing_and_is_rebuilt() {
    let mut story = Story::new(3);
    story.elect_first();
    story.ask(1, 0, "a");
    story.settle();
    story.node(1).machine.executor().spoil(Defect::Visible);
    story.ask(2, 1, "b");
    story.settle();
    let parted_at = story.node(1).machine.applied();
    // The comparison comes in its time.
    for _ in 0..60 {
        for node in &mut story.nodes {
            node.core.tick();
        }
        story.settle_with(|_, _, message| !matches!(message, PeerMessage::Snapshot(_)));
    }
    assert_eq!(story.node(1).standing, Standing::Parted(parted_at));
    assert_ne!(story.node(1).core.status().role, "leader");
    story.ask(1, 2, "c");
    story.settle_with(|_, _, message| !matches!(message, PeerMessage::Snapshot(_)));
    assert_eq!(story.node(1).refused, [2]);
    story.pass(100);
    assert_eq!(story.node(1).standing, Standing::Sound);
    let digests: Vec<u64> = story
        .nodes
        .iter()
        .map(|node| node.machine.look().digest())
        .collect();
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

#[test]
fn a_node_whose_state_has_parted_still_votes_for_others() {
    let mut story = Story::new(3);
    story.elect_first();
    story.node(3).machine.executor().spoil(Defect::Visible);
    story.ask(2, 1, "b");
    story.settle();
    for _ in 0..60 {
        for node in &mut story.nodes {
            node.core.tick();
        }
        story.settle_with(|_, _, message| !matches!(message, PeerMessage::Snapshot(_)));
    }
    assert!(matches!(story.node(3).standing, Standing::Parted(_)));
    // The leader is gone: only with node 3's vote there is another.
    for _ in 0..200 {
        for id in 2..=3 {
            story.node(id).core.tick();
        }
        story.settle_with(|from, to, _| from != 1 && to != 1);
    }
    assert_eq!(story.node(2).core.status().role, "leader");
}

#[test]
fn a_node_whose_state_has_parted_leads_until_another_one_has_its_log() {
    let mut story = Story::with_parted(3, Some(3));
    story.elect_first();
    // Only nodes 1 and 3 have this, and node 1 is gone.
    story.ask(1, 1, "a");
    story.settle_with(|from, to, _| from != 2 && to != 2);
    let last = story.node(3).core.status().commit_index;
    assert!(story.node(2).core.status().commit_index < last);
    for _ in 0..400 {
        for id in 2..=3 {
            story.node(id).core.tick();
        }
        story.settle_with(|from, to, _| from != 1 && to != 1);
    }
    let status = story.node(2).core.status();
    assert_eq!(status.role, "leader");
    assert!(status.commit_index > last);
}

#[test]
fn contents_that_nobody_can_compare_any_more_are_compared_anew() {
    let mut story = Story::new(3);
    story.elect_first();
    story.ask(1, 0, "a");
    story.settle();
    let at = story.node(2).machine.applied();
    // Node 2 hears of another content, and nobody else knows of any: they have restarted since.
    story.node(2).core.content(at, 1);
    let other = Digests {
        content: true,
        question: false,
        chain: Chain {
            engine: 1,
            since: Index::START,
        },
        first: at,
        values: vec![2],
    };
    let told = PeerMessage::Digests(other);
    story.receive(2, 3, told);
    story.settle();
    assert_eq!(story.node(2).standing, Standing::Doubtful(at));
    // Nobody asks for anything.
    story.pass(20 * TIMING.compare as usize);
    assert_eq!(story.node(2).standing, Standing::Sound);
}

#[test]
fn an_entry_that_a_majority_is_stuck_at_is_skipped() {
    let mut story = Story::new(3);
    story.elect_first();
    story.ask(1, 0, "poison");
    let stuck = story.node(1).machine.applied().next();
    // Nobody comes to the end of it.
    for _ in 0..100 {
        for id in 1..=3 {
            story.node(id).core.tick();
            story.write(id);
            story.write(id);
        }
        for (from, to, message) in std::mem::take(&mut story.wire) {
            story.receive(to, from, message);
        }
    }
    assert_eq!(story.node(2).core.status().stuck_at, Some(stuck));
    // What is not stuck is not skipped.
    story.node(2).core.skip(stuck.next());
    story.node(2).core.skip(stuck);
    let mut told = Vec::new();
    for _ in 0..40 {
        for id in 1..=3 {
            let effects = story.flush(id);
            told.extend(effects.skip.map(|index| (id, index)));
            if let Some(last) = effects.persist.last() {
                story.node(id).core.persisted(last.number);
            }
        }
        for (from, to, message) in std::mem::take(&mut story.wire) {
            story.receive(to, from, message);
        }
    }
    told.sort_unstable();
    assert_eq!(told, [(1, stuck), (2, stuck), (3, stuck)]);
    for node in &mut story.nodes {
        node.machine.skip(&BTreeSet::from([stuck]));
    }
    story.ask(2, 1, "on we go");
    story.settle();
    let (token, answer) = &story.node(1).answers[0];
    assert_eq!(
        (*token, answer.sequence),
        (0, None),
        "its client gets an error"
    );
    let (_, answer) = &story.node(2).answers[0];
    assert_eq!(answer.sequence, Some(0), "and it takes no number");
}

#[test]
fn nodes_that_waited_at_an_index_twice_and_for_nothing_in_between_are_not_stuck() {
    let mut story = Story::new(3);
    story.elect_first();
    let applied = story.node(1).machine.applied();
    let parted = false;
    for _ in 0..3 {
        for id in 2..=3 {
            let progress = PeerMessage::Progress { applied, parted };
            story.receive(1, id, progress);
        }
        assert_eq!(story.node(1).core.stuck_at(), None);
        story.pass(5 * TIMING.compare as usize);
    }
}

#[test]
fn a_node_that_cannot_keep_up_takes_no_more_and_gets_a_snapshot() {
    let mut story = Story::new(3);
    story.elect_first();
    story.stalled = Some(3);
    for token in 0..100 {
        story.ask(
            1,
            token,
            "some text that takes some room in the line of what is to apply",
        );
        story.pass(1);
    }
    let waiting = |story: &mut Story| {
        let steps = story.node(3).applies.iter();
        let sizes = steps.map(|step| match step {
            Apply::Batch { data, .. } => data.len(),
            _ => 0,
        });
        sizes.sum::<usize>()
    };
    assert!(waiting(&mut story) < 2 * TIMING.apply_limit);
    assert_eq!(story.node(1).answers.len(), 100, "the others go on");
    for id in 1..=2 {
        let core = &mut story.node(id).core;
        let applied = core.status().applied_index;
        core.compact(applied, 0, 0);
    }
    story.pass(200);
    let restores = |step: &Apply| matches!(step, Apply::Restore(_));
    assert!(story.node(3).applies.iter().any(restores));
    assert!(waiting(&mut story) < 2 * TIMING.apply_limit);
    story.stalled = None;
    story.pass(100);
    let digests = story.nodes.iter().map(|node| node.machine.look().digest());
    let digests: BTreeSet<u64> = digests.collect();
    assert_eq!(digests.len(), 1);
}

#[test]
fn a_term_out_of_all_measure_is_not_heard_and_told_once() {
    let mut story = Story::new(3);
    story.elect_first();
    let term = story.node(2).core.status().term;
    for said in [u64::MAX, 1 << 62, term.get() + (1 << 20) + 1] {
        let mut heartbeat = Message {
            term: said,
            from: 1,
            to: 2,
            ..Message::default()
        };
        heartbeat.set_msg_type(MessageType::MsgHeartbeat);
        let message = PeerMessage::Raft(Box::new(heartbeat));
        story.receive(2, 1, message);
        let ack = PeerMessage::Ack {
            term: Term::new(said),
            index: Index::new(1),
        };
        story.receive(2, 1, ack);
        story.settle();
        assert_eq!(story.node(2).core.status().term, term, "{said}");
    }
    let told = Notice::Term {
        from: NodeId::new(1),
        term: Term::new(u64::MAX),
    };
    assert_eq!(story.node(2).notices, [told]);
    // Nobody has noticed.
    story.ask(2, 7, "a");
    story.settle();
    assert_eq!(story.node(2).answers.len(), 1);
}

#[test]
fn a_member_removed_while_it_was_down_learns_it_answers_nothing_and_is_taken_in_again() {
    let mut story = Story::new(3);
    story.elect_first();
    let without = |from: u64, to: u64, _: &PeerMessage| from != 3 && to != 3;
    story.node(1).core.remove(NodeId::new(3));
    story.settle_with(without);
    let status = story.node(1).core.status();
    assert_eq!(status.voters, [1, 2].map(NodeId::new));
    story.ask(1, 7, "a");
    story.settle_with(without);
    // It comes back, and greets the others.
    story.ask(3, 8, "b");
    story.node(3).core.learn_removed(Some(status.members_as_of));
    for _ in 0..200 {
        story.node(3).core.tick();
        story.settle_with(without);
    }
    assert_eq!(story.node(3).refused, [8]);
    assert_eq!(story.node(3).notices, [Notice::Removed]);
    assert!(story.node(3).core.status().removed.is_some());
    assert_eq!(
        story.node(3).core.status().role,
        "follower",
        "it stands in no election"
    );
    let join = PeerMessage::Join {
        node: NodeId::new(3),
        name: "3".to_owned(),
    };
    story.receive(2, 3, join);
    story.settle();
    story.pass(60);
    assert_eq!(
        story.node(1).core.status().voters,
        [1, 2, 3].map(NodeId::new)
    );
    assert_eq!(story.node(3).notices, [Notice::Removed, Notice::Readmitted]);
    story.ask(3, 9, "c");
    story.settle();
    assert_eq!(story.node(3).answers.len(), 1);
}

#[test]
fn a_member_that_moved_keeps_its_vote_and_takes_nobodys_address() {
    let mut story = Story::new(3);
    story.elect_first();
    let moves = |story: &mut Story, node: u64, name: &str| {
        story
            .node(node)
            .core
            .join(NodeId::new(node), name.to_owned());
        story.settle();
        story.pass(10);
        story.node(2).core.status().members
    };
    // A follower, then the leader itself.
    let members = moves(&mut story, 2, "two");
    assert_eq!(members[&NodeId::new(2)], "two");
    let members = moves(&mut story, 1, "one");
    assert_eq!(members[&NodeId::new(1)], "one");
    assert_eq!(
        story.node(3).core.status().voters,
        [1, 2, 3].map(NodeId::new)
    );
    // One that is alive and well needs its address.
    let members = moves(&mut story, 3, "two");
    assert_eq!(members[&NodeId::new(3)], "3");
    assert_eq!(members[&NodeId::new(2)], "two");
}

/// raft 0.7 would join entries to an empty append that waits to be sent, without looking whether they follow
/// on its index.
#[test]
fn entries_follow_on_the_index_that_their_append_names() {
    let mut story = Story::new(3);
    story.elect_first();
    let acknowledge = |story: &mut Story, kind: MessageType, index: u64| {
        let mut message = Message::default();
        message.set_msg_type(kind);
        let term = story.node(1).core.status().term.get();
        (message.from, message.to, message.term) = (3, 1, term);
        message.index = index;
        let message = PeerMessage::Raft(Box::new(message));
        story.receive(1, 3, message);
    };
    // Node 3's link swallows everything, until as many appends are under way as may be (`max_inflight_msgs`).
    let first = story.node(1).core.status().commit_index.get();
    for token in 0..1024 {
        story.ask(1, token, "a");
        story.settle_with(|from, to, _| from != 3 && to != 3);
    }
    story.wire.clear();
    // All this comes before the leader sends anything: there is room for an append again, with nothing to
    // say; the link breaks; and the node lives, which lacks all but one.
    acknowledge(&mut story, MessageType::MsgAppendResponse, first + 1);
    story.node(1).core.peer_lost(NodeId::new(3));
    acknowledge(&mut story, MessageType::MsgHeartbeatResponse, 0);
    story.flush(1);
    let appends: Vec<(u64, Vec<u64>)> = (story.wire.iter())
        .filter_map(|(_, to, message)| match message {
            PeerMessage::Raft(message) if *to == 3 => Some(message),
            _ => None,
        })
        .map(|append| {
            let entries = append.entries.iter().map(|entry| entry.index);
            (append.index, entries.collect())
        })
        .collect();
    let expected = (first + 2..=first + 1024).collect();
    assert_eq!(appends, [(first + 1024, Vec::new()), (first + 1, expected)]);
}
