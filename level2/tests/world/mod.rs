//! A world in virtual time for the policy to act in: clients, front-end connections, backends.
//!
//! Nothing here sleeps: a heap of events is played in order of time, so that hours pass in seconds
//! and every run of a seed is the same. The policy is told what a proxy would tell it.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod story;
pub mod traffic;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use level2::policy::{
    Class, ClientHasher, Decision, Effect, Flight, Outcome, Policy, Rank, Seconds, Settings,
};

/// Nanoseconds since the start: whole, so that events have one order on every machine.
pub type Nanos = u64;

/// A millisecond in nanoseconds.
pub const MS: Nanos = 1_000_000;
/// A second in nanoseconds.
pub const SECOND: Nanos = 1_000 * MS;

/// One hop between load generator and proxy, or proxy and backend.
const HOP: Nanos = MS / 10;

/// A request of the script.
#[derive(Clone, Debug)]
pub struct Request {
    pub at: Nanos,
    pub client: String,
    pub mouse: bool,
}

/// How the world behaves.
#[derive(Clone, Debug)]
pub struct World {
    pub backends: usize,
    /// Requests a backend works on at once, and how many more it can queue.
    pub slots: usize,
    pub backlog: usize,
    /// Time a request takes, in nanoseconds, by its number and when its work begins.
    pub service: fn(usize, Nanos) -> Nanos,
    /// By how much threads wake up late, on average: at random, now and then by twenty times as much.
    pub late: Nanos,
    /// Requests a backend works on at once from a moment on, instead of `slots`.
    pub slots_later: Option<(Nanos, usize)>,
    /// Which requests fail at once, wherever they come, by their number.
    pub fails: fn(usize) -> bool,
    /// Connections the load generator has in all; `None` for as many as it likes.
    pub connections: Option<usize>,
    /// Silence after which a request is given up.
    pub patience: Nanos,
    /// After what time a rejected request of a client that is no mouse is sent once more.
    pub insist: Option<Nanos>,
    /// End of the count.
    pub end: Nanos,
    /// Whether each request's life is written down.
    pub records: bool,
    pub settings: Settings,
}

