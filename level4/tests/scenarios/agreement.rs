//! Replicas whose states are not the same: one that has parted from the majority answers nothing and is
//! rebuilt, but its vote and its log still count; and a doubt that nobody can decide any more is looked
//! into anew.

use std::cell::RefCell;

use level4::consensus::{Apply, Chain, Digests, SnapshotMessage, Standing};
use level4::ids::Index;
use level4::message::PeerMessage;

use crate::story::{Story, TIMING};
use level4::simulation::Defect;

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
fn what_a_node_told_before_it_was_rebuilt_counts_for_nobody_else() {
    let mut story = Story::new(3);
    story.elect_first();
    story.node(1).machine.executor().spoil(Defect::Visible);
    story.ask(2, 1, "b");
    story.settle();
    let at = story.node(1).machine.applied();
    let told = RefCell::new(None);
    for _ in 0..100 {
        for node in &mut story.nodes {
            node.core.tick();
        }
        story.settle_with(|from, to, message| {
            if let (1, 2, PeerMessage::Digests(digests)) = (from, to, message)
                && !digests.content
                && digests.first == at
            {
                told.replace(Some(digests.clone()));
            }
            true
        });
    }
    assert_eq!(story.node(1).standing, Standing::Sound);
    // Node 3 has got the state that node 1 had: a snapshot of it was on its way for long.
    let told = told
        .take()
        .expect("node 1 was compared while it was spoilt");
    story.receive(2, 3, PeerMessage::Digests(told));
    story.settle();
    assert_ne!(story.node(2).standing, Standing::Parted(at));
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
fn a_rebuilt_node_takes_entries_though_it_was_offered_its_new_state_twice() {
    let mut story = Story::with_parted(3, Some(3));
    story.elect_first();
    story.ask(1, 0, "a");
    // Its new state comes, and it is slow to put it in place.
    story.stalled = Some(3);
    let offer = RefCell::new(None);
    for _ in 0..100 {
        for node in &mut story.nodes {
            node.core.tick();
        }
        story.settle_with(|_, to, message| {
            if to == 3 && matches!(message, PeerMessage::Snapshot(SnapshotMessage::Offer(_))) {
                offer.replace(Some(message.clone()));
            }
            true
        });
    }
    let restores = |step: &Apply| matches!(step, Apply::Restore(_));
    assert!(story.node(3).applies.iter().any(restores));
    // The same offer was on its way twice, and nobody has another state for it.
    story.receive(3, 1, offer.take().expect("node 3 was offered a state"));
    story.stalled = None;
    story.ask(1, 1, "b");
    for _ in 0..100 {
        for node in &mut story.nodes {
            node.core.tick();
        }
        story.settle_with(|_, _, message| !matches!(message, PeerMessage::Snapshot(_)));
    }
    assert_eq!(story.node(3).standing, Standing::Sound);
    let applied = story.node(1).machine.applied();
    assert_eq!(story.node(3).machine.applied(), applied);
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
