//! The replicated state machine: sessions in front of an executor.
//!
//! Every node applies the same entries and so holds the same sessions, answers and database. What makes
//! a request run once is here, inside the replicated state: a gateway's unanswered requests are
//! remembered together with their answers, so a second copy in the log changes nothing, and a node that
//! was brought up to date by a snapshot still finds the answers its clients wait for.

mod executor;
mod recall;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use raft::eraftpb::ConfState;
use sha2::{Digest as _, Sha256};

use crate::codec::Malformed;
use crate::consensus::{Answer, AnswerKind, Apply, Chain, Link, Members};
use crate::ids::{Incarnation, Index, NodeId, Term};
use crate::message::{Batch, Command, Request, RequestId};

pub use executor::{Executor, Moment, Recorded, Saved};
pub use recall::RecallError;
pub use snapshot::{Draft, state_begins, with_state};

/// A client's `Idempotency-Key` is remembered for this many log entries,
pub const KEY_LIFETIME: u64 = 100_000;
/// as long as all answers remembered under keys have no more than so many bytes.
pub const KEY_BYTES: usize = 64 * 1024 * 1024;
/// Answers that nobody is known to have got are remembered up to so many bytes.
pub const HELD_BYTES: usize = 128 * 1024 * 1024;

/// Why a step cannot be applied. The state is unknown, and has to be made anew from snapshot and log.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError<E: std::error::Error + 'static> {
    /// A snapshot that is not in the format.
    #[error("the snapshot cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// A snapshot that the executor refused.
    #[error("the snapshot cannot be put in place: {0}")]
    Restore(#[source] E),
    /// A failure of this node alone: an answer made of it would not be that of the other nodes.
    #[error("entry {index} cannot be executed here, and is tried again after a restart: {cause}")]
    Execute {
        /// Of the entry.
        index: Index,
        /// What failed.
        cause: E,
    },
}

/// What a gateway's current life has asked for and not said to have got.
#[derive(Debug, Default)]
struct Session {
    incarnation: Incarnation,
    /// Everything below has been answered.
    floor: u64,
    answers: BTreeMap<u64, Answer>,
    /// Of the answers.
    bytes: usize,
}

impl Session {
    /// Forgets the answers below `floor`.
    fn raise_floor(&mut self, floor: u64) {
        let kept = self.answers.split_off(&floor);
        let gone = std::mem::replace(&mut self.answers, kept);
        self.bytes -= gone.values().map(|answer| answer.body.len()).sum::<usize>();
        self.floor = floor;
    }

    fn insert(&mut self, counter: u64, answer: Answer) {
        self.bytes += answer.body.len();
        self.answers.insert(counter, answer);
    }

    /// Forgets the output of its oldest answer that has any.
    fn forget_oldest(&mut self) {
        let oldest = self
            .answers
            .values_mut()
            .find(|answer| !answer.body.is_empty());
        if let Some(answer) = oldest {
            self.bytes -= answer.body.len();
            answer.body = Bytes::new();
            answer.kind = AnswerKind::Forgotten;
        }
    }
}

/// An answer under a key, and what it answers.
#[derive(Debug, Clone)]
struct Keyed {
    answer: Answer,
    /// SHA-256 of the request.
    request: [u8; 32],
}

/// A change of the configuration that was applied.
#[derive(Debug)]
struct MemberChange {
    index: Index,
    conf_state: ConfState,
    members: Members,
}

/// The state that all nodes share.
#[derive(Debug)]
pub struct Machine<E> {
    executor: E,
    applied: (Index, Term),
    conf_state: ConfState,
    members: Members,
    /// Changes of the two since the last commit.
    member_changes: Vec<MemberChange>,
    /// The next shell request's number.
    sequence: u64,
    time_ms: u64,
    sessions: BTreeMap<NodeId, Session>,
    keys: BTreeMap<String, Keyed>,
    /// Keys by age.
    key_ages: VecDeque<(Index, String)>,
    /// Of keys and their answers.
    key_bytes: usize,
    /// Digests everything applied.
    chain: Link,
    /// The digests after entries applied since somebody looked.
    links: Vec<Link>,
    /// Entries that are not to be executed.
    skips: BTreeSet<Index>,
    /// The place in its entry of the request that is being executed.
    place: Arc<AtomicUsize>,
}

