//! What cannot go directly goes through a node that reaches both ends.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use level4::consensus::{Members, Membership};
use level4::ids::{ClusterId, Index, NodeId, Term};
use level4::message::PeerMessage;
use level4::security::Security;
use level4::transport::{Event, Identity, Listener, Transport};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A transport that listens at `folder/NODE`, and what it has to tell.
async fn node(folder: &Path, node: NodeId) -> (Arc<Transport>, UnboundedReceiver<Event>) {
    let (sender, events) = unbounded_channel();
    let name = address(folder, node);
    let listener = Listener::bind(&name).await.unwrap();
    let identity = Identity {
        node,
        name,
        cluster: ClusterId::new(7),
    };
    let on_event = Box::new(move |event| drop(sender.send(event)));
    let transport = Transport::new(
        identity,
        Security::default(),
        None,
        on_event,
        Box::new(|_| {}),
    );
    let accepting = transport.clone();
    tokio::spawn(async move {
        while let Ok(socket) = listener.accept().await {
            tokio::spawn(accepting.clone().accept(socket));
        }
    });
    (transport, events)
}

fn address(folder: &Path, node: NodeId) -> String {
    folder.join(node.to_string()).to_string_lossy().into_owned()
}

/// The next message, and from whom it is.
async fn message(events: &mut UnboundedReceiver<Event>) -> (NodeId, PeerMessage) {
    loop {
        if let Event::Message(from, message) = events.recv().await.unwrap() {
            return (from, message);
        }
    }
}

#[tokio::test]
async fn a_message_finds_its_way_round_a_link_that_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let at = |node| address(folder.path(), node);
    let [one, two, three] = [1, 2, 3].map(NodeId::new);
    let (left, mut left_events) = node(folder.path(), one).await;
    let (middle, _middle_events) = node(folder.path(), two).await;
    let (right, mut right_events) = node(folder.path(), three).await;
    // 1 and 3 have a wrong address of each other: that link is down for good.
    let nowhere = NodeId::new(99);
    let members = |wrong: Option<NodeId>| {
        let place = |id| if Some(id) == wrong { nowhere } else { id };
        let names = [one, two, three].map(|id| (id, at(place(id))));
        let members = Members::from(names);
        Membership {
            as_of: Index::new(1),
            members,
        }
    };
    left.set_members(members(Some(three)));
    middle.set_members(members(None));
    right.set_members(members(Some(one)));
    let there = PeerMessage::Ack {
        term: Term::new(1),
        index: Index::new(10),
    };
    let back = PeerMessage::Ack {
        term: Term::new(2),
        index: Index::new(20),
    };
    // What is sent before the ways are known is lost, so both keep sending.
    let sending = async {
        loop {
            left.send(three, &there);
            right.send(one, &back);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let received = async {
        assert_eq!(message(&mut right_events).await, (one, there.clone()));
        assert_eq!(message(&mut left_events).await, (three, back.clone()));
    };
    tokio::select! {
        () = sending => {}
        () = received => {}
        () = tokio::time::sleep(PATIENCE) => panic!("nothing came within {PATIENCE:?}"),
    }
    assert_eq!(left.connected(), [two]);
    assert_eq!(right.connected(), [two]);
}
