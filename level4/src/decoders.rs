//! All decoders of bytes from peers and disks, each behind a function that takes anything and must not
//! panic: what the fuzz targets in `fuzz/` call, and the property tests here.

use crate::codec::Reader;
use crate::consensus::Members;
use crate::database::capture::{Capture, Changes};
use crate::database::{Capturing, Stage};
use crate::identity::Identity;
use crate::ids::NodeId;
use crate::message::{Batch, PeerMessage};
use crate::transport::{Greeting, Unpacker};
use crate::{database, log, machine, statement};

/// Bytes from a peer: a greeting, a block, or the messages in one.
pub fn frames(bytes: &[u8]) {
    let _ = Greeting::decode(bytes);
    let _ = Unpacker::default().unpack(bytes);
    if let Ok(message) = PeerMessage::decode(bytes, NodeId::new(1), NodeId::new(2)) {
        // What was understood can be said again.
        let _ = message.encode();
    }
}

/// A segment of the log, and a record's payload in it.
pub fn records(bytes: &[u8]) {
    log::read_segment(bytes);
    let _ = Batch::decode(bytes);
    let _ = statement::Statements::decode(bytes);
    let _ = statement::Outcome::decode_all(bytes);
    let _ = Capturing::decode(bytes);
    let _ = Stage::decode(bytes);
}

/// A snapshot file, and what is in it; and what stands beside the one of a database on disk.
pub fn snapshots(bytes: &[u8]) {
    let _ = machine::state_begins(bytes, bytes.len() as u64);
    let _ = machine::with_state(bytes, 1, bytes);
    database::read_lists(bytes);
    let _ = log::snapshot::decode(bytes);
    let _: Result<Members, _> = crate::consensus::decode_snapshot_members(&mut Reader::new(bytes));
    let _ = Capture::default().decode(Some(bytes));
    let _ = Changes::new(bytes.to_vec().into()).list();
}

/// The file that says who a node is.
pub fn identity(bytes: &[u8]) {
    let _ = Identity::parse(&String::from_utf8_lossy(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::Membership;
    use crate::consensus::{Digests, SnapshotMessage};
    use crate::ids::{ClusterId, Incarnation, Index, Term};
    use crate::log::snapshot;
    use crate::message::{Command, Request, RequestId};
    use crate::transport::{Frame, Hello, Packer};
    use proptest::prelude::*;
    use raft::eraftpb::ConfState;

    /// One valid encoding of each kind.
    fn valid() -> Vec<Vec<u8>> {
        let request = Request {
            id: RequestId {
                node: NodeId::new(7),
                incarnation: Incarnation::new(1),
                counter: 2,
            },
            floor: 1,
            key: Some("key".to_owned()),
            command: Command::Shell("SELECT 1".into()),
        };
        let batch = Batch {
            time_ms: 5,
            requests: vec![request.clone()],
        };
        let digests = Digests {
            content: false,
            question: true,
            chain: crate::consensus::Chain::default(),
            first: Index::new(9),
            values: vec![1, 2],
        };
        let hello = Hello {
            cluster: ClusterId::new(1),
            node: NodeId::new(2),
            name: "a".to_owned(),
            proves: true,
            membership: Membership {
                as_of: Index::new(4),
                members: Members::from([(NodeId::new(2), "a".to_owned())]),
            },
            nonce: [5; 32],
            ticket: [6; 16],
        };
        let messages = [
            PeerMessage::Forward(vec![request]),
            PeerMessage::Digests(digests),
            PeerMessage::Snapshot(SnapshotMessage::Gone {
                at: crate::consensus::At {
                    index: Index::new(1),
                    term: Term::new(1),
                },
            }),
        ];
        let mut valid: Vec<Vec<u8>> = messages.iter().map(PeerMessage::encode).collect();
        let frames: Vec<Frame> = valid.iter().cloned().map(Frame::Message).collect();
        valid.push(Packer::default().pack(&frames)[4..].to_vec());
        valid.push(Greeting::Hello(hello).encode()[9..].to_vec());
        valid.push(batch.encode());
        let snapshot = snapshot::assemble(
            Index::new(3),
            Term::new(1),
            ConfState::default(),
            vec![1; 50].into(),
        );
        valid.push([&snapshot::head(&snapshot)[..], &snapshot.data].concat());
        valid.push(b"level4 node 2\nid 7\ncluster 1\nstarts 2\nlog 1\nend\n".to_vec());
        valid.push(log::example_segment());
        valid
    }

    fn decode_all(bytes: &[u8]) {
        frames(bytes);
        records(bytes);
        snapshots(bytes);
        identity(bytes);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            decode_all(&bytes);
        }

        #[test]
        fn no_change_to_valid_bytes_makes_a_decoder_panic(
            which: prop::sample::Index,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
            cut: prop::sample::Index,
        ) {
            let valid = valid();
            let mut bytes = which.get(&valid).clone();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            decode_all(&bytes);
        }
    }
}
