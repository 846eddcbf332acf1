//! The node at work: the core on a thread of its own, the log and the database on theirs, and the
//! handle through which the API reaches them.
//!
//! Three threads and their channels: the *core* thread owns Raft and never waits for a disk; the *log*
//! thread writes and syncs what the core hands it, many changes at once; the *state* thread applies
//! committed entries to the database and runs reads. The core thread sends messages and answers as soon
//! as the core gives them.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use raft::eraftpb::{HardState, Snapshot};
use tokio::sync::oneshot;

use crate::consensus::{
    Answer, Apply, Core, Effects, MemoryLog, Persist, Start, Status, Timing, Token, founding_entry,
};
use crate::database::Database;
use crate::identity::Identity;
use crate::log::{Folder, Log, LogError, snapshot};
use crate::machine::Machine;
use crate::message::{Command, Index, NodeId, RequestId};
use crate::notes::note;
use crate::transport::{Event, Transport};

/// A snapshot is taken every so many entries, and a few more by the node's id, so that not all nodes are
/// busy with theirs at once.
pub const SNAPSHOT_EVERY: Index = 50_000;
/// Or when entries of so many bytes have come, and more than the last snapshot's.
const SNAPSHOT_EVERY_BYTES: usize = 64 * 1024 * 1024;
/// Entries kept before a snapshot, for followers that are a little behind.
pub const SNAPSHOT_KEEP: Index = 20_000;
/// And not more than these bytes of them.
const SNAPSHOT_KEEP_BYTES: usize = 32 * 1024 * 1024;
/// So many clients may wait for an answer, and so many bytes of requests; more are refused.
const WAITING_LIMIT: usize = 65_536;
const WAITING_LIMIT_BYTES: usize = 1024 * 1024 * 1024;
/// Steps applied before the core hears of it.
const APPLY_GROUP: usize = 256;
/// SQLite recurses as deep as SQL makes it, within limits that assume a stack of usual size; room for
/// these, bytes. Only what is used takes memory.
const STACK_SIZE: usize = 64 * 1024 * 1024;
/// How long to wait for another process to leave the folder, and how often to look.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// How long to wait before writing again to a full disk.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(200);

/// What the core's thread is told.
enum Input {
    Peer(Event),
    Request {
        token: Token,
        key: Option<String>,
        command: Command,
    },
    Read(Token),
    Persisted(u64),
    Applied(Index, Vec<(RequestId, Answer)>),
    Offer(Option<Snapshot>),
    Saved(Index),
    Join(NodeId, String),
    Remove(NodeId),
    Status(oneshot::Sender<Status>),
    /// The node is ending, or its log has no room: another one should lead.
    StepDown,
}

/// What the log's thread is told.
enum LogWork {
    Write(Persist),
    Compact(Index),
}

/// What the state's thread is told.
enum StateWork {
    Apply(Apply),
    Read(Token),
    ReadNow(Bytes, oneshot::Sender<Bytes>),
    Snapshot,
    File(oneshot::Sender<Result<Vec<u8>, String>>),
}

/// Figures for `GET /metrics`.
#[derive(Debug, Default)]
pub struct Figures {
    /// Client requests taken.
    pub requests: AtomicU64,
    /// Log writes (syncs).
    pub syncs: AtomicU64,
    /// Entries applied.
    pub applied: AtomicU64,
}

type Reads = Mutex<HashMap<Token, (Bytes, oneshot::Sender<Bytes>)>>;

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
    _lock: File,
    /// Counters.
    pub figures: Figures,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A node's parts before it runs.
pub struct Prepared {
    /// As saved for this start.
    pub identity: Identity,
    /// Held until the process ends.
    lock: File,
    folder: PathBuf,
    core: Core,
    log: Log<Folder>,
    machine: Machine<Database>,
}

