//! What is told to others holds: reads see what was acknowledged, commits are commits, entries follow on
//! the index that their message names, and what has to be on disk first is.

use level4::consensus::Apply;
use level4::ids::{Index, NodeId, Term};
use level4::message::PeerMessage;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use crate::story::{Story, TIMING, is_raft};

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