impl World {
    /// Two backends of two slots and a queue of four, 75 ms a request, 20 s.
    pub fn contest(connections: Option<usize>) -> Self {
        Self {
            backends: 2,
            slots: 2,
            backlog: 4,
            service: |_, _| 75 * MS,
            late: 0,
            slots_later: None,
            fails: |_| false,
            connections,
            patience: SECOND,
            insist: None,
            end: 20 * SECOND,
            records: false,
            settings: Settings {
                backends: 2,
                ..Settings::default()
            },
        }
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Tally {
    pub mice_sent: usize,
    pub mice_served: usize,
    pub served: usize,
    pub refused: usize,
    pub overflows: usize,
    /// When a backend failed a request.
    pub failures: Vec<Nanos>,
    /// Answers by client.
    pub by_client: HashMap<String, usize>,
    /// Times from a mouse's sending to the start of the work on it, sorted.
    pub mouse_waits: Vec<Nanos>,
    /// When each mouse's request was sent that was not answered.
    pub mouse_losses: Vec<Nanos>,
    /// Bytes of the client table at the end.
    pub table_bytes: usize,
    /// The time of each answer and its client's name.
    pub answers: Vec<(Nanos, String)>,
    /// What became of each request of the script, if that was to be written down.
    pub lives: Vec<Life>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    /// When the proxy had it, and when it let it go or turned it away.
    pub came: Nanos,
    pub decided: Option<Nanos>,
    /// How its client looked.
    pub class: Option<Class>,
    /// The backend that it went to; none if it was turned away.
    pub backend: Option<usize>,
    /// When the backend was done with it.
    pub worked: Option<Nanos>,
}

impl Tally {
    /// The median wait of the mice that were answered.
    pub fn median_wait(&self) -> Nanos {
        self.wait(0.5)
    }

    /// The wait of the mice that so large a part of those answered did not exceed.
    pub fn wait(&self, quantile: f64) -> Nanos {
        let last = self.mouse_waits.len().saturating_sub(1);
        let index = (last as f64 * quantile) as usize;
        self.mouse_waits.get(index).copied().unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Send(usize),
    SendAgain(usize),
    ReachProxy(usize),
    ReachBackend(usize),
    Worked(usize),
    ProxyHears(usize, bool),
    Answered(usize, bool),
    GiveUp(usize),
    Tick,
}

#[derive(Debug, Default)]
struct Server {
    working: usize,
    queue: VecDeque<usize>,
}

struct Run<'a> {
    world: &'a World,
    script: &'a [Request],
    policy: Policy<usize>,
    hasher: ClientHasher,
    events: BinaryHeap<Reverse<(Nanos, usize, Event)>>,
    stamp: usize,
    now: Nanos,
    /// Requests that wait for one of the load generator's connections.
    agent: VecDeque<usize>,
    connected: usize,
    flights: HashMap<usize, Flight>,
    backend_of: HashMap<usize, usize>,
    ranks: HashMap<usize, Rank>,
    open: Vec<bool>,
    /// When each request's work began.
    began: Vec<Nanos>,
    servers: Vec<Server>,
    effects: Vec<Effect<usize>>,
    draw: ChaCha8Rng,
    tally: Tally,
}

/// Plays a script, sorted by time, and counts.
pub fn play(world: &World, script: &[Request]) -> Tally {
    let mut run = Run {
        world,
        script,
        policy: Policy::new(world.settings.clone()),
        hasher: ClientHasher::default(),
        events: BinaryHeap::new(),
        stamp: 0,
        now: 0,
        agent: VecDeque::new(),
        connected: 0,
        flights: HashMap::new(),
        backend_of: HashMap::new(),
        ranks: HashMap::new(),
        open: vec![false; script.len()],
        began: vec![0; script.len()],
        servers: (0..world.backends).map(|_| Server::default()).collect(),
        effects: Vec::new(),
        draw: ChaCha8Rng::seed_from_u64(script.len() as u64),
        tally: Tally::default(),
    };
    if world.records {
        run.tally.lives = vec![Life::default(); script.len()];
    }
    if !script.is_empty() {
        run.at(script[0].at, Event::Send(0));
    }
    run.at(100 * MS, Event::Tick);
    while let Some(Reverse((now, _, event))) = run.events.pop() {
        if now >= world.end {
            break;
        }
        run.now = now;
        run.handle(event);
    }
    run.tally.mouse_waits.sort_unstable();
    run.tally.table_bytes = run.policy.clients().1;
    run.tally
}

impl Run<'_> {
    fn at(&mut self, time: Nanos, event: Event) {
        self.stamp += 1;
        self.events.push(Reverse((time, self.stamp, event)));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Send(n) => {
                if let Some(next) = self.script.get(n + 1) {
                    self.at(next.at, Event::Send(n + 1));
                }
                self.tally.mice_sent += usize::from(self.script[n].mouse);
                self.agent.push_back(n);
                self.connect();
            }
            Event::SendAgain(n) => {
                self.agent.push_back(n);
                self.connect();
            }
            Event::ReachProxy(n) => self.reach_proxy(n),
            Event::ReachBackend(n) => self.reach_backend(n),
            Event::Worked(n) => {
                let backend = self.backend_of[&n];
                self.note(n, |life, now| life.worked = Some(now));
                self.servers[backend].working -= 1;
                let heard = self.hop();
                self.at(heard, Event::ProxyHears(n, true));
                self.work(backend);
            }
            Event::ProxyHears(n, good) => {
                let flight = self.flights.remove(&n).unwrap();
                let mut effects = std::mem::take(&mut self.effects);
                let outcome = if good {
                    Outcome::Answered
                } else {
                    Outcome::Errored
                };
                self.policy
                    .finish(self.clock(), flight, outcome, &mut effects);
                self.at(self.now + HOP, Event::Answered(n, good));
                self.effects = effects;
                self.apply();
            }
            Event::Answered(n, good) => {
                if !std::mem::take(&mut self.open[n]) {
                    return;
                }
                self.connected -= 1;
                if good {
                    let request = &self.script[n];
                    self.tally.served += 1;
                    *self
                        .tally
                        .by_client
                        .entry(request.client.clone())
                        .or_default() += 1;
                    self.tally.answers.push((self.now, request.client.clone()));
                    if request.mouse {
                        self.tally.mice_served += 1;
                        self.tally.mouse_waits.push(self.began[n] - request.at);
                    }
                } else {
                    if self.script[n].mouse {
                        self.tally.mouse_losses.push(self.script[n].at);
                    } else if let Some(pause) = self.world.insist {
                        self.at(self.now + pause, Event::SendAgain(n));
                    }
                    self.tally.refused += 1;
                }
                self.connect();
            }
            Event::GiveUp(n) => {
                if std::mem::take(&mut self.open[n]) {
                    self.connected -= 1;
                    if self.script[n].mouse {
                        self.tally.mouse_losses.push(self.script[n].at);
                    }
                    if let Some(rank) = self.ranks.remove(&n) {
                        self.policy.abandon(self.clock(), rank);
                    }
                    self.connect();
                }
            }
            Event::Tick => {
                let mut effects = std::mem::take(&mut self.effects);
                self.policy.tick(self.clock(), &mut effects);
                self.effects = effects;
                self.apply();
                self.at(self.now + 100 * MS, Event::Tick);
            }
        }
    }