/// Takes the folder for this process, which keeps it as long as it runs. One that was killed just now may
/// not be gone yet, and is waited for a little.
fn lock(home: &Path) -> anyhow::Result<File> {
    let path = home.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => bail!("another process uses this folder"),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

/// Recovers a node from its folder, or makes a new one. A node without state founds a cluster, unless it
/// is going to join one.
pub fn prepare(home: &Path, name: &str, joins: bool, timing: Timing) -> anyhow::Result<Prepared> {
    let lock = lock(home)?;
    let folder = home.join("log");
    let (mut log, mut recovered) = Log::open(Folder::open(folder.clone())?)?;
    if recovered.torn {
        note(format_args!(
            "the last write to the log was torn, and is cut off"
        ));
    }
    let identity = Identity::load(home)?;
    let is_new = recovered.is_new;
    let mut identity = match identity {
        Some(known) if !is_new => known,
        None if !is_new => bail!(
            "there is a log, but not the file that says whose: restore {}, or empty the folder and join again",
            home.join("node").display()
        ),
        // Without a log, nothing that this node ever promised is known any more.
        _ => Identity {
            node: random_id(),
            cluster: 0,
            incarnation: 0,
        },
    };
    identity.incarnation += 1;
    let founder = is_new && !joins;
    if founder {
        identity.cluster = random_id();
    }
    identity.save(home)?;
    if founder {
        let entries = vec![founding_entry(identity.node, name)];
        let hard_state = HardState {
            term: 1,
            commit: 1,
            ..HardState::default()
        };
        recovered.log = MemoryLog::new(
            (0, 0),
            entries.clone(),
            hard_state.clone(),
            raft::prelude::ConfState::default(),
        );
        log.append(&[Persist {
            entries,
            hard_state: Some(hard_state),
            ..Persist::default()
        }])?;
    } else if is_new {
        log.begin()?;
    }
    let mut machine = Machine::new(Database::new()?);
    if let Some(snapshot) = recovered.snapshot {
        machine.apply(Apply::Restore(snapshot))?;
    }
    let core = Core::new(Start {
        id: identity.node,
        incarnation: identity.incarnation,
        log: recovered.log,
        applied: machine.applied(),
        members: machine.members().clone(),
        timing,
        seed: random_id(),
    })?;
    Ok(Prepared {
        identity,
        lock,
        folder,
        core,
        log,
        machine,
    })
}

/// A random number that is not 0, from the system's generator by way of the standard library's hashing
/// keys.
pub fn random_id() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(now_ms());
    hasher.finish().max(1)
}

impl Node {
    /// Starts the threads. `transport` makes the transport from what it has to tell.
    pub fn start(
        prepared: Prepared,
        tick: Duration,
        transport: impl FnOnce(Box<dyn Fn(Event) + Send + Sync>) -> Arc<Transport>,
    ) -> (Arc<Self>, Arc<Transport>) {
        let Prepared {
            identity,
            lock,
            folder,
            mut core,
            log,
            machine,
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
            _lock: lock,
            figures: Figures::default(),
        });
        let events = input.clone();
        let transport = transport(Box::new(move |event| {
            // The core's thread is gone only when the process ends.
            let _ = events.send(Input::Peer(event));
        }));
        let members = core.status().members;
        if !members.is_empty() {
            transport.set_members(members);
        }
        spawn("log", {
            let (input, node) = (input.clone(), node.clone());
            move || log_thread(log, &log_works, &input, &node.figures)
        });
        spawn("snapshot", {
            let input = input.clone();
            move || snapshot_thread(folder, &saves, &input)
        });
        spawn("state", {
            let node = node.clone();
            let every = SNAPSHOT_EVERY + identity.node % (SNAPSHOT_EVERY / 4);
            move || state_thread(machine, &state_works, &input, &save, &node, every)
        });
        spawn("core", {
            let (node, transport) = (node.clone(), transport.clone());
            let runtime = tokio::runtime::Handle::current();
            move || {
                let _entered = runtime.enter();
                let mut first = core.flush(now_ms());
                let out = Outputs {
                    node: &node,
                    transport: &transport,
                    log: &log_work,
                    state: &state,
                };
                out.carry_out(&mut first);
                core_thread(core, &inputs, tick, &out);
            }
        });
        (node, transport)
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

    /// Runs read-only statements that see everything acknowledged before. `None`: too many wait already.
    pub fn read(&self, request: Bytes) -> Option<oneshot::Receiver<Bytes>> {
        let token = self.tokens.fetch_add(1, Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut reads = locked(&self.reads);
            if reads.len() >= WAITING_LIMIT {
                return None;
            }
            reads.insert(token, (request, sender));
        }
        self.figures.requests.fetch_add(1, Relaxed);
        self.send(Input::Read(token));
        Some(answer)
    }

    /// Runs read-only statements on whatever this node has.
    pub fn read_local(&self, request: Bytes) -> oneshot::Receiver<Bytes> {
        let (sender, answer) = oneshot::channel();
        let _ = self.state.send(StateWork::ReadNow(request, sender));
        answer
    }

