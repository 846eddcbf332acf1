//! The policy: who is served, who waits, who is turned away. A pure value without sockets or clocks.
//!
//! Goes in: arrivals, ends of requests, give-ups, and what time it is. Comes out: decisions. The
//! caller keeps a *token* for each request that waits and is told through a list of [`Effect`]s.
//!
//! The rules, in the order in which they matter:
//! 1. A backend has at most its limit in flight ([`limit`]); the rest waits here, where it can still
//!    be reordered or turned away.
//! 2. A free place is never left empty while anybody waits (work conserving). A heavy client may be asked
//!    to come again a moment later, so that places fall free one after another and not all at once.
//! 3. Whoever waits goes in the order of the [`Class`] of its client, then least served first
//!    ([`queue`]).
//! 4. A light client may wait as long as it can still be answered in time ([`Settings::max_wait`]).
//!    A heavy one may wait only if its turn comes before another request can be expected to take it
//!    ([`supply`]): then somebody is always at hand when a place falls free, and nobody is kept
//!    longer than that needs.
//! 5. Clients are told apart by what they did lately: requests made and service had, both with decay
//!    ([`clients`]). A client is heavy while it asks for more than an even share of what the backends
//!    can do, or for more places at once.
//! 6. When most requests come from names never seen before, the names say nothing: unknown ones then
//!    go behind known light clients and are held no longer than heavy ones.

pub mod backend;
pub mod clients;
pub mod limit;
pub mod queue;
pub mod supply;

use backend::{Backend, Outcome};
use clients::{Account, ClientKey, ClientRef, ClientTable, MEAN_LIFE_SECONDS, decay};
use limit::Limit;
use queue::{FairQueue, Rank, Waiting};
use supply::Supply;

/// Nanoseconds since an origin of the caller's choice.
pub type Nanos = u64;

/// Requests in recent memory that make nobody heavy, however many clients there are.
const SMALL_HISTORY: f64 = 6.0;

/// Requests a light client may have outstanding at once, however few places there are.
const SMALL_CONCURRENCY: f64 = 2.0;

/// Recent requests up to which a light client may wait as long as anybody.
const FULL_PATIENCE: f64 = 2.0;

/// How many times the expected wait for another request a heavy client's may be held.
const HOLD: f64 = 3.0;

/// Part of an even share of service below which a heavy client may wait for the next place.
const UNDERSERVED: f64 = 1.0;

/// A heavy client's request is always held this long, in nanoseconds: less is no delay worth naming.
const HOLD_AT_LEAST: f64 = 10e6;

/// Least time between two starts of heavy clients' requests, as a part of an even spread.
const SPREAD: f64 = 0.75;

/// Share of the backends' capacity that unknown names may ask for before they are a flood.
const NEWCOMER_SHARE: f64 = 0.5;

/// What a client's recent conduct makes of its next request. Smaller goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Within an even share.
    Light,
    /// Never seen before, at a time when that is what a flood looks like.
    Stranger,
    /// Beyond an even share.
    Heavy,
}

/// What is fixed when the policy is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Number of backends.
    pub backends: usize,
    /// The limit of each backend; `None` to find it.
    pub max_in_flight: Option<u32>,
    /// Longest time a request may wait for a place.
    pub max_wait: Nanos,
    /// Most requests that may wait at once.
    pub max_queue: usize,
    /// Clients remembered.
    pub max_clients: usize,
    /// Decide and count, but let everybody through at once.
    pub dry_run: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backends: 1,
            max_in_flight: None,
            max_wait: 750_000_000,
            max_queue: 1024,
            max_clients: 65_536,
            dry_run: false,
        }
    }
}

/// A request in flight; goes back into [`Policy::finish`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a flight that is not finished holds its place for ever"]
pub struct Flight {
    /// Index of the backend it was given to.
    pub backend: usize,
    /// The client's class when it came.
    pub class: Class,
    client: Option<ClientRef>,
    started: Nanos,
    /// How many the backend had with it.
    beside: u32,
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its client asks for more than can be given. Try again after so many seconds.
    TooMany {
        /// Seconds until the client's account will look light again.
        retry_after: u32,
    },
    /// It could not have been served in time.
    TooLate,
    /// No backend is up.
    NoBackend,
}

