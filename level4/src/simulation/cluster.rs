//! A cluster in virtual time, its clients, its faults, and the checks on its history.

mod checks;
mod clients;
mod faults;
mod network;
mod operator;
mod pace;
mod process;
mod stage;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::disk::SimulatedDisk;
use super::durable::Durable;
use super::ledger::Ledger;
use super::plant::{Plant, Planted};
use super::record::{Recorder, Trace};
use crate::consensus::{Apply, Core, Persist, Timing};
use crate::ids::{Incarnation, Index, NodeId, Term};
use crate::log::Log;
use crate::machine::Machine;
pub use network::Fate;
use network::{Message, Wind};
use pace::Pace;
pub use stage::{Notes, Stage};

/// Virtual time, microseconds.
pub(super) type Time = u64;

const TICK: Time = 20_000;
const SEGMENT: u64 = 16 * 1024;
/// Faults happen until here, and the cluster has to be whole again some time after.
const FAULTS_END: Time = 8_000_000;
const DEADLINE: Time = 28_000_000;

/// Contents are compared at the multiples of this index.
const CONTENT_EVERY: u64 = 64;
/// A replica that was spoilt has to be found within this time, when the network is whole, or so many
/// entries.
const FOUND_WITHIN: Time = 5_000_000;
const FOUND_WITHIN_ENTRIES: u64 = 1_000;

const TIMING: Timing = Timing {
    heartbeat: 3,
    election: 15,
    election_step: 6,
    resend: 40,
    snapshot: 200,
    // Snapshots are small here, and have many pieces all the same.
    piece: 30,
    compare: 48,
    apply_limit: 1_000_000,
};

enum Event {
    Tick(usize),
    Deliver(Message),
    /// The two notice that they are connected again.
    Connected(usize, usize),
    Flush(usize),
    Write(usize),
    Apply(usize),
    Client(usize),
    Fault,
}

/// An event of a life (of the machine that it is at), by time and then in the order of scheduling.
struct Scheduled {
    time: Time,
    order: u64,
    life: u64,
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.order).cmp(&(other.time, other.order))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Scheduled {}

/// A process.
struct Process {
    core: Core,
    log: Log<SimulatedDisk>,
    machine: Machine<Ledger>,
    durable: Durable,
    writes: VecDeque<Persist>,
    applies: VecDeque<Step>,
    /// Putting a snapshot in place takes until then.
    installing_until: Time,
    /// A flush is on its way; what comes in until then shares it.
    flush_scheduled: bool,
    snapshot_every: u64,
    snapshotted: Index,
    /// Its disk has no room until then.
    full_until: Time,
}

enum Step {
    Apply(Apply),
    Read(u64),
}

/// A machine in the rack: a name, and a disk that outlives processes.
struct Slot {
    id: NodeId,
    /// Its address, which changes when it moves.
    name: String,
    incarnation: Incarnation,
    disk: Option<SimulatedDisk>,
    process: Option<Process>,
    /// Counts lives: events of an earlier one are void.
    life: u64,
    /// When this one began.
    began: Time,
    /// How far its clock is ahead, ms.
    skew: u64,
    /// Its process is to start again at once.
    restarts: bool,
    /// Noted in its folder: its state has parted from the others'.
    parted: Option<Index>,
}

/// A member on its way out.
#[derive(Clone, Copy)]
struct Leaving {
    place: usize,
    id: NodeId,
    /// It comes back as it is, rather than as another one with nothing on its disk.
    readmit: bool,
}

/// Where a replica was spoilt, and when that could first be seen.
#[derive(Clone, Copy)]
struct Spoilt {
    place: usize,
    /// What it had applied.
    applied: Index,
    /// The first time that it executed something after that.
    executed: Option<Time>,
}

/// One client: asks, waits, asks again.
#[derive(Default)]
struct Client {
    asked: u64,
    /// The slot and life asked, whether it is a read, and the highest position acknowledged to
    /// anybody before.
    waiting: Option<(usize, u64, bool, u64)>,
    /// So many blanks follow what it asks for.
    blanks: usize,
}