/// The chain of digests begins anew after so many entries, so that replicas whose engines differed for a
/// while can be compared again.
const CHAIN_LENGTH: u64 = 65_536;

impl<E: Executor> Machine<E> {
    /// Nothing has been applied.
    pub fn new(executor: E) -> Self {
        Self {
            chain: Link {
                chain: Chain {
                    engine: executor.engine(),
                    since: Index::START,
                },
                index: Index::START,
                value: 0,
            },
            links: Vec::new(),
            skips: BTreeSet::new(),
            place: Arc::default(),
            executor,
            applied: (Index::START, Term::default()),
            conf_state: ConfState::default(),
            members: Members::new(),
            member_changes: Vec::new(),
            sequence: 0,
            time_ms: 0,
            sessions: BTreeMap::new(),
            keys: BTreeMap::new(),
            key_ages: VecDeque::new(),
            key_bytes: 0,
        }
    }

    /// Index of the last applied entry.
    pub fn applied(&self) -> Index {
        self.applied.0
    }

    /// Members as of the last applied entry.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Raft's view of the members as of the last applied entry.
    pub fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    /// The data, for reading.
    pub fn executor(&mut self) -> &mut E {
        &mut self.executor
    }

    /// The data, to be looked at.
    pub fn look(&self) -> &E {
        &self.executor
    }

    /// The time of the last entry: what reads see as `now`.
    pub fn moment(&self) -> Moment {
        Moment {
            time_ms: self.time_ms,
            seed: self.applied.0.get(),
        }
    }

    /// These entries are not to be executed: their requests get an error.
    pub fn skip(&mut self, entries: &BTreeSet<Index>) {
        self.skips.extend(entries);
    }

    /// Whether the entry at `index` is to be skipped, as far as is known.
    pub fn skips(&self, index: Index) -> bool {
        self.skips.contains(&index)
    }

    /// Tells, to whoever looks from outside, which request of its entry is being executed.
    pub fn place(&self) -> Arc<AtomicUsize> {
        self.place.clone()
    }

    /// The digests after entries applied since the last call.
    pub fn take_links(&mut self) -> Vec<Link> {
        std::mem::take(&mut self.links)
    }

    /// An entry is applied.
    fn link(&mut self, index: Index) {
        if self.chain.index.is_multiple_of(CHAIN_LENGTH) {
            self.chain.chain.since = self.chain.index;
            self.chain.value = 0;
        }
        self.chain.index = index;
        self.chain.value = mix(self.chain.value, index.get());
    }

    /// Adds what an entry's request gave to the digest.
    fn digest(&mut self, command: &Command, answer: &Answer) {
        let sequence = answer.sequence.map_or(0, |sequence| sequence + 1);
        let mut value = mix(self.chain.value, sequence);
        if self.executor.is_comparable(command) {
            value = mix(value, u64::from(crc32c::crc32c(&answer.body)));
            value = mix(value, answer.body.len() as u64);
        }
        self.chain.value = mix(value, self.executor.changes());
    }