    /// The database as a SQLite file, at one point of the log.
    pub fn file(&self) -> oneshot::Receiver<Result<Vec<u8>, String>> {
        let (sender, file) = oneshot::channel();
        let _ = self.state.send(StateWork::File(sender));
        file
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

    /// Gives leadership away, before this node ends.
    pub fn step_down(&self) {
        self.send(Input::StepDown);
    }

    /// How many clients wait for an answer.
    pub fn waiting(&self) -> usize {
        locked(&self.answers).senders.len() + locked(&self.reads).len()
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let own_name = name.to_owned();
    let guarded = move || {
        // A node that has lost one of its threads answers nobody for ever; one that has ended is
        // started again.
        if panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
            fail(format_args!("the {own_name} thread panicked"));
        }
    };
    let result = thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_SIZE)
        .spawn(guarded);
    if let Err(error) = result {
        fail(format_args!("cannot start the {name} thread: {error}"));
    }
}

/// Ends the process: going on would break a promise.
fn fail(reason: std::fmt::Arguments) -> ! {
    note(format_args!("{reason}"));
    std::process::exit(1)
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as u64)
}

/// Where the core's effects go.
struct Outputs<'a> {
    node: &'a Node,
    transport: &'a Arc<Transport>,
    log: &'a Sender<LogWork>,
    state: &'a Sender<StateWork>,
}

impl Outputs<'_> {
    fn carry_out(&self, effects: &mut Effects) {
        for (to, message) in effects.messages.drain(..) {
            self.transport.send(to, &message);
        }
        for persist in effects.persist.drain(..) {
            let _ = self.log.send(LogWork::Write(persist));
        }
        for step in effects.apply.drain(..) {
            let _ = self.state.send(StateWork::Apply(step));
        }
        for token in effects.reads.drain(..) {
            let _ = self.state.send(StateWork::Read(token));
        }
        if !effects.answers.is_empty() {
            let mut waiting = locked(&self.node.answers);
            for (token, answer) in effects.answers.drain(..) {
                if let Some(sender) = waiting.remove(token) {
                    // The client may have gone.
                    let _ = sender.send(answer);
                }
            }
        }
        for token in effects.refused.drain(..) {
            // Whoever waits sees the sender go.
            drop(locked(&self.node.answers).remove(token));
            drop(locked(&self.node.reads).remove(&token));
        }
        if let Some(members) = effects.members.take() {
            self.transport.set_members(members);
        }
        if effects.snapshot_wanted {
            let _ = self.state.send(StateWork::Snapshot);
        }
    }

    fn take(&self, core: &mut Core, input: Input) {
        match input {
            Input::Peer(Event::Message(from, message)) => core.receive(from, message),
            Input::Peer(Event::Found(peer)) => core.peer_found(peer),
            Input::Peer(Event::Lost(peer)) => core.peer_lost(peer),
            Input::Request {
                token,
                key,
                command,
            } => core.request(token, key, command),
            Input::Read(token) => core.read(token),
            Input::Persisted(number) => core.persisted(number),
            Input::Applied(index, executed) => core.applied(index, executed),
            Input::Offer(snapshot) => core.offer_snapshot(snapshot),
            Input::Saved(index) => {
                let gone = core.compact(index, SNAPSHOT_KEEP, SNAPSHOT_KEEP_BYTES);
                let _ = self.log.send(LogWork::Compact(gone));
            }
            Input::Join(id, name) => core.join(id, name),
            Input::Remove(id) => core.remove(id),
            Input::Status(sender) => {
                let _ = sender.send(core.status());
            }
            Input::StepDown => core.step_down(),
        }
    }
}

/// Inputs taken before the core is flushed, at most.
const INPUT_GROUP: usize = 512;

