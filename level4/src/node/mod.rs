//! The node at work: the core, the log and the database on threads of their own, and the handle through
//! which the API reaches them.
//!
//! [`recover`] makes the parts from a folder, [`threads`] runs them, a [`Fault`] ends them.

mod applying;
mod beginning;
mod fault;
#[cfg(test)]
mod fixture;
mod parcel;
mod recover;
mod threads;
mod trust;

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::consensus::{Answer, Status, Token};
use crate::database::capture::Feed;
use crate::database::{Cancel, Read, ReadAnswer, View};
use crate::ids::{Index, NodeId};
use crate::message::Command;
use crate::stack::Stack;
use crate::statement::Statements;
use crate::trace::{Tracer, Watch};
use crate::transport::{Event, Transport};
pub use applying::AppliedNow;
use applying::Applying;
pub use beginning::begin_with;
use fault::FaultSender;
pub use fault::{Fault, Faults};
pub use recover::{Form, Prepared, RecoverError, prepare};
use threads::consensus::Outputs;
pub use threads::consensus::SNAPSHOT_KEEP;
use threads::parcels::WORKS_LIMIT;
pub use threads::state::SNAPSHOT_EVERY;
use threads::{Input, StateWork, now_ms, spawn};
use trust::Trust;

/// So many clients may wait for an answer, and so many bytes of requests; more are refused.
const WAITING_LIMIT: usize = 65_536;
const WAITING_LIMIT_BYTES: usize = 1024 * 1024 * 1024;

/// Figures for `GET /metrics`.
#[derive(Debug, Default)]
pub struct Figures {
    /// Client requests taken.
    pub requests: AtomicU64,
    /// Log writes (syncs).
    pub syncs: AtomicU64,
    /// Entries applied.
    pub applied: AtomicU64,
    /// When the last ones were, ms since 1970; 0: none since the process started.
    pub applied_at: AtomicU64,
    /// The index of the last saved snapshot.
    pub saved: AtomicU64,
    /// What the state was at the start.
    pub beginning: Beginning,
    /// Snapshots of other nodes that became the state since.
    pub restores: AtomicU64,
    /// Threads that wait for room on the disk.
    waiting_for_room: AtomicU64,
}

/// What a process begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Beginning {
    /// Nothing: what there is of a log, it executes from the first entry on.
    #[default]
    Empty,
    /// The state of the last snapshot.
    Snapshot,
    /// The database on disk as an earlier process left it, which is further than the last snapshot.
    Left,
}

impl Beginning {
    /// From the index of the last snapshot, and that of the state.
    fn new(saved: Index, applied: Index) -> Self {
        if applied > saved {
            Self::Left
        } else if saved > Index::START {
            Self::Snapshot
        } else {
            Self::Empty
        }
    }
}

impl Figures {
    /// Whether something waits to be written, and the disk has no room for it.
    pub fn is_disk_full(&self) -> bool {
        self.waiting_for_room.load(Relaxed) > 0
    }
}

type Reads = Mutex<HashMap<Token, Read>>;

/// A read that a client waits for. Dropping it ends the read, wherever it has got to.
pub struct PendingRead {
    node: Arc<Node>,
    token: Token,
    /// What comes of it.
    pub answer: oneshot::Receiver<ReadAnswer>,
    _cancel: Cancel,
}

impl Drop for PendingRead {
    fn drop(&mut self) {
        // Gone already, unless it has not been confirmed yet.
        drop(locked(&self.node.reads).remove(&self.token));
    }
}

/// The clients that wait for an answer.
#[derive(Default)]
struct Waiting {
    /// With the size of the request.
    senders: HashMap<Token, (oneshot::Sender<Answer>, usize)>,
    bytes: usize,
}

impl Waiting {
    fn remove(&mut self, token: Token) -> Option<oneshot::Sender<Answer>> {
        let (sender, size) = self.senders.remove(&token)?;
        self.bytes -= size;
        Some(sender)
    }
}