    /// Applies one step; gives the requests that are executed by now, with their answers.
    ///
    /// # Errors
    ///
    /// A damaged or foreign snapshot, or a failure of this node's environment.
    pub fn apply(&mut self, step: Apply) -> Result<Vec<(RequestId, Answer)>, ApplyError<E::Error>> {
        match step {
            Apply::Batch { index, term, data } => {
                self.applied = (index, term);
                self.link(index);
                let is_skipped = self.skips.remove(&index);
                // An unreadable entry could only be from another version, and is skipped by all alike.
                let batch = Batch::decode(&data).unwrap_or_default();
                self.time_ms = self.time_ms.max(batch.time_ms);
                self.forget_keys();
                let requests = batch.requests.into_iter().enumerate();
                let executed = requests
                    .filter_map(|(place, request)| {
                        self.execute(place, request, is_skipped).transpose()
                    })
                    .collect::<Result<_, _>>()
                    .map_err(|cause| ApplyError::Execute { index, cause })?;
                self.executor.end_entry(index, self.time_ms);
                self.links.push(self.chain);
                Ok(executed)
            }
            Apply::Members {
                index,
                term,
                conf_state,
                members,
            } => {
                self.applied = (index, term);
                self.link(index);
                self.links.push(self.chain);
                self.sessions.retain(|node, _| members.contains_key(node));
                self.member_changes.push(MemberChange {
                    index,
                    conf_state: conf_state.clone(),
                    members: members.clone(),
                });
                self.conf_state = conf_state;
                self.members = members;
                Ok(Vec::new())
            }
            Apply::Restore(snapshot) => {
                self.restore(&snapshot)?;
                self.member_changes.clear();
                self.links = vec![self.chain];
                let sessions = self.sessions.iter();
                Ok(sessions
                    .flat_map(|(&node, session)| {
                        session.answers.iter().map(move |(&counter, answer)| {
                            let incarnation = session.incarnation;
                            (
                                RequestId {
                                    node,
                                    incarnation,
                                    counter,
                                },
                                answer.clone(),
                            )
                        })
                    })
                    .collect())
            }
        }
    }

    fn execute(
        &mut self,
        place: usize,
        request: Request,
        is_skipped: bool,
    ) -> Result<Option<(RequestId, Answer)>, E::Error> {
        let Request {
            id,
            floor,
            key,
            command,
        } = request;
        if !self.members.contains_key(&id.node) {
            // Removed: its session is gone, so a late copy could run twice.
            return Ok(None);
        }
        let session = self.sessions.entry(id.node).or_default();
        if id.incarnation < session.incarnation {
            // That gateway's clients are gone, nobody was or will be answered.
            return Ok(None);
        }
        if id.incarnation > session.incarnation {
            *session = Session {
                incarnation: id.incarnation,
                ..Session::default()
            };
        }
        if id.counter < session.floor {
            return Ok(None);
        }
        if floor > session.floor {
            session.raise_floor(floor);
        }
        if let Some(answer) = session.answers.get(&id.counter) {
            return Ok(Some((id, answer.clone())));
        }
        let known = key.as_ref().and_then(|key| self.keys.get(key));
        let answer = if let Some(known) = known {
            if known.request == digest(&command) {
                known.answer.clone()
            } else {
                Answer {
                    kind: AnswerKind::OtherRequest,
                    sequence: None,
                    body: Bytes::new(),
                }
            }
        } else {
            let answer = if is_skipped {
                Answer::skipped()
            } else {
                self.run(place, &command)?
            };
            if let Some(key) = key {
                // Of a skipped one, too: whoever asks again must not bring it back.
                let keyed = Keyed {
                    answer: answer.clone(),
                    request: digest(&command),
                };
                self.remember_key(self.applied.0, key, keyed);
            }
            answer
        };
        if let Some(session) = self.sessions.get_mut(&id.node) {
            session.insert(id.counter, answer.clone());
        }
        self.bound_sessions();
        Ok(Some((id, answer)))
    }

    /// Executes a request, at its place in the entry.
    fn run(&mut self, place: usize, command: &Command) -> Result<Answer, E::Error> {
        self.place.store(place, Relaxed);
        let moment = Moment {
            time_ms: self.time_ms,
            seed: mix(self.applied.0.get(), place as u64),
        };
        let body = self.executor.execute(moment, command)?;
        let sequence = command.is_numbered().then_some(self.sequence);
        self.sequence += u64::from(sequence.is_some());
        let answer = Answer {
            kind: AnswerKind::Output,
            sequence,
            body,
        };
        self.digest(command, &answer);
        Ok(answer)
    }

    /// Forgets outputs beyond [`HELD_BYTES`]: the oldest of the gateway that has the most.
    fn bound_sessions(&mut self) {
        while self
            .sessions
            .values()
            .map(|session| session.bytes)
            .sum::<usize>()
            > HELD_BYTES
            && let Some(largest) = self
                .sessions
                .values_mut()
                .max_by_key(|session| session.bytes)
        {
            largest.forget_oldest();
        }
    }

