//! Members come, go and move: a newcomer learns before it votes, who was removed while it was down learns
//! that, and who moves takes nobody's address.

use std::collections::BTreeSet;

use level4::consensus::{Core, JoinCounts, Members, MemoryLog, Notice, Start};
use level4::ids::{Incarnation, Index, NodeId, Term};
use level4::machine::Machine;
use level4::message::PeerMessage;
use raft::eraftpb::{ConfState, HardState};

use crate::story::{Story, TIMING};
use level4::simulation::Ledger;

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
        origin: Index::START,
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
    // It asks once more, not knowing that it has come.
    let again = PeerMessage::Join {
        node: NodeId::new(3),
        name: "3".to_owned(),
    };
    story.receive(1, 3, again);
    story.pass(1);
    let status = story.node(1).core.status();
    assert_eq!(status.applied_term, Term::new(2));
    let counts = JoinCounts {
        asked: 1,
        ignored: 1,
        joined: 1,
        replaced: 0,
    };
    assert_eq!(status.joins, counts);
    for other in [2, 3] {
        assert_eq!(story.node(other).core.status().joins, JoinCounts::default());
    }
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