/// What a run came by.
#[derive(Debug, Default, Clone, Copy)]
pub struct Summary {
    /// Requests that were answered.
    pub answered: u64,
    /// Replicas that the cluster found to have parted from the others.
    pub parted: u64,
    /// Entries that were skipped, by each node.
    pub skipped: u64,
    /// Members that were removed, and came back as others.
    pub replaced: u64,
    /// Members that were removed, and were taken in again.
    pub readmitted: u64,
    /// Members that moved to another address.
    pub moved: u64,
    /// Failures of the environment while an entry was applied.
    pub failed: u64,
    /// Doubts that nobody could decide, until the operator removed a member.
    pub undecided: u64,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.parted += other.parted;
        self.skipped += other.skipped;
        self.replaced += other.replaced;
        self.readmitted += other.readmitted;
        self.moved += other.moved;
        self.failed += other.failed;
        self.undecided += other.undecided;
    }
}

/// See the module's header.
pub struct Cluster {
    rng: ChaCha8Rng,
    now: Time,
    order: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    slots: Vec<Slot>,
    clients: Vec<Client>,
    cut: HashSet<(usize, usize)>,
    loss: f64,
    pace: Pace,
    /// What becomes of messages, if a script says so.
    wind: Option<Wind>,
    /// How often inputs wait for others before the core is flushed, as under load.
    busy: f64,
    /// Counts the connections that each pair has had.
    connections: HashMap<(usize, usize), u64>,
    wiped: bool,
    /// Who led in each term.
    leaders: HashMap<Term, NodeId>,
    /// Term and content of every applied entry, as first seen.
    entries: HashMap<Index, (Term, Bytes)>,
    /// What ran at each position, as first seen.
    history: Vec<(Option<u64>, Bytes)>,
    /// The replica that was spoilt.
    spoilt: Option<Spoilt>,
    /// A client will ask for what cannot be executed.
    poison: bool,
    leaving: Option<Leaving>,
    /// When all has to be well: the operator's last step takes as long as healing.
    deadline: Time,
    summary: Summary,
    /// Entries that were skipped somewhere.
    skipped: BTreeSet<Index>,
    /// Entries that the operator wanted skipped: who had applied one has to be rebuilt, and may be the
    /// first to hear of it.
    to_skip: BTreeSet<Index>,
    /// More than a minority were spoilt, by snapshots of one that was: then nobody can tell.
    spread: bool,
    /// Positions acknowledged, by command.
    acknowledged: BTreeMap<Bytes, u64>,
    /// One more than the highest acknowledged position.
    horizon: u64,
    /// Nodes that have been begun.
    begun: u64,
    record: Recorder,
    planted: Planted,
    /// Who got whose vote in which term, as written to disk.
    votes: HashMap<(NodeId, u64), u64>,
}

impl Cluster {
    /// A cluster of 3 or 5 machines with nothing on their disks.
    pub fn new(seed: u64) -> Self {
        Self::traced(seed, None)
    }

    /// The same with a bug, which `trace` shows.
    pub fn planted(seed: u64, plant: Plant, trace: Option<Trace>) -> Self {
        Self::begin(seed, Planted::new(Some(plant)), trace)
    }

    /// The same, and what happens is written into `trace`, if there is one.
    pub fn traced(seed: u64, trace: Option<Trace>) -> Self {
        Self::begin(seed, Planted::default(), trace)
    }

    fn begin(seed: u64, planted: Planted, trace: Option<Trace>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let size = if rng.random_bool(0.5) { 3 } else { 5 };
        let clients = rng.random_range(2..9);
        let loss = if rng.random_bool(0.5) {
            rng.random_range(0.0..0.2)
        } else {
            0.0
        };
        let delay = rng.random_range(1_000..60_000);
        let busy = [0.0, 0.3, 0.9][rng.random_range(0..3)];
        let poison = rng.random_bool(0.3);
        let mut cluster = Self {
            loss,
            busy,
            poison,
            ..Self::empty(rng, Pace::wild(delay))
        };
        cluster.clients.resize_with(clients, Client::default);
        cluster.record = Recorder::new(trace);
        cluster.planted = planted;
        let title = cluster.title(seed, size, delay);
        let replay = format!("--seed {seed}{}", cluster.planted.flags());
        cluster.record.begin(&replay, size, &title);
        for place in 0..size {
            let skew = cluster.rng.random_range(0..10_000);
            cluster.add(skew);
            cluster.start(place);
        }
        for client in 0..cluster.clients.len() {
            cluster.schedule(50_000, Event::Client(client), 0);
        }
        cluster.schedule(500_000, Event::Fault, 0);
        cluster
    }