/// The handle of a running node.
pub struct Node {
    input: Sender<Input>,
    state: Sender<StateWork>,
    answers: Mutex<Waiting>,
    reads: Reads,
    tokens: AtomicU64,
    applying: Applying,
    trust: Trust,
    _lock: File,
    /// Counters.
    pub figures: Figures,
    /// Changes that nobody has been told yet.
    pub feed: Feed,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// Starts the threads, and tells `tracer` what happens. `transport` makes the transport from what it has
    /// to tell.
    pub fn start(
        prepared: Prepared,
        tick: Duration,
        tracer: Option<Tracer>,
        transport: impl FnOnce(Box<dyn Fn(Event) + Send + Sync>) -> Arc<Transport>,
    ) -> (Arc<Self>, Arc<Transport>, Faults) {
        let Prepared {
            lock,
            folder,
            mut core,
            log,
            machine,
            saved,
            trust,
            ..
        } = prepared;
        let (save, saves) = mpsc::channel();
        let (input, inputs) = mpsc::channel();
        let (log_work, log_works) = mpsc::channel();
        let (state, state_works) = mpsc::channel();
        let node = Arc::new(Self {
            input: input.clone(),
            state: state.clone(),
            answers: Mutex::default(),
            reads: Mutex::default(),
            tokens: AtomicU64::new(0),
            applying: Applying::default(),
            trust,
            _lock: lock,
            figures: Figures {
                applied: AtomicU64::new(machine.applied().get()),
                saved: AtomicU64::new(saved.get()),
                beginning: Beginning::new(saved, machine.applied()),
                ..Figures::default()
            },
            feed: machine.look().feed(),
        });
        let events = input.clone();
        let transport = transport(Box::new(move |event| {
            // The consensus thread is gone only when the process ends.
            let _ = events.send(Input::Peer(event));
        }));
        let membership = core.membership();
        if !membership.members.is_empty() {
            transport.set_members(membership);
        }
        let (reporter, faults) = FaultSender::channel();
        let shelf = machine.look().shelf();
        let (parcels, parcels_due) = mpsc::sync_channel(WORKS_LIMIT);
        if let Some(shelf) = shelf.clone() {
            let work = parcels.clone();
            core.receive_into(Box::new(parcel::ToDisk { shelf, work }));
        }
        spawn("log", Stack::Usual, &reporter, {
            let (input, node, shelf) = (input.clone(), node.clone(), shelf.clone());
            move || {
                let shelf = shelf.as_deref();
                threads::log::run(log, shelf, &log_works, &input, &node.figures)
            }
        });
        spawn("parcels", Stack::Usual, &reporter, {
            let (transport, shelf) = (transport.clone(), shelf.clone());
            move || threads::parcels::run(&parcels_due, &transport, shelf.as_deref())
        });
        spawn("snapshot", Stack::Usual, &reporter, {
            let (input, node) = (input.clone(), node.clone());
            move || threads::snapshot::run(folder, shelf.as_deref(), &saves, &input, &node.figures)
        });
        spawn("state", Stack::Sql, &reporter, {
            let node = node.clone();
            move || threads::state::run(machine, &state_works, &input, &save, &node)
        });
        spawn("consensus", Stack::Usual, &reporter, {
            let (node, transport) = (node.clone(), transport.clone());
            let runtime = tokio::runtime::Handle::current();
            move || {
                let _entered = runtime.enter();
                let mut watch = tracer.map(|tracer| Watch::new(tracer, core.log()));
                let mut first = core.flush(now_ms());
                if let Some(watch) = &mut watch {
                    watch.flushed(core.outline(), &first);
                }
                let out = Outputs {
                    node: &node,
                    transport: &transport,
                    log: &log_work,
                    state: &state,
                    parcels: &parcels,
                };
                out.carry_out(&mut first)?;
                threads::consensus::run(core, &inputs, tick, &out, watch)
            }
        });
        (node, transport, faults)
    }

    fn send(&self, input: Input) {
        let _ = self.input.send(input);
    }

