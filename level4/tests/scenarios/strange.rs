//! What no correct peer sends does no harm: messages that Raft would panic at, and terms that would be the
//! last.

use level4::consensus::Notice;
use level4::ids::{Index, NodeId, Term};
use level4::message::PeerMessage;
use raft::eraftpb::{Entry, Message, MessageType};

use crate::story::Story;

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
    let mut last = message(MessageType::MsgAppend);
    last.index = u64::MAX - 1;
    for index in [u64::MAX, 0] {
        last.entries.push(Entry {
            index,
            term,
            ..Entry::default()
        });
    }
    let mut foreign = message(MessageType::MsgHeartbeat);
    foreign.from = 3;
    let mut local = message(MessageType::MsgHup);
    local.term = 0;
    let whole = message(MessageType::MsgSnapshot);
    let index = message(MessageType::MsgReadIndexResp);
    for bad in [beyond, gap, last, foreign, local, whole, index] {
        story.receive(2, 1, PeerMessage::Raft(Box::new(bad)));
        story.settle();
    }
    story.ask(2, 1, "still there");
    story.settle();
    assert_eq!(story.node(2).answers.len(), 1);
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