/// What became of an arrival.
#[derive(Debug)]
pub enum Decision {
    /// Send it now.
    Go(Flight),
    /// It waits; an [`Effect`] with its token will follow, unless it gives up under this rank.
    Wait(Rank),
    /// Turned away.
    Refuse(Reason),
}

/// What became of a request that waited.
#[derive(Debug)]
pub enum Effect<T> {
    /// Send it now.
    Go(T, Flight),
    /// Turned away.
    Refuse(T, Reason),
}

/// What the policy did, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Arrivals by class: light, stranger, heavy.
    pub arrivals: [u64; 3],
    /// Requests given to a backend, by class.
    pub started: [u64; 3],
    /// Requests turned away (in a dry run: that would have been), by class.
    pub refused: [u64; 3],
    /// Requests that had to wait (in a dry run: would have had to).
    pub waited: u64,
    /// Requests given up while they waited.
    pub given_up: u64,
}

/// The policy. See the module's documentation. `T` is the caller's token for a waiting request.
#[derive(Debug)]
pub struct Policy<T> {
    settings: Settings,
    clients: ClientTable,
    queue: FairQueue<T>,
    backends: Vec<Backend>,
    supply: Supply,
    /// Clients active lately: each request counts one over its client's recent requests.
    crowd: Fading,
    /// Requests of names never seen before, lately.
    newcomers: Fading,
    sequence: u64,
    now: Nanos,
    last_start: Nanos,
    counters: Counters,
}

/// A sum that decays like the accounts do.
#[derive(Clone, Copy, Debug, Default)]
struct Fading {
    sum: f64,
    updated: Nanos,
}

impl Fading {
    fn at(self, now: Nanos) -> f64 {
        self.sum * decay(now.saturating_sub(self.updated) as f64)
    }

    fn add(&mut self, now: Nanos, amount: f64) {
        self.sum = self.at(now) + amount;
        self.updated = now;
    }
}

impl<T> Policy<T> {
    /// A policy that has seen nothing yet.
    pub fn new(settings: Settings) -> Self {
        let limit = || {
            settings
                .max_in_flight
                .map_or_else(Limit::adaptive, Limit::fixed)
        };
        Self {
            clients: ClientTable::new(settings.max_clients),
            queue: FairQueue::new(),
            backends: (0..settings.backends)
                .map(|_| Backend::new(limit()))
                .collect(),
            supply: Supply::new(),
            crowd: Fading::default(),
            newcomers: Fading::default(),
            sequence: 0,
            now: 0,
            last_start: 0,
            counters: Counters::default(),
            settings,
        }
    }

    /// A request came. `token` is called for if it has to wait; `effects` takes what this means for
    /// others, who may be turned away in its favour.
    pub fn arrive(
        &mut self,
        now: Nanos,
        client: ClientKey,
        token: impl FnOnce() -> T,
        effects: &mut Vec<Effect<T>>,
    ) -> Decision {
        let now = self.advance(now);
        self.supply.arrived(now);
        let (client, account, class) = self.classify(now, client);
        self.counters.arrivals[class as usize] += 1;
        if !self.backends.iter().any(|backend| backend.healthy) {
            return self.refuse(class, Reason::NoBackend);
        }
        if let Some(backend) = self.backend_with_room() {
            if class != Class::Light && !self.settings.dry_run && self.would_bunch(now) {
                let reason = self.reason(class, f64::from(account.requests));
                return self.refuse(class, reason);
            }
            return Decision::Go(self.start(now, backend, client, class));
        }
        self.sequence += 1;
        let due = account.served + account.outstanding as f32 * self.service_seconds() as f32;
        let rank = Rank::new(class, due, self.sequence);
        let patience = self.patience(class, account);
        let goes_last = self.queue.last().is_none_or(|(last, _)| rank > last);
        let hopeless = goes_last && !self.may_wait(now, patience, self.queue.len());
        if self.settings.dry_run {
            return self.wave_through(now, client, class, hopeless);
        }
        if hopeless {
            let reason = self.reason(class, f64::from(account.requests));
            return self.refuse(class, reason);
        }
        if let Some(client) = client {
            self.clients.account(client).outstanding += 1;
        }
        self.counters.waited += 1;
        self.queue.push(
            rank,
            Waiting {
                token: token(),
                client,
                arrived: now,
                patience,
            },
        );
        self.trim(now, effects);
        Decision::Wait(rank)
    }