    /// A world without machines and clients.
    fn empty(rng: ChaCha8Rng, pace: Pace) -> Self {
        Self {
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            clients: Vec::new(),
            cut: HashSet::new(),
            loss: 0.0,
            pace,
            wind: None,
            busy: 0.0,
            connections: HashMap::new(),
            wiped: false,
            leaders: HashMap::new(),
            entries: HashMap::new(),
            history: Vec::new(),
            spoilt: None,
            poison: false,
            leaving: None,
            deadline: DEADLINE,
            summary: Summary::default(),
            skipped: BTreeSet::new(),
            to_skip: BTreeSet::new(),
            spread: false,
            acknowledged: BTreeMap::new(),
            horizon: 0,
            begun: 0,
            record: Recorder::default(),
            planted: Planted::default(),
            votes: HashMap::new(),
            rng,
        }
    }

    /// A machine with nothing on its disk, whose clock is so many ms ahead.
    fn add(&mut self, skew: u64) {
        self.slots.push(Slot {
            id: NodeId::new(0),
            name: self.slots.len().to_string(),
            incarnation: Incarnation::default(),
            disk: Some(SimulatedDisk::default()),
            process: None,
            life: 0,
            began: 0,
            skew,
            restarts: false,
            parted: None,
        });
    }

    fn title(&self, seed: u64, size: usize, delay: Time) -> String {
        let (clients, delay) = (self.clients.len(), delay / 1_000);
        let loss = 100.0 * self.loss;
        format!(
            "Seed {seed}: {size} nodes, {clients} clients, messages take about {delay} ms and {loss:.0} % are lost"
        )
    }

    fn schedule(&mut self, delay: Time, event: Event, life: u64) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled {
            time: self.now + delay,
            order: self.order,
            life,
            event,
        }));
    }

    fn place_of(&self, id: NodeId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.id == id)
    }

    /// Runs to the end and checks the history.
    pub fn run(mut self) -> Summary {
        while self.step() {
            self.expect_found();
            if self.now > FAULTS_END + 3_000_000 && self.settled() {
                break;
            }
            assert!(
                self.now < self.deadline,
                "no progress after the network healed: {}",
                self.describe()
            );
        }
        self.check();
        self.summary.answered = self.acknowledged.len() as u64;
        self.summary
    }

    /// When the next event is.
    fn next_time(&self) -> Option<Time> {
        self.queue.peek().map(|Reverse(scheduled)| scheduled.time)
    }

    /// The next event; whether there was one.
    fn step(&mut self) -> bool {
        let Some(Reverse(scheduled)) = self.queue.pop() else {
            return false;
        };
        let Scheduled {
            time, life, event, ..
        } = scheduled;
        self.now = time;
        let alive = |slots: &[Slot], place: usize| slots[place].life == life;
        match event {
            Event::Tick(place) if alive(&self.slots, place) => self.tick(place),
            Event::Write(place) if alive(&self.slots, place) => self.write(place),
            Event::Apply(place) if alive(&self.slots, place) => self.apply(place),
            Event::Flush(place) if alive(&self.slots, place) => self.flush(place),
            Event::Connected(a, b) => self.connected(a, b),
            Event::Client(client) if !self.pace.is_calm => self.ask(client),
            Event::Fault => self.fault(),
            Event::Deliver(message) => self.deliver(&message),
            // Of an earlier life; or nobody asks anything by himself.
            Event::Tick(_)
            | Event::Write(_)
            | Event::Apply(_)
            | Event::Flush(_)
            | Event::Client(_) => {}
        }
        true
    }
}