fn core_thread(mut core: Core, inputs: &Receiver<Input>, tick: Duration, out: &Outputs) {
    let mut next_tick = Instant::now() + tick;
    loop {
        match inputs.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
            Ok(input) => {
                out.take(&mut core, input);
                for input in inputs.try_iter().take(INPUT_GROUP) {
                    out.take(&mut core, input);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if Instant::now() >= next_tick {
            core.tick();
            // After a pause of the process, missed ticks are not made up for: what came in meanwhile
            // has to be looked at first.
            next_tick = (next_tick + tick).max(Instant::now());
        }
        let mut effects = core.flush(now_ms());
        out.carry_out(&mut effects);
    }
}

fn log_thread(
    mut log: Log<Folder>,
    works: &Receiver<LogWork>,
    core: &Sender<Input>,
    figures: &Figures,
) {
    let mut writes: Vec<Persist> = Vec::new();
    while let Ok(first) = works.recv() {
        let mut next = Some(first);
        while let Some(work) = next.take() {
            match work {
                LogWork::Write(persist) => writes.push(persist),
                LogWork::Compact(index) => {
                    if let Err(error) = log.compact(index) {
                        note(format_args!("old log segments stay: {error}"));
                    }
                }
            }
            if writes.len() < INPUT_GROUP {
                next = works.try_recv().ok();
            }
        }
        flush_writes(&mut log, &mut writes, core, figures);
    }
}

fn flush_writes(
    log: &mut Log<Folder>,
    writes: &mut Vec<Persist>,
    core: &Sender<Input>,
    figures: &Figures,
) {
    if let Some(number) = writes.last().map(|persist| persist.number) {
        retry(core, || log.append(writes));
        figures.syncs.fetch_add(1, Relaxed);
        writes.clear();
        let _ = core.send(Input::Persisted(number));
    }
}

/// A full disk may get room again; any other failure leaves it unknown what is on disk, and ends the
/// process.
fn retry(core: &Sender<Input>, mut write: impl FnMut() -> Result<(), LogError>) {
    let mut told = false;
    while let Err(error) = write() {
        match &error {
            LogError::Io(cause) if cause.kind() == std::io::ErrorKind::StorageFull => {
                if !std::mem::replace(&mut told, true) {
                    note(format_args!("{error}; waiting for room"));
                }
                let _ = core.send(Input::StepDown);
                thread::sleep(FULL_DISK_PAUSE);
            }
            _ => fail(format_args!("{error}")),
        }
    }
}

/// Saves the node's own snapshots beside the log, which must not wait for so much.
fn snapshot_thread(folder: PathBuf, snapshots: &Receiver<Snapshot>, core: &Sender<Input>) {
    let mut folder = match Folder::open(folder) {
        Ok(folder) => folder,
        Err(error) => fail(format_args!("{error}")),
    };
    for snapshot in snapshots {
        retry(core, || snapshot::save(&mut folder, &snapshot));
        let _ = core.send(Input::Saved(snapshot.get_metadata().index));
    }
}

fn state_thread(
    mut machine: Machine<Database>,
    works: &Receiver<StateWork>,
    core: &Sender<Input>,
    save: &Sender<Snapshot>,
    node: &Node,
    snapshot_every: Index,
) {
    let mut snapshotted = machine.applied();
    let (mut bytes, mut snapshot_bytes) = (0, SNAPSHOT_EVERY_BYTES);
    while let Ok(first) = works.recv() {
        let mut executed = Vec::new();
        let before = machine.applied();
        for work in std::iter::once(first).chain(works.try_iter().take(APPLY_GROUP)) {
            match work {
                StateWork::Apply(step) => {
                    if let Apply::Batch { data, .. } = &step {
                        bytes += data.len();
                    }
                    match machine.apply(step) {
                        Ok(mut done) => executed.append(&mut done),
                        Err(error) => fail(format_args!("{error}")),
                    }
                }
                StateWork::Read(token) => {
                    let waiting = locked(&node.reads).remove(&token);
                    if let Some((request, sender)) = waiting {
                        let moment = machine.moment();
                        let _ = sender.send(machine.executor().query(moment, &request));
                    }
                }
                StateWork::ReadNow(request, sender) => {
                    let moment = machine.moment();
                    let _ = sender.send(machine.executor().query(moment, &request));
                }
                StateWork::Snapshot => {
                    let snapshot = machine.snapshot();
                    if let Err(error) = &snapshot {
                        note(format_args!("no snapshot for a follower: {error}"));
                    }
                    let _ = core.send(Input::Offer(snapshot.ok()));
                }
                StateWork::File(sender) => {
                    let _ = sender.send(machine.executor().file().map_err(|e| e.to_string()));
                }
            }
        }
        let index = machine.applied();
        if index > before {
            node.figures.applied.store(index, Relaxed);
            let _ = core.send(Input::Applied(index, executed));
        }
        if index >= snapshotted + snapshot_every || bytes >= snapshot_bytes {
            (snapshotted, bytes) = (index, 0);
            match machine.snapshot() {
                Ok(snapshot) => {
                    snapshot_bytes = SNAPSHOT_EVERY_BYTES.max(snapshot.data.len());
                    let _ = save.send(snapshot);
                }
                Err(error) => {
                    note(format_args!(
                        "the log grows, as no snapshot can be taken: {error}"
                    ));
                }
            }
        }
    }
}