    /// Executes a command exactly once; the answer comes when it is applied here. `None`: too much waits
    /// already, and it will not be executed.
    pub fn execute(
        &self,
        key: Option<String>,
        command: Command,
    ) -> Option<oneshot::Receiver<Answer>> {
        let token = self.tokens.fetch_add(1, Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = locked(&self.answers);
            let size = command.body().len();
            if waiting.senders.len() >= WAITING_LIMIT || waiting.bytes + size > WAITING_LIMIT_BYTES
            {
                return None;
            }
            waiting.bytes += size;
            waiting.senders.insert(token, (sender, size));
        }
        self.figures.requests.fetch_add(1, Relaxed);
        self.send(Input::Request {
            token,
            key,
            command,
        });
        Some(answer)
    }

    /// Runs read-only statements that see everything acknowledged before; they may take `factor` times
    /// the usual budget, and `limit` once they run. `None`: too many wait already.
    pub fn read(
        self: &Arc<Self>,
        statements: Statements,
        factor: u64,
        limit: Option<Duration>,
    ) -> Option<PendingRead> {
        let (read, pending) = self.pending(statements, factor, limit);
        {
            let mut reads = locked(&self.reads);
            if reads.len() >= WAITING_LIMIT {
                return None;
            }
            reads.insert(pending.token, read);
        }
        self.figures.requests.fetch_add(1, Relaxed);
        self.send(Input::Read(pending.token));
        Some(pending)
    }

    /// Runs read-only statements on whatever this node has.
    pub fn read_local(
        self: &Arc<Self>,
        statements: Statements,
        factor: u64,
        limit: Option<Duration>,
    ) -> PendingRead {
        let (read, pending) = self.pending(statements, factor, limit);
        if self.trust.is_sound() {
            let _ = self.state.send(StateWork::ReadNow(read));
        }
        pending
    }

    fn pending(
        self: &Arc<Self>,
        statements: Statements,
        factor: u64,
        limit: Option<Duration>,
    ) -> (Read, PendingRead) {
        let (read, answer, cancel) = Read::new(statements, factor, limit);
        let pending = PendingRead {
            node: self.clone(),
            token: self.tokens.fetch_add(1, Relaxed),
            answer,
            _cancel: cancel,
        };
        (read, pending)
    }

    /// The database at one point of the log.
    pub fn view(&self) -> oneshot::Receiver<View> {
        let (sender, view) = oneshot::channel();
        if self.trust.is_sound() {
            let _ = self.state.send(StateWork::View(sender));
        }
        view
    }

    /// The core's view.
    pub fn status(&self) -> oneshot::Receiver<Status> {
        let (sender, status) = oneshot::channel();
        self.send(Input::Status(sender));
        status
    }

    /// Asks the leader to take `id` out of the cluster.
    pub fn remove(&self, id: NodeId) {
        self.send(Input::Remove(id));
    }

    /// Asks the leader to take `id` into the cluster.
    pub fn join(&self, id: NodeId, name: String) {
        self.send(Input::Join(id, name));
    }

    /// Asks the leader to have the entry at `index` skipped.
    pub fn skip(&self, index: Index) {
        self.send(Input::Skip(index));
    }

    /// What is being applied at this moment.
    pub fn applying(&self) -> Option<AppliedNow> {
        self.applying.look()
    }

    /// Gives leadership away, before this node ends.
    pub fn step_down(&self) {
        self.send(Input::StepDown(None));
    }

    /// Gives leadership away, to `successor` if one is named.
    pub fn step_down_for(&self, successor: Option<NodeId>) {
        self.send(Input::StepDown(successor));
    }

    /// Saves the state. Gives whether there was anything new; nothing if the state is not to be trusted.
    pub fn save(&self) -> oneshot::Receiver<bool> {
        let (sender, saved) = oneshot::channel();
        let _ = self.state.send(StateWork::Save(sender));
        saved
    }

    /// How many clients wait for an answer.
    pub fn waiting(&self) -> usize {
        locked(&self.answers).senders.len() + locked(&self.reads).len()
    }
}
