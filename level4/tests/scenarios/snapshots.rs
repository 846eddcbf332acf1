//! Followers that are too far behind for the log get a snapshot: in pieces, of which a broken connection
//! costs few; without an election before it is in place; and also when it is them who cannot keep up.

use std::collections::BTreeSet;

use level4::consensus::{Apply, SnapshotMessage};
use level4::ids::NodeId;
use level4::message::PeerMessage;
use raft::eraftpb::MessageType;

use crate::story::{Story, TIMING, is_raft};

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
    let size = story.node(1).machine.snapshot().unwrap().data.len() as u64;
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
fn a_snapshot_that_is_gone_before_it_was_offered_is_not_offered() {
    let mut story = far_behind();
    let whole = story.node(1).machine.snapshot().unwrap().data.len() as u64;
    let mut offers = 0;
    for round in 0..120 {
        for node in &mut story.nodes {
            node.core.tick();
        }
        for id in 1..=3 {
            if id == 1 && round < 60 {
                // One of its own was saved just now.
                let applied = story.node(1).machine.applied();
                story.node(1).core.compact(applied, 0, 0);
            }
            story.write(id);
            story.apply(id);
            story.write(id);
        }
        for (from, to, message) in std::mem::take(&mut story.wire) {
            if let PeerMessage::Snapshot(SnapshotMessage::Offer(offer)) = &message {
                assert!(offer.size >= whole, "only {} bytes are offered", offer.size);
                offers += 1;
            }
            story.receive(to, from, message);
        }
    }
    assert!(offers > 0);
    assert_eq!(
        story.node(3).machine.applied(),
        story.node(1).machine.applied()
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
