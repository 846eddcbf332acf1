//! A cluster in virtual time, its clients, its faults, and the checks on its history.

mod checks;
mod clients;
mod faults;
mod network;
mod operator;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};

use crate::consensus::{
    Applied, Apply, Core, Effects, Persist, Standing, Start, Timing, asks_for_comparison,
    founding_entry,
};
use crate::ids::{Incarnation, Index, NodeId, Term};
use crate::log::Log;
use crate::machine::{ApplyError, Machine};
use bytes::Bytes;
use raft::eraftpb::HardState;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::disk::SimulatedDisk;
use super::durable::Durable;
use super::ledger::{Defect, Ledger, POISON};
use super::plant::{Plant, Planted};
use super::record::{Recorder, Trace};
use network::Message;

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
    delay: Time,
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
        let mut cluster = Self {
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            clients: (0..rng.random_range(2..9))
                .map(|_| Client::default())
                .collect(),
            cut: HashSet::new(),
            loss: if rng.random_bool(0.5) {
                rng.random_range(0.0..0.2)
            } else {
                0.0
            },
            delay: rng.random_range(1_000..60_000),
            busy: [0.0, 0.3, 0.9][rng.random_range(0..3)],
            connections: HashMap::new(),
            wiped: false,
            leaders: HashMap::new(),
            entries: HashMap::new(),
            history: Vec::new(),
            spoilt: None,
            poison: rng.random_bool(0.3),
            leaving: None,
            summary: Summary::default(),
            skipped: BTreeSet::new(),
            to_skip: BTreeSet::new(),
            spread: false,
            acknowledged: BTreeMap::new(),
            horizon: 0,
            begun: 0,
            record: Recorder::new(trace),
            planted,
            votes: HashMap::new(),
            rng,
        };
        let title = cluster.title(seed, size);
        let flags = cluster.planted.flags();
        cluster.record.begin(seed, &flags, size, &title);
        for place in 0..size {
            let disk = Some(SimulatedDisk::default());
            cluster.slots.push(Slot {
                id: NodeId::new(0),
                name: place.to_string(),
                incarnation: Incarnation::default(),
                disk,
                process: None,
                life: 0,
                skew: cluster.rng.random_range(0..10_000),
                restarts: false,
                parted: None,
            });
            cluster.start(place);
        }
        for client in 0..cluster.clients.len() {
            cluster.schedule(50_000, Event::Client(client), 0);
        }
        cluster.schedule(500_000, Event::Fault, 0);
        cluster
    }

    fn title(&self, seed: u64, size: usize) -> String {
        let (clients, delay) = (self.clients.len(), self.delay / 1_000);
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

    fn start(&mut self, place: usize) {
        let tick = self.rng.random_range(0..TICK);
        let snapshot_every = self.rng.random_range(5..60);
        let seed = self.rng.random();
        let slot = &mut self.slots[place];
        slot.life += 1;
        slot.incarnation = slot.incarnation.next();
        let disk = slot.disk.take().expect("a stopped machine has its disk");
        let (mut log, mut recovered) =
            Log::open_with(disk, SEGMENT).expect("crashes damage nothing");
        if recovered.is_new {
            // As a node does that finds nothing of its own.
            self.begun += 1;
            // Not in the order of places, so that ranks are mixed.
            slot.id = NodeId::new(self.begun * 1_000 + self.rng.random_range(0..1_000));
            slot.incarnation = Incarnation::new(1);
            slot.parted = None;
        }
        if recovered.is_new && (place > 0 || self.wiped) {
            log.begin().expect("the power is on");
        } else if recovered.is_new {
            let hard_state = Some(HardState {
                term: 1,
                commit: 1,
                ..HardState::default()
            });
            let entries = vec![founding_entry(slot.id, &slot.name)];
            let found = Persist {
                entries,
                hard_state,
                ..Persist::default()
            };
            log.append(&[found]).expect("the power is on");
            let disk = log.into_disk();
            (log, recovered) = Log::open_with(disk, SEGMENT).expect("just written");
        }
        self.record
            .restarted(self.now, place, slot.id, &recovered.log);
        let durable = Durable::of(&recovered.log);
        self.planted.recovered(&mut recovered.log);
        let skipped = recovered.log.skips();
        let mut machine = Machine::new(Ledger::default());
        machine.skip(&skipped);
        if let Some(snapshot) = recovered.snapshot {
            machine
                .apply(Apply::Restore(snapshot))
                .expect("own snapshots are readable");
        }
        let core = Core::new(Start {
            id: slot.id,
            incarnation: slot.incarnation,
            log: recovered.log,
            applied: machine.applied(),
            members: machine.members().clone(),
            timing: TIMING,
            seed,
            parted: slot.parted,
            skipped,
            proved: false,
        })
        .expect("the recovered log is consistent");
        let snapshotted = machine.applied();
        slot.process = Some(Process {
            core,
            log,
            machine,
            durable,
            writes: VecDeque::new(),
            applies: VecDeque::new(),
            installing_until: 0,
            flush_scheduled: false,
            snapshot_every,
            snapshotted,
            full_until: 0,
        });
        let life = slot.life;
        self.schedule(tick, Event::Tick(place), life);
        self.flush(place);
    }

    fn place_of(&self, id: NodeId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.id == id)
    }

    /// Something went into the core: flushes it now, or together with what comes within the next
    /// moments.
    fn touch(&mut self, place: usize) {
        let later = self.rng.random_bool(self.busy);
        let life = self.slots[place].life;
        let Some(process) = &mut self.slots[place].process else {
            return;
        };
        if process.flush_scheduled {
            return;
        }
        if later {
            process.flush_scheduled = true;
            let delay = self.rng.random_range(100..5_000);
            self.schedule(delay, Event::Flush(place), life);
        } else {
            self.flush(place);
        }
    }

    fn flush(&mut self, place: usize) {
        let now = self.now;
        let slot = &mut self.slots[place];
        let (id, life, skew) = (slot.id, slot.life, slot.skew);
        let Some(process) = &mut slot.process else {
            return;
        };
        process.flush_scheduled = false;
        let Effects {
            messages,
            persist,
            apply,
            answers,
            reads,
            refused,
            standing,
            skip,
            snapshot_wanted,
            ..
        } = process.core.flush(1_700_000_000_000 + skew + now / 1_000);
        self.record.flushed(now, place, &process.core, &persist);
        match standing {
            Some(Standing::Parted(index)) => slot.parted = Some(index),
            Some(Standing::Sound) => slot.parted = None,
            _ => {}
        }
        if let Some(term) = process.core.leads() {
            let leader = *self.leaders.entry(term).or_insert(id);
            assert_eq!(leader, id, "two leaders in term {term}");
        }
        for (_, message) in &messages {
            process.durable.check(message);
        }
        for state in persist.iter().filter_map(|write| write.hard_state.as_ref()) {
            process.durable.commit = state.commit.max(process.durable.commit);
        }
        for step in &apply {
            if let Apply::Members { index, .. } = step {
                let written = process.durable.commit;
                assert!(
                    index.get() <= written,
                    "a configuration change that may be forgotten"
                );
            }
        }
        if snapshot_wanted {
            let snapshot = match process.core.standing() {
                Standing::Sound => Some(process.machine.snapshot()),
                Standing::Doubtful(at) => {
                    let saved = process.log.saved_snapshot().expect("saved whole");
                    saved.filter(|saved| Index::new(saved.get_metadata().index) < at)
                }
                Standing::Parted(_) => None,
            };
            process.core.offer_snapshot(snapshot);
        }
        if apply.iter().any(|step| matches!(step, Apply::Restore(_))) {
            // Longer than an election takes, at times.
            process.installing_until = now + self.rng.random_range(0..1_000_000);
        }
        let early = persist.last().map(|write| write.number);
        let early = early.filter(|_| self.planted.is(Plant::EarlyAck));
        if let Some(number) = early {
            process.core.persisted(number);
        }
        let (writes, applies) = (persist.len(), apply.len() + reads.len());
        process.writes.extend(persist);
        process.applies.extend(apply.into_iter().map(Step::Apply));
        process.applies.extend(reads.into_iter().map(Step::Read));
        for _ in 0..writes {
            let delay = self.rng.random_range(100..8_000);
            self.schedule(delay, Event::Write(place), life);
        }
        for _ in 0..applies {
            let delay = self.rng.random_range(10..5_000);
            self.schedule(delay, Event::Apply(place), life);
        }
        for (to, message) in messages {
            self.send(id, to, &message);
        }
        for (token, answer) in answers {
            let client = token as usize;
            match answer.sequence {
                Some(sequence) => self.answered(client, place, sequence, false),
                // Skipped.
                None => self.refused(client, place, life),
            }
        }
        for token in refused {
            self.refused(token as usize, place, life);
        }
        if let Some(standing) = standing {
            self.found(place, standing);
        }
        if let Some(index) = skip {
            self.skip(place, index);
        }
        if early.is_some() {
            self.touch(place);
        }
    }

    /// The entry at `index` is not to be applied at `place`.
    fn skip(&mut self, place: usize, index: Index) {
        let slot = &mut self.slots[place];
        let Some(process) = &mut slot.process else {
            return;
        };
        let at_it = process.machine.applied().next() == index;
        process.machine.skip(&BTreeSet::from([index]));
        if at_it && self.rng.random_bool(0.5) {
            // As if it had been at it for a while already, and had to start again.
            slot.restarts = true;
        }
        self.skipped.insert(index);
        self.summary.skipped += 1;
    }

    fn write(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        let id = slot.id;
        let Some(process) = &mut slot.process else {
            return;
        };
        if let Some(left) = process.full_until.checked_sub(self.now + 1) {
            process.core.step_down();
            let life = self.slots[place].life;
            return self.schedule(left + 1, Event::Write(place), life);
        }
        // What has piled up goes into one record.
        let count = self.rng.random_range(1..4).min(process.writes.len());
        let group: Vec<Persist> = process.writes.drain(..count).collect();
        let Some(number) = group.last().map(|write| write.number) else {
            return;
        };
        process.log.append(&group).expect("the power is on");
        let waiting = process.writes.len();
        self.record.persisted(self.now, place, &group, waiting);
        for write in &group {
            process.durable.note(write);
            if let Some(HardState { term, vote, .. }) = write.hard_state
                && vote != 0
            {
                let first = *self.votes.entry((id, term)).or_insert(vote);
                assert_eq!(first, vote, "two votes of node {id} in term {term}");
            }
        }
        if !self.planted.is(Plant::EarlyAck) {
            process.core.persisted(number);
        }
        self.touch(place);
    }

    fn apply(&mut self, place: usize) {
        let life = self.slots[place].life;
        let Some(process) = &mut self.slots[place].process else {
            return;
        };
        if let Some(left) = process.installing_until.checked_sub(self.now + 1) {
            self.schedule(left + 1, Event::Apply(place), life);
            return;
        }
        if let Some(Step::Apply(Apply::Batch { index, data, .. })) = process.applies.front()
            && data.windows(POISON.len()).any(|words| words == POISON)
            && !process.machine.skips(*index)
            // Copies of a request that was skipped are not executed either.
            && self.skipped.range(..index).next().is_none()
        {
            return self.schedule(50_000, Event::Apply(place), life);
        }
        match process.applies.pop_front() {
            None => return,
            Some(Step::Read(token)) => {
                let count = process.machine.executor().count;
                self.answered(token as usize, place, count, true);
                return;
            }
            Some(Step::Apply(step)) => {
                if let Apply::Batch { index, term, data } = &step {
                    let entry = (*term, data.clone());
                    let known = self.entries.entry(*index).or_insert(entry.clone());
                    assert_eq!(known, &entry, "nodes apply different entries at {index}");
                }
                let restored = matches!(step, Apply::Restore(_));
                let data = match &step {
                    Apply::Batch { data, .. } => data.clone(),
                    _ => Bytes::new(),
                };
                let asked = matches!(&step, Apply::Batch { data, .. } if asks_for_comparison(data));
                let executed = match process.machine.apply(step) {
                    Ok(executed) => executed,
                    Err(ApplyError::Execute { .. }) => {
                        // The process ends at once, and is started again.
                        self.summary.failed += 1;
                        let text = "out of memory while it applied";
                        self.record.fault(self.now, &[place], &[], text);
                        self.crash(place);
                        return self.start(place);
                    }
                    Err(error) => panic!("snapshots are readable: {error}"),
                };
                let index = process.machine.applied();
                let waiting = process.applies.len();
                let at = (self.now, place, index.get());
                self.record.applied(at, restored, &data, waiting);
                let links = process.machine.take_links();
                let ledger = process.machine.executor();
                let ran = std::mem::take(&mut ledger.ran);
                if let Some(spoilt) = &mut self.spoilt
                    && spoilt.place == place
                    && !ran.is_empty()
                {
                    spoilt.executed.get_or_insert(self.now);
                }
                let is_whole = ledger.defect == Defect::None;
                let content = ledger.digest();
                for (position, hash, text) in ran {
                    let hash = is_whole.then_some(hash);
                    if let Some((known, known_text)) = self.history.get_mut(position as usize) {
                        assert_eq!(*known_text, text, "replicas differ");
                        let agree = hash.is_none() || known.is_none() || *known == hash;
                        assert!(agree, "replicas differ at {position}");
                        *known = known.or(hash);
                    } else {
                        assert_eq!(position as usize, self.history.len(), "a gap in history");
                        self.history.push((hash, text));
                    }
                }
                let is_sound = process.core.standing() == Standing::Sound;
                if index >= process.snapshotted + process.snapshot_every && is_sound {
                    let snapshot = process.machine.snapshot();
                    process
                        .log
                        .save_snapshot(&snapshot)
                        .expect("the power is on");
                    let gone = process
                        .core
                        .compact(index, process.snapshot_every / 8, 10_000);
                    process.log.compact(gone).expect("the power is on");
                    process.snapshotted = index;
                    self.record.snapshot(self.now, place, "taken", index.get());
                }
                process.core.applied(Applied {
                    index,
                    links,
                    executed,
                    restored,
                });
                if (asked || index.is_multiple_of(CONTENT_EVERY)) && !restored {
                    process.core.content(index, content);
                }
            }
        }
        self.note_spread();
        self.touch(place);
    }

    fn tick(&mut self, place: usize) {
        let Some(process) = &mut self.slots[place].process else {
            return;
        };
        self.record.ticked(self.now, place);
        process.core.tick();
        self.operate(place);
        self.settle(place);
        let life = self.slots[place].life;
        self.schedule(TICK, Event::Tick(place), life);
        self.touch(place);
        if std::mem::take(&mut self.slots[place].restarts) {
            self.crash(place);
            self.start(place);
        }
    }

    /// Runs to the end and checks the history.
    pub fn run(mut self) -> Summary {
        while let Some(Reverse(scheduled)) = self.queue.pop() {
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
                Event::Tick(_) | Event::Write(_) | Event::Apply(_) | Event::Flush(_) => {}
                Event::Connected(a, b) => self.connected(a, b),
                Event::Client(client) => self.ask(client),
                Event::Fault => self.fault(),
                Event::Deliver(message) => self.deliver(&message),
            }
            self.expect_found();
            if self.now > FAULTS_END + 3_000_000 && self.settled() {
                break;
            }
            assert!(
                self.now < DEADLINE,
                "no progress after the network healed: {}",
                self.describe()
            );
        }
        self.check();
        self.summary.answered = self.acknowledged.len() as u64;
        self.summary
    }
}
