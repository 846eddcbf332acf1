//! The machine's state as bytes: what a snapshot holds beside its place in the log.
//!
//! Taking the state and putting its bytes together are two steps, for whoever applies entries waits for
//! the first one only.

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Snapshot};

use super::{ApplyError, Executor, Keyed, Machine, Saved, Session};
use crate::codec::{Malformed, Reader, Writer};
use crate::consensus::{
    Answer, AnswerKind, Chain, Link, decode_snapshot_members, encode_snapshot_members,
};
use crate::ids::{Incarnation, Index, NodeId, Term};
use crate::log::snapshot::assemble;

/// A snapshot as of one moment whose bytes have not been put together yet.
#[derive(Debug)]
pub struct Draft<S> {
    applied: (Index, Term),
    conf_state: ConfState,
    /// All but the executor's state.
    head: Vec<u8>,
    state: S,
}

impl<S: Saved> Draft<S> {
    /// How many bytes it has, about.
    pub fn size(&self) -> usize {
        self.head.len() + self.state.size()
    }

    /// The snapshot. This takes time in proportion to the state.
    pub fn finish(self) -> Snapshot {
        let mut data = self.head;
        data.reserve_exact(self.state.size());
        self.state.append_to(&mut data);
        let (index, term) = self.applied;
        assemble(index, term, self.conf_state, Bytes::from(data))
    }
}

impl<E: Executor> Machine<E> {
    /// The whole state at the last applied entry.
    pub fn snapshot(&mut self) -> Snapshot {
        self.draft().finish()
    }

    /// The same, for another thread to finish.
    pub fn draft(&mut self) -> Draft<E::Saved> {
        let state = self.executor.save();
        let mut writer = Writer::new();
        // The members come first, where the core finds them without the machine.
        encode_snapshot_members(&self.members, &mut writer);
        writer.uint(state.size() as u64);
        writer.uint(self.sequence);
        writer.uint(self.time_ms);
        writer.uint(self.chain.chain.engine);
        writer.uint(self.chain.chain.since.get());
        writer.uint(self.chain.value);
        writer.bytes(&self.conf_state.write_to_bytes().unwrap_or_default());
        writer.uint(self.sessions.len() as u64);
        for (&node, session) in &self.sessions {
            writer.uint(node.get());
            writer.uint(session.incarnation.get());
            writer.uint(session.floor);
            writer.uint(session.answers.len() as u64);
            for (&counter, answer) in &session.answers {
                writer.uint(counter);
                encode_answer(answer, &mut writer);
            }
        }
        writer.uint(self.key_ages.len() as u64);
        for (index, key) in &self.key_ages {
            writer.uint(index.get());
            writer.bytes(key.as_bytes());
            // Every key that has an age is there.
            if let Some(keyed) = self.keys.get(key) {
                writer.raw(&keyed.request);
                encode_answer(&keyed.answer, &mut writer);
            }
        }
        Draft {
            applied: self.applied,
            conf_state: self.conf_state.clone(),
            head: writer.finish(),
            state,
        }
    }

    pub(super) fn restore(&mut self, snapshot: &Snapshot) -> Result<(), ApplyError<E::Error>> {
        let metadata = snapshot.get_metadata();
        let applied = Index::new(metadata.index);
        let mut reader = Reader::new(&snapshot.data);
        self.members = decode_snapshot_members(&mut reader)?;
        let length = reader.length(snapshot.data.len())?;
        self.sequence = reader.uint()?;
        self.time_ms = reader.uint()?;
        let chain = Chain {
            engine: reader.uint()?,
            since: Index::new(reader.uint()?),
        };
        self.chain = Link {
            chain,
            index: applied,
            value: reader.uint()?,
        };
        let engine = self.executor.engine();
        if chain.engine != engine {
            // The values of another version cannot be gone on with; from the next beginning they can.
            self.chain.chain = Chain {
                engine,
                since: applied,
            };
        }
        self.conf_state =
            ConfState::parse_from_bytes(reader.bytes()?).map_err(|_| Malformed { at: 1 })?;
        self.sessions.clear();
        for _ in 0..reader.uint()? {
            let node = NodeId::new(reader.uint()?);
            let (incarnation, floor) = (Incarnation::new(reader.uint()?), reader.uint()?);
            let mut session = Session {
                incarnation,
                floor,
                ..Session::default()
            };
            for _ in 0..reader.uint()? {
                session.insert(reader.uint()?, decode_answer(&mut reader)?);
            }
            self.sessions.insert(node, session);
        }
        self.keys.clear();
        self.key_ages.clear();
        self.key_bytes = 0;
        for _ in 0..reader.uint()? {
            let (index, key) = (Index::new(reader.uint()?), reader.text()?);
            let request = reader.array()?;
            let answer = decode_answer(&mut reader)?;
            self.remember_key(index, key, Keyed { answer, request });
        }
        let state = reader.rest();
        if state.len() != length {
            return Err(Malformed { at: 2 }.into());
        }
        self.executor.restore(state).map_err(ApplyError::Restore)?;
        self.applied = (applied, Term::new(metadata.term));
        Ok(())
    }
}

/// The executor's part of a snapshot.
///
/// # Errors
///
/// If it is not in the format.
pub fn executor_state(snapshot: &Snapshot) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(&snapshot.data);
    decode_snapshot_members(&mut reader)?;
    let length = reader.length(snapshot.data.len())?;
    Ok(&snapshot.data[snapshot.data.len() - length..])
}

fn encode_answer(answer: &Answer, writer: &mut Writer) {
    writer.byte(match answer.kind {
        AnswerKind::Output => 0,
        AnswerKind::OtherRequest => 1,
        AnswerKind::Forgotten => 2,
        AnswerKind::Skipped => 3,
    });
    writer.uint(answer.sequence.map_or(0, |sequence| sequence + 1));
    writer.bytes(&answer.body);
}

fn decode_answer(reader: &mut Reader) -> Result<Answer, Malformed> {
    let kind = match reader.byte()? {
        0 => AnswerKind::Output,
        1 => AnswerKind::OtherRequest,
        2 => AnswerKind::Forgotten,
        3 => AnswerKind::Skipped,
        _ => return Err(Malformed { at: 0 }),
    };
    Ok(Answer {
        kind,
        sequence: reader.uint()?.checked_sub(1),
        body: reader.shared()?,
    })
}
