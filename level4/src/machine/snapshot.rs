//! The machine's state as bytes: what a snapshot holds beside its place in the log.
//!
//! Taking the state and putting its bytes together are two steps, for whoever applies entries waits for
//! the first one only.

use std::io;

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
    members: Vec<u8>,
    /// All else but the executor's state.
    head: Vec<u8>,
    state: S,
}

impl<S: Saved> Draft<S> {
    /// How many bytes it has, about.
    pub fn size(&self) -> usize {
        self.head.len() + self.state.reference_size()
    }

    /// The index that it stands at.
    pub fn index(&self) -> Index {
        self.applied.0
    }

    /// The executor's part.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The snapshot. This takes time in proportion to the state.
    ///
    /// # Errors
    ///
    /// If the state has to be read, and cannot be.
    pub fn finish(&self) -> io::Result<Snapshot> {
        let size = self.state.size();
        self.with(size, |data| {
            data.reserve_exact(size);
            self.state.append_to(data)
        })
    }

    /// The snapshot as this node can begin from it again, once [`Saved::sync`] is done.
    ///
    /// # Errors
    ///
    /// As [`Draft::finish`].
    pub fn finish_reference(&self) -> io::Result<Snapshot> {
        let size = self.state.reference_size();
        self.with(size, |data| self.state.append_reference_to(data))
    }

    /// The snapshot as other nodes take it, but of the state only the `first` bytes.
    pub fn finish_head(&self, first: &[u8]) -> Snapshot {
        let append = |data: &mut Vec<u8>| {
            data.extend_from_slice(first);
            Ok(())
        };
        // Appending to memory does not fail.
        self.with(self.state.size(), append).unwrap_or_default()
    }

    /// Puts it together; `append` appends the executor's state, of `size` bytes.
    fn with(
        &self,
        size: usize,
        append: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<Snapshot> {
        let mut writer = Writer::new();
        // The members come first, where the core finds them without the machine.
        writer.raw(&self.members);
        writer.uint(size as u64);
        writer.raw(&self.head);
        let mut data = writer.finish();
        append(&mut data)?;
        let (index, term) = self.applied;
        let data = Bytes::from(data);
        Ok(assemble(index, term, self.conf_state.clone(), data))
    }
}

impl<E: Executor> Machine<E> {
    /// The whole state at the last applied entry.
    ///
    /// # Errors
    ///
    /// If the executor's part has to be read, and cannot be.
    pub fn snapshot(&mut self) -> io::Result<Snapshot> {
        self.draft().finish()
    }

    /// The same, for another thread to finish.
    pub fn draft(&mut self) -> Draft<E::Saved> {
        let state = self.executor.save();
        self.draft_with(state)
    }

    /// One that this node begins from after a restart, for another thread to finish.
    ///
    /// # Errors
    ///
    /// If the executor's files cannot be written. It can be tried again.
    pub fn draft_reference(&mut self) -> io::Result<Draft<E::Saved>> {
        self.commit()?;
        let state = self.executor.save_reference()?;
        Ok(self.draft_with(state))
    }

    fn draft_with(&self, state: E::Saved) -> Draft<E::Saved> {
        let mut members = Writer::new();
        encode_snapshot_members(&self.members, &mut members);
        let mut writer = Writer::new();
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
            members: members.finish(),
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

/// Where the executor's state begins in the data of a snapshot of `size` bytes, of which the first are `data`;
/// `None`: that takes more of them to know.
///
/// # Errors
///
/// If they are not in the format.
pub fn state_begins(data: &[u8], size: u64) -> Result<Option<u64>, Malformed> {
    let mut reader = Reader::new(data);
    let length = decode_snapshot_members(&mut reader).and_then(|_| reader.uint());
    match length {
        Ok(length) if length <= size => Ok(Some(size - length)),
        Err(_) if data.len() < MEMBERS_LIMIT => Ok(None),
        Ok(_) => Err(Malformed { at: data.len() }),
        Err(malformed) => Err(malformed),
    }
}

/// The members take less, bytes.
const MEMBERS_LIMIT: usize = 1 << 20;

/// A snapshot's data with another state of the executor, of `size` bytes, of which `state` are the first.
/// `before` is everything before the old state.
///
/// # Errors
///
/// If it is not in the format.
pub fn with_state(before: &[u8], size: u64, state: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(before);
    decode_snapshot_members(&mut reader)?;
    let mut rest = Reader::new(reader.rest());
    let old = rest.uint()?;
    let head = rest.rest();
    let members = before.len() - head.len() - length_of(old);
    let mut writer = Writer::new();
    writer.raw(before.get(..members).ok_or(Malformed { at: 0 })?);
    writer.uint(size);
    writer.raw(head);
    writer.raw(state);
    Ok(writer.finish())
}

/// How many bytes a length takes.
fn length_of(length: u64) -> usize {
    let mut writer = Writer::new();
    writer.uint(length);
    writer.finish().len()
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