    fn remember_key(&mut self, index: Index, key: String, keyed: Keyed) {
        self.key_bytes += key.len() + keyed.answer.body.len();
        self.keys.insert(key.clone(), keyed);
        self.key_ages.push_back((index, key));
    }

    fn forget_keys(&mut self) {
        let now = self.applied.0;
        while let Some((index, _)) = self.key_ages.front()
            && (now.since(*index) > KEY_LIFETIME || self.key_bytes > KEY_BYTES)
            && let Some((_, key)) = self.key_ages.pop_front()
        {
            if let Some(keyed) = self.keys.remove(&key) {
                self.key_bytes -= key.len() + keyed.answer.body.len();
            }
        }
    }
}

/// What tells one request from another under the same key.
fn digest(command: &Command) -> [u8; 32] {
    let (_, command) = command.budget();
    Sha256::digest(command.body()).into()
}

/// A well-mixed number from two, such as an entry's index and a place in it (the finaliser of SplitMix64).
fn mix(first: u64, second: u64) -> u64 {
    let mut z = first
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(second);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const NODE: NodeId = NodeId::new(1);
    const TERM: Term = Term::new(1);

    /// Counts executions.
    #[derive(Debug, Default)]
    struct Counter(u64);

    impl Executor for Counter {
        type Error = Infallible;
        type Saved = Vec<u8>;
        fn engine(&self) -> u64 {
            1
        }
        fn execute(&mut self, _: Moment, _: &Command) -> Result<Bytes, Infallible> {
            self.0 += 1;
            Ok(Bytes::from(self.0.to_string()))
        }
        fn save(&mut self) -> Vec<u8> {
            self.0.to_le_bytes().to_vec()
        }
        fn restore(&mut self, state: &[u8]) -> Result<(), Infallible> {
            self.0 = u64::from_le_bytes(state.try_into().unwrap());
            Ok(())
        }
    }

    fn request(incarnation: u64, counter: u64, floor: u64, key: Option<&str>) -> Request {
        Request {
            id: RequestId {
                node: NODE,
                incarnation: Incarnation::new(incarnation),
                counter,
            },
            floor,
            key: key.map(str::to_owned),
            command: Command::Shell(Bytes::from_static(b"x")),
        }
    }

    fn machine() -> Machine<Counter> {
        let mut machine = Machine::new(Counter::default());
        machine.members.insert(NODE, "a".to_owned());
        machine
    }

    fn apply(machine: &mut Machine<Counter>, index: u64, request: Request) -> Option<u64> {
        let index = Index::new(index);
        let data = Batch {
            time_ms: 1,
            requests: vec![request],
        }
        .encode()
        .into();
        let executed = machine
            .apply(Apply::Batch {
                index,
                term: TERM,
                data,
            })
            .unwrap();
        executed.first().and_then(|(_, answer)| answer.sequence)
    }

    #[test]
    fn a_request_twice_in_the_log_runs_once_and_is_answered_alike() {
        let mut machine = machine();
        assert_eq!(apply(&mut machine, 1, request(1, 0, 0, None)), Some(0));
        assert_eq!(apply(&mut machine, 2, request(1, 1, 0, None)), Some(1));
        assert_eq!(apply(&mut machine, 3, request(1, 0, 0, None)), Some(0));
        // Answered ones are forgotten, and their late copies dropped.
        assert_eq!(apply(&mut machine, 4, request(1, 2, 2, None)), Some(2));
        assert_eq!(apply(&mut machine, 5, request(1, 1, 0, None)), None);
        // So are those of an earlier life.
        assert_eq!(apply(&mut machine, 6, request(2, 0, 0, None)), Some(3));
        assert_eq!(apply(&mut machine, 7, request(1, 5, 0, None)), None);
        assert_eq!(machine.executor.0, 4);
    }

    #[test]
    fn a_key_gives_the_same_answer_for_its_lifetime() {
        let mut machine = machine();
        assert_eq!(apply(&mut machine, 1, request(1, 0, 0, Some("k"))), Some(0));
        assert_eq!(apply(&mut machine, 2, request(1, 1, 0, Some("k"))), Some(0));
        let late = 2 + KEY_LIFETIME;
        assert_eq!(
            apply(&mut machine, late, request(1, 2, 0, Some("k"))),
            Some(1)
        );
    }

    #[test]
    fn a_key_stands_for_one_request() {
        let mut machine = machine();
        let run = |machine: &mut Machine<Counter>, index, text: &'static [u8], factor| {
            let request = Request {
                command: Command::Shell(Bytes::from_static(text)).with_budget(factor),
                ..request(1, index, 0, Some("k"))
            };
            let requests = vec![request];
            let batch = Batch {
                time_ms: 1,
                requests,
            };
            let data = batch.encode().into();
            let step = Apply::Batch {
                index: Index::new(index),
                term: TERM,
                data,
            };
            machine.apply(step).unwrap().remove(0).1
        };
        let first = run(&mut machine, 1, b"a", 1);
        assert_eq!(run(&mut machine, 2, b"a", 5), first);
        let other = run(&mut machine, 3, b"b", 1);
        assert_eq!(other.kind, AnswerKind::OtherRequest);
        assert_eq!(machine.executor.0, 1);
        let mut copy = Machine::new(Counter::default());
        copy.apply(Apply::Restore(machine.snapshot().unwrap()))
            .unwrap();
        assert_eq!(run(&mut copy, 4, b"b", 1), other);
    }

    #[test]
    fn answers_that_wait_are_bounded_in_bytes() {
        let mut machine = machine();
        let session = machine.sessions.entry(NODE).or_default();
        for counter in 0..5 {
            let body = Bytes::from(vec![0; HELD_BYTES / 3]);
            let (kind, sequence) = (AnswerKind::Output, None);
            session.insert(
                counter,
                Answer {
                    kind,
                    sequence,
                    body,
                },
            );
        }
        machine.bound_sessions();
        let kinds = machine.sessions[&NODE]
            .answers
            .values()
            .map(|answer| answer.kind);
        let (gone, kept) = (AnswerKind::Forgotten, AnswerKind::Output);
        assert_eq!(kinds.collect::<Vec<_>>(), [gone, gone, kept, kept, kept]);
    }

    #[test]
    fn answers_under_keys_are_bounded_in_bytes() {
        let mut machine = machine();
        let answer = Answer {
            kind: AnswerKind::Output,
            sequence: None,
            body: Bytes::from(vec![0; KEY_BYTES / 3]),
        };
        let keyed = Keyed {
            answer,
            request: [0; 32],
        };
        for (index, key) in Index::new(1).onwards().zip(["a", "b", "c", "d"]) {
            machine.remember_key(index, key.to_owned(), keyed.clone());
        }
        machine.forget_keys();
        assert_eq!(machine.keys.keys().collect::<Vec<_>>(), ["c", "d"]);
        let snapshot = machine.snapshot().unwrap();
        let mut copy = Machine::new(Counter::default());
        copy.apply(Apply::Restore(snapshot)).unwrap();
        assert_eq!(copy.key_bytes, machine.key_bytes);
    }

    #[test]
    fn a_snapshot_carries_sessions_keys_and_numbers() {
        let mut machine = machine();
        apply(&mut machine, 1, request(1, 0, 0, Some("k")));
        apply(&mut machine, 2, request(1, 1, 0, None));
        let snapshot = machine.snapshot().unwrap();
        let mut copy = Machine::new(Counter::default());
        let answers = copy.apply(Apply::Restore(snapshot)).unwrap();
        assert_eq!(answers.len(), 2);
        assert_eq!(apply(&mut copy, 3, request(1, 1, 0, None)), Some(1));
        assert_eq!(apply(&mut copy, 4, request(1, 2, 0, Some("k"))), Some(0));
        assert_eq!(apply(&mut copy, 5, request(1, 3, 0, None)), Some(2));
    }
}
