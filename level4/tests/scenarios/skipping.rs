//! Entries that nobody can apply are skipped on an operator's word: only what a majority is stuck at, and
//! two waits at one index are not taken for one.

use std::collections::BTreeSet;

use level4::consensus::{Apply, Core, Members, MemoryLog, Standing, Start};
use level4::ids::{Incarnation, Index, NodeId, Term};
use level4::message::{Batch, PeerMessage};
use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType};

use crate::story::{Story, TIMING};

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
fn what_a_majority_is_stuck_at_is_skipped_though_as_much_waits_as_may() {
    let mut story = Story::new(3);
    story.elect_first();
    story.ask(1, 0, "poison");
    let stuck = story.node(1).machine.applied().next();
    let mut told = BTreeSet::new();
    // Clients go on asking while nobody comes to the end of it, and then for the operator's word.
    for round in 1..300 {
        story.ask(
            1,
            round,
            "some text that waits in a line behind what nobody can apply",
        );
        if round > 200 && story.node(2).core.stuck_at() == Some(stuck) {
            story.node(2).core.skip(stuck);
        }
        for id in 1..=3 {
            story.node(id).core.tick();
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
    let waiting = story.node(2).applies.iter().map(|step| match step {
        Apply::Batch { data, .. } => data.len(),
        _ => 0,
    });
    let waiting = waiting.sum::<usize>();
    assert!(waiting > TIMING.apply_limit, "only {waiting} bytes wait");
    assert!(waiting < 3 * TIMING.apply_limit, "{waiting} bytes wait");
    assert_eq!(told, BTreeSet::from([(1, stuck), (2, stuck), (3, stuck)]));
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

/// Node 3 of three starts from a snapshot at `origin` and what an earlier process had executed since, up to an
/// entry at 2, and hears from its leader that this one is to be skipped.
fn starts_with_what_is_to_be_skipped(origin: Index) -> Standing {
    let entry = |index, data: Vec<u8>| Entry {
        index,
        term: 1,
        data: data.into(),
        ..Entry::default()
    };
    let batch = entry(2, Batch::default().encode());
    let [first, last] = [1, 2].map(Index::new);
    let hard_state = HardState {
        term: 1,
        commit: last.get(),
        ..HardState::default()
    };
    let conf_state = ConfState::from((vec![1, 2, 3], vec![]));
    let names = (1..=3).map(|id| (NodeId::new(id), id.to_string()));
    let mut story = Story::new(3);
    let node = story.node(3);
    node.core = Core::new(Start {
        id: NodeId::new(3),
        incarnation: Incarnation::new(2),
        log: MemoryLog::new(
            (first, Term::new(1)),
            vec![batch.clone()],
            hard_state,
            conf_state,
        ),
        applied: last,
        origin,
        members: names.collect::<Members>(),
        timing: TIMING,
        seed: 3,
        parted: None,
        skipped: BTreeSet::new(),
        proved: false,
    })
    .unwrap();
    let (index, term) = (last, Term::new(1));
    let data = batch.data;
    node.machine
        .apply(Apply::Batch { index, term, data })
        .unwrap();
    let mut append = Message::default();
    append.set_msg_type(MessageType::MsgAppend);
    (append.from, append.to, append.term) = (1, 3, 1);
    (append.index, append.log_term, append.commit) = (2, 1, 3);
    append.entries = vec![entry(3, vec![b'S', 2])].into();
    story.receive(3, 1, PeerMessage::Raft(Box::new(append)));
    for _ in 0..5 {
        story.write(3);
        story.apply(3);
    }
    story.node(3).standing
}

#[test]
fn who_has_called_back_an_entry_knows_that_it_did_not_skip_it() {
    let [first, last] = [1, 2].map(Index::new);
    let parted = Standing::Parted(last);
    assert_eq!(starts_with_what_is_to_be_skipped(first), parted);
    // Of what is in a snapshot nobody knows.
    assert_eq!(starts_with_what_is_to_be_skipped(last), Standing::Sound);
}