    /// When what is sent now is heard of.
    fn hop(&mut self) -> Nanos {
        if self.world.late == 0 {
            return self.now + HOP;
        }
        let late = self.world.late as f64 * -(1.0 - self.draw.random::<f64>()).ln();
        let late = if self.draw.random_ratio(1, 100) {
            20.0 * late
        } else {
            late
        };
        self.now + HOP + late as Nanos
    }

    /// The policy's time.
    fn clock(&self) -> Seconds {
        self.now as f64 / SECOND as f64
    }

    fn connect(&mut self) {
        while self
            .world
            .connections
            .is_none_or(|most| self.connected < most)
            && let Some(n) = self.agent.pop_front()
        {
            self.connected += 1;
            self.open[n] = true;
            self.at(self.now + HOP, Event::ReachProxy(n));
            self.at(self.now + self.world.patience, Event::GiveUp(n));
        }
    }

    fn reach_proxy(&mut self, n: usize) {
        self.note(n, |life, now| life.came = now);
        let naming = &self.world.settings.naming;
        let key = self.hasher.key_in(naming, self.script[n].client.as_bytes());
        let mut effects = std::mem::take(&mut self.effects);
        match self.policy.arrive(self.clock(), key, || n, &mut effects) {
            Decision::Admit(flight) => self.go(n, flight),
            Decision::Queue(rank) => {
                self.ranks.insert(n, rank);
            }
            Decision::Reject(class, _) => self.turn_away(n, class),
        }
        self.effects = effects;
        self.apply();
    }

    fn apply(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Admit(n, flight) => {
                    self.ranks.remove(&n);
                    self.go(n, flight);
                }
                Effect::Reject(n, class, _) => {
                    self.ranks.remove(&n);
                    self.turn_away(n, class);
                }
            }
        }
    }

    fn turn_away(&mut self, n: usize, class: Class) {
        self.note(n, |life, now| {
            (life.decided, life.class) = (Some(now), Some(class));
        });
        self.at(self.now + HOP, Event::Answered(n, false));
    }

    /// Writes something down of a request's life.
    fn note(&mut self, n: usize, what: impl FnOnce(&mut Life, Nanos)) {
        if let Some(life) = self.tally.lives.get_mut(n) {
            what(life, self.now);
        }
    }

    fn go(&mut self, n: usize, flight: Flight) {
        let (backend, class) = (flight.backend, flight.class);
        self.note(n, |life, now| {
            (life.decided, life.class) = (Some(now), Some(class));
            life.backend = Some(backend);
        });
        self.backend_of.insert(n, flight.backend);
        self.flights.insert(n, flight);
        let there = self.hop();
        self.at(there, Event::ReachBackend(n));
    }

    fn reach_backend(&mut self, n: usize) {
        let backend = self.backend_of[&n];
        let slots = self.slots();
        let server = &mut self.servers[backend];
        let overflows = server.working >= slots && server.queue.len() >= self.world.backlog;
        self.tally.overflows += usize::from(overflows);
        if overflows || (self.world.fails)(n) {
            self.tally.failures.push(self.now);
            self.at(self.now + HOP, Event::ProxyHears(n, false));
            return;
        }
        server.queue.push_back(n);
        self.work(backend);
    }

    fn slots(&self) -> usize {
        match self.world.slots_later {
            Some((from, slots)) if self.now >= from => slots,
            _ => self.world.slots,
        }
    }

    fn work(&mut self, backend: usize) {
        while self.servers[backend].working < self.slots()
            && let Some(n) = self.servers[backend].queue.pop_front()
        {
            self.servers[backend].working += 1;
            self.began[n] = self.now;
            self.at(
                self.now + (self.world.service)(n, self.now),
                Event::Worked(n),
            );
        }
    }
}