    /// A request ended; its place goes to whoever is next. Returns whether its backend was ejected.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a flight ends here and cannot be used again"
    )]
    pub fn finish(
        &mut self,
        now: Nanos,
        flight: Flight,
        outcome: Outcome,
        effects: &mut Vec<Effect<T>>,
    ) -> bool {
        let now = self.advance(now);
        self.supply.answered(now);
        if let Some(client) = flight.client {
            let account = self.clients.account(client);
            account.outstanding -= 1;
            account.served += now.saturating_sub(flight.started) as f32 / 1e9;
        }
        let backend = &mut self.backends[flight.backend];
        let ejected = backend.finish(now, flight.started, flight.beside, outcome);
        self.dispatch(now, effects);
        ejected
    }

    /// A request that waited was abandoned by its client. Whether it was still waiting: if not, an
    /// effect for it is on its way or was delivered, and stands.
    pub fn give_up(&mut self, now: Nanos, rank: Rank) -> bool {
        self.advance(now);
        let Some(waiting) = self.queue.remove(rank) else {
            return false;
        };
        self.release(&waiting);
        self.counters.given_up += 1;
        true
    }

    /// Turns away whoever has waited too long. To be called now and then.
    pub fn tick(&mut self, now: Nanos, effects: &mut Vec<Effect<T>>) {
        let now = self.advance(now);
        let Some(deadline) = now.checked_sub(self.settings.max_wait) else {
            return;
        };
        for waiting in self.queue.take_older(deadline) {
            self.release(&waiting);
            self.counters.refused[Class::Light as usize] += 1;
            effects.push(Effect::Refuse(waiting.token, Reason::TooLate));
        }
    }

    /// A backend that had been ejected answers again.
    pub fn revive(&mut self, now: Nanos, backend: usize, effects: &mut Vec<Effect<T>>) {
        let now = self.advance(now);
        self.backends[backend].revive();
        self.dispatch(now, effects);
    }

    /// A backend is known to be down: nothing is sent to it until it is revived.
    pub fn eject(&mut self, backend: usize) {
        self.backends[backend].healthy = false;
    }

    /// The backends' states.
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// What was decided so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Requests waiting now.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Clients remembered, and the bytes that takes.
    pub fn clients(&self) -> (usize, usize) {
        (self.clients.len(), self.clients.bytes())
    }

    /// The clock never runs backwards here, although callers on several cores may disagree a little.
    fn advance(&mut self, now: Nanos) -> Nanos {
        self.now = self.now.max(now);
        self.now
    }

    /// Enters the request into its client's account; returns the account as it was before it.
    fn classify(&mut self, now: Nanos, key: ClientKey) -> (Option<ClientRef>, Account, Class) {
        let share = self.even_share(now);
        let places = self.places_each(now);
        let opened = self.clients.open(key, now);
        let Some((client, newcomer)) = opened else {
            self.newcomers.add(now, 1.0);
            return (None, Account::default(), Class::Stranger);
        };
        let account = self.clients.account(client);
        account.requests += 1.0;
        let account = *account;
        self.crowd.add(now, 1.0 / f64::from(account.requests));
        if newcomer {
            self.newcomers.add(now, 1.0);
        }
        let class = if f64::from(account.requests) > share
            || f64::from(account.outstanding) >= places
        {
            Class::Heavy
        } else if newcomer && self.newcomers.at(now) > NEWCOMER_SHARE * self.capacity_remembered() {
            Class::Stranger
        } else {
            Class::Light
        };
        (Some(client), account, class)
    }

    /// Requests the backends can serve in the time over which requests are remembered.
    fn capacity_remembered(&self) -> f64 {
        let service = self.service_seconds();
        if service == 0.0 {
            return f64::INFINITY;
        }
        self.places() / service * MEAN_LIFE_SECONDS
    }

    /// Recent requests up to which a client asks for no more than its even share.
    fn even_share(&self, now: Nanos) -> f64 {
        (0.5 * self.capacity_remembered() / self.crowd.at(now).max(1.0)).max(SMALL_HISTORY)
    }

    /// Places a client may hold at once before it holds more than its even share.
    fn places_each(&self, now: Nanos) -> f64 {
        (self.places() / self.crowd.at(now).max(1.0)).max(SMALL_CONCURRENCY)
    }

    /// Places at all healthy backends.
    fn places(&self) -> f64 {
        let up = self.backends.iter().filter(|backend| backend.healthy);
        up.map(|backend| f64::from(backend.limit.current())).sum()
    }

    /// Mean time a request takes at a healthy backend, in seconds.
    fn service_seconds(&self) -> f64 {
        let up = self.backends.iter().filter(|backend| backend.healthy);
        let (sum, count) = up.fold((0.0, 0.0), |(s, n), b| (s + b.latency(), n + 1.0));
        if count == 0.0 { 0.0 } else { sum / count }
    }

    fn backend_with_room(&self) -> Option<usize> {
        let roomy = self
            .backends
            .iter()
            .enumerate()
            .filter(|(_, backend)| backend.has_room());
        roomy
            .min_by(|a, b| a.1.load().total_cmp(&b.1.load()))
            .map(|(index, _)| index)
    }

    /// Expected time until a request with `ahead` others in front of it gets a place.
    fn expected_wait(&self, now: Nanos, ahead: usize) -> f64 {
        let up = self.backends.iter().filter(|backend| backend.healthy);
        let next = up
            .filter_map(|b| b.next_answer(now))
            .fold(f64::INFINITY, f64::min);
        let spacing = self.service_seconds() * 1e9 / self.places().max(1.0);
        if next.is_finite() {
            next + spacing * ahead as f64
        } else {
            0.0
        }
    }

    /// How long a client's conduct entitles its request to wait, in nanoseconds.
    ///
    /// Falls with the square of the client's recent requests, so that nobody drops from full patience to
    /// none between one request and the next.
    fn patience(&self, class: Class, account: Account) -> f64 {
        match class {
            Class::Light => {
                let over = f64::from(account.requests) / FULL_PATIENCE;
                self.settings.max_wait as f64 / over.max(1.0).powi(2)
            }
            // A heavy client that has had less than its share of service may wait for the next place:
            // else whoever asks most often would be the one at hand whenever a place falls free.
            Class::Heavy if self.underserved(account) => self.spacing(),
            Class::Stranger | Class::Heavy => 0.0,
        }
    }

    /// Whether a client has had less than an even share of service lately.
    fn underserved(&self, account: Account) -> bool {
        let had = f64::from(account.served) / MEAN_LIFE_SECONDS;
        had < UNDERSERVED * self.places() / self.crowd.at(self.now).max(1.0)
    }

    /// Mean time between two places falling free, in nanoseconds.
    fn spacing(&self) -> f64 {
        self.service_seconds() * 1e9 / self.places().max(1.0)
    }

    /// Whether a request with this patience may wait behind `ahead` others.
    fn may_wait(&self, now: Nanos, patience: f64, ahead: usize) -> bool {
        let longest = self.settings.max_wait as f64;
        // While nobody knows yet what the backends can take, nobody asks for too much.
        let growing = self
            .backends
            .iter()
            .any(|b| b.healthy && b.limit.is_growing());
        let hold = if growing {
            longest
        } else {
            HOLD * self.supply.next_expected()
        };
        let hold = hold.max(HOLD_AT_LEAST).min(longest);
        ahead < self.settings.max_queue && self.expected_wait(now, ahead) <= patience.max(hold)
    }

    /// Turns away the last in line while they may not wait that long.
    fn trim(&mut self, now: Nanos, effects: &mut Vec<Effect<T>>) {
        while let Some((last, waiting)) = self.queue.last() {
            if self.may_wait(now, waiting.patience, self.queue.len() - 1) {
                return;
            }
            let Some(waiting) = self.queue.remove(last) else {
                return;
            };
            self.release(&waiting);
            self.counters.refused[last.class as usize] += 1;
            let requests = waiting
                .client
                .map_or(1.0, |client| self.clients.account(client).requests);
            let reason = self.reason(last.class, f64::from(requests));
            effects.push(Effect::Refuse(waiting.token, reason));
        }
    }

    /// Whether a start now would fall into step with the last one, although the next request will
    /// come soon enough to take the place a little later.
    ///
    /// Where every request takes the same time, places that were taken together fall free together,
    /// for ever; whoever comes in between waits for all of them. Spread out, the next place is never
    /// far off. Irregular backends spread by themselves.
    fn would_bunch(&self, now: Nanos) -> bool {
        let spacing = self.spacing();
        let since = now.saturating_sub(self.last_start) as f64;
        let mut up = self.backends.iter().filter(|backend| backend.healthy);
        spacing > HOLD_AT_LEAST
            && since < SPREAD * spacing
            && self.supply.next_expected() < 0.25 * spacing
            && up.all(|backend| backend.limit.is_regular() && !backend.limit.is_growing())
    }

    /// Gives free places to those who wait.
    fn dispatch(&mut self, now: Nanos, effects: &mut Vec<Effect<T>>) {
        while !self.queue.is_empty()
            && let Some(backend) = self.backend_with_room()
            && let Some((rank, waiting)) = self.queue.pop_first()
        {
            self.release(&waiting);
            let flight = self.start(now, backend, waiting.client, rank.class);
            effects.push(Effect::Go(waiting.token, flight));
        }
    }

    fn start(
        &mut self,
        now: Nanos,
        backend: usize,
        client: Option<ClientRef>,
        class: Class,
    ) -> Flight {
        if let Some(client) = client {
            self.clients.account(client).outstanding += 1;
        }
        self.counters.started[class as usize] += 1;
        self.last_start = now;
        let beside = self.backends[backend].start(now);
        Flight {
            backend,
            class,
            client,
            started: now,
            beside,
        }
    }

    /// A waiting request leaves the queue.
    fn release(&mut self, waiting: &Waiting<T>) {
        if let Some(client) = waiting.client {
            self.clients.account(client).outstanding -= 1;
        }
    }

    /// A dry run's answer to whoever would have waited or been turned away.
    fn wave_through(
        &mut self,
        now: Nanos,
        client: Option<ClientRef>,
        class: Class,
        hopeless: bool,
    ) -> Decision {
        if hopeless {
            self.counters.refused[class as usize] += 1;
        } else {
            self.counters.waited += 1;
        }
        let up = self
            .backends
            .iter()
            .enumerate()
            .filter(|(_, backend)| backend.healthy);
        match up
            .min_by(|a, b| a.1.load().total_cmp(&b.1.load()))
            .map(|(index, _)| index)
        {
            Some(backend) => Decision::Go(self.start(now, backend, client, class)),
            None => self.refuse(class, Reason::NoBackend),
        }
    }

    fn refuse(&mut self, class: Class, reason: Reason) -> Decision {
        self.counters.refused[class as usize] += 1;
        Decision::Refuse(reason)
    }

    fn reason(&self, class: Class, requests: f64) -> Reason {
        if class == Class::Light {
            return Reason::TooLate;
        }
        let over = requests / self.even_share(self.now);
        let seconds = MEAN_LIFE_SECONDS * over.max(1.0).ln();
        Reason::TooMany {
            retry_after: (seconds.ceil() as u32).clamp(1, 60),
        }
    }
}
