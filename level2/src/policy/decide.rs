//! What becomes of each request: the one place where the rules of the module come together.

use super::backend::{Backend, Outcome};
use super::capacity::Capacity;
use super::clients::{Account, ClientKey, ClientRef, ClientTable, MEAN_LIFE, decay};
use super::limit::Limit;
use super::queue::{FairQueue, Rank, Waiting};
use super::supply::Supply;
use super::types::{Class, Counters, Decision, Effect, Flight, Reason, Seconds, Settings};

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

/// Part of the capacity, spread over the clients that are there, up to which a client asks for its
/// even share. Half, because a client's first second of requests counts as one over 1, 1/2, 1/3, …: the
/// crowd is underestimated while everybody is new, and a flood must be told from the rest by then.
const EVEN: f64 = 0.5;

/// Part of the spacing within which another request must be expected before a heavy one is put off
/// until a little later: a quarter, so that the place is missed for at most that on average.
const SOON: f64 = 0.25;

/// A heavy client's request is always held this long, (a hundredth of a second): less is no delay worth naming.
const HOLD_AT_LEAST: Seconds = 0.01;

/// Least time between two starts of heavy clients' requests, as a part of an even spread.
const SPREAD: f64 = 0.75;

/// Share of the backends' capacity that unknown names may ask for before they are a flood.
const NEWCOMER_SHARE: f64 = 0.5;

/// The policy. See the module's documentation. `T` is the caller's token for a waiting request.
#[derive(Debug)]
pub struct Policy<T> {
    settings: Settings,
    clients: ClientTable,
    queue: FairQueue<T>,
    capacity: Capacity,
    supply: Supply,
    /// Clients active lately: each request counts one over its client's recent requests.
    crowd: Fading,
    /// Requests of names never seen before, lately.
    newcomers: Fading,
    sequence: u64,
    now: Seconds,
    last_start: Seconds,
    counters: Counters,
}

/// A sum that decays like the accounts do.
#[derive(Clone, Copy, Debug, Default)]
struct Fading {
    sum: f64,
    updated: Seconds,
}

impl Fading {
    fn at(self, now: Seconds) -> f64 {
        self.sum * decay(now - self.updated)
    }

    fn add(&mut self, now: Seconds, amount: f64) {
        self.sum = self.at(now) + amount;
        self.updated = now;
    }
}

impl<T> Policy<T> {
    /// A policy that has seen nothing yet.
    pub fn new(settings: Settings) -> Self {
        let limit = settings
            .max_in_flight
            .map_or_else(Limit::adaptive, Limit::fixed);
        Self {
            clients: ClientTable::new(settings.max_clients),
            queue: FairQueue::new(),
            capacity: Capacity::new(settings.backends, &limit),
            supply: Supply::new(),
            crowd: Fading::default(),
            newcomers: Fading::default(),
            sequence: 0,
            now: 0.0,
            last_start: 0.0,
            counters: Counters::default(),
            settings,
        }
    }

    /// A request came. `token` is called for if it has to wait; `effects` takes what this means for
    /// others, who may be rejected in its favour.
    pub fn arrive(
        &mut self,
        now: Seconds,
        client: ClientKey,
        token: impl FnOnce() -> T,
        effects: &mut Vec<Effect<T>>,
    ) -> Decision {
        let now = self.advance(now);
        self.supply.arrived(now);
        let (client, account, class) = self.classify(now, client);
        self.counters.arrivals[class as usize] += 1;
        if !self.capacity.any_up() {
            return self.reject(class, Reason::NoBackend);
        }
        if let Some(backend) = self.capacity.with_room() {
            if class != Class::Light && !self.settings.dry_run && self.would_bunch(now) {
                let reason = self.reason(class, f64::from(account.requests));
                return self.reject(class, reason);
            }
            return Decision::Admit(self.start(now, backend, client, class));
        }
        self.sequence += 1;
        let due = account.served + account.outstanding as f32 * self.capacity.service_time() as f32;
        let rank = Rank::new(class, due, self.sequence);
        let patience = self.patience(class, account);
        let goes_last = self.queue.last().is_none_or(|(last, _)| rank > last);
        let hopeless = goes_last && !self.may_wait(now, patience, self.queue.len());
        if self.settings.dry_run {
            return self.admit_regardless(now, client, class, hopeless);
        }
        if hopeless {
            let reason = self.reason(class, f64::from(account.requests));
            return self.reject(class, reason);
        }
        if let Some(client) = client {
            self.clients.account(client).outstanding += 1;
        }
        self.counters.queued += 1;
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
        Decision::Queue(rank)
    }

    /// A request ended; its place goes to whoever is next.
    pub fn finish(
        &mut self,
        now: Seconds,
        flight: Flight,
        outcome: Outcome,
        effects: &mut Vec<Effect<T>>,
    ) {
        self.end(now, flight, outcome);
        self.dispatch(now, effects);
    }

    /// A request ended; its place is free. [`dispatch`](Self::dispatch) is to follow.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a flight ends here and cannot be used again"
    )]
    pub fn end(&mut self, now: Seconds, flight: Flight, outcome: Outcome) {
        let now = self.advance(now);
        self.supply.answered(now);
        if let Some(client) = flight.client {
            let account = self.clients.account(client);
            account.outstanding -= 1;
            account.served += (now - flight.started) as f32;
        }
        self.capacity
            .finish(now, flight.backend, flight.started, flight.beside, outcome);
    }

    /// A request that was admitted before needs another place, at one of these backends; none if they
    /// have no room. It counts as service to its client, and not as another request.
    pub fn admit_at(
        &mut self,
        now: Seconds,
        client: ClientKey,
        allowed: impl Fn(usize) -> bool,
    ) -> Option<Flight> {
        let now = self.advance(now);
        let backend = self.capacity.with_room_among(allowed)?;
        let client = self.clients.open(client, now).map(|(client, _)| client);
        Some(self.start(now, backend, client, Class::Light))
    }

    /// Other settings. Backends beyond those known are added at the end; fewer are no fewer, since
    /// requests may be in flight there: they are to be ejected.
    pub fn configure(&mut self, settings: Settings) {
        let limit = settings
            .max_in_flight
            .map_or_else(Limit::adaptive, Limit::fixed);
        let limits_change = settings.max_in_flight != self.settings.max_in_flight;
        self.capacity
            .configure(settings.backends, &limit, limits_change);
        self.settings = settings;
    }

    /// A request that waited was abandoned by its client. Whether it was still waiting: if not, an
    /// effect for it is on its way or was delivered, and stands.
    pub fn abandon(&mut self, now: Seconds, rank: Rank) -> bool {
        self.advance(now);
        let Some(waiting) = self.queue.remove(rank) else {
            return false;
        };
        self.release(&waiting);
        self.counters.abandoned += 1;
        true
    }

    /// Rejects whoever has waited too long. To be called now and then.
    pub fn tick(&mut self, now: Seconds, effects: &mut Vec<Effect<T>>) {
        let now = self.advance(now);
        for waiting in self.queue.take_older(now - self.settings.max_wait) {
            self.release(&waiting);
            self.counters.rejected[Class::Light as usize] += 1;
            effects.push(Effect::Reject(
                waiting.token,
                Reason::TooLate { retry_after: 1.0 },
            ));
        }
    }

    /// A backend that had been ejected answers again.
    pub fn revive(&mut self, now: Seconds, backend: usize, effects: &mut Vec<Effect<T>>) {
        let now = self.advance(now);
        self.capacity.revive(backend);
        self.dispatch(now, effects);
    }

    /// A backend is known to be down: nothing is sent to it until it is revived.
    pub fn eject(&mut self, backend: usize) {
        self.capacity.eject(backend);
    }

    /// A backend's latest answers were bad: others go before it while they have room; or it is trusted
    /// again.
    pub fn suspect(&mut self, backend: usize, suspect: bool) {
        self.capacity.suspect(backend, suspect);
    }

    /// The backends' states.
    pub fn backends(&self) -> &[Backend] {
        self.capacity.backends()
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
    fn advance(&mut self, now: Seconds) -> Seconds {
        self.now = self.now.max(now);
        self.now
    }

    /// Enters the request into its client's account; returns the account as it was before it.
    fn classify(&mut self, now: Seconds, key: ClientKey) -> (Option<ClientRef>, Account, Class) {
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
        } else if newcomer && self.newcomers.at(now) > NEWCOMER_SHARE * self.remembered_capacity() {
            Class::Stranger
        } else {
            Class::Light
        };
        (Some(client), account, class)
    }

    /// Requests the backends can serve in the time over which requests are remembered.
    fn remembered_capacity(&self) -> f64 {
        let service = self.capacity.service_time();
        if service == 0.0 {
            return f64::INFINITY;
        }
        self.capacity.places() / service * MEAN_LIFE
    }

    /// Recent requests up to which a client asks for no more than its even share.
    fn even_share(&self, now: Seconds) -> f64 {
        (EVEN * self.remembered_capacity() / self.crowd.at(now).max(1.0)).max(SMALL_HISTORY)
    }

    /// Places a client may hold at once before it holds more than its even share.
    fn places_each(&self, now: Seconds) -> f64 {
        (self.capacity.places() / self.crowd.at(now).max(1.0)).max(SMALL_CONCURRENCY)
    }

    /// How long a client's conduct entitles its request to wait.
    ///
    /// Falls with the square of the client's recent requests, so that nobody drops from full patience to
    /// none between one request and the next.
    fn patience(&self, class: Class, account: Account) -> Seconds {
        match class {
            Class::Light => {
                let over = f64::from(account.requests) / FULL_PATIENCE;
                self.settings.max_wait / over.max(1.0).powi(2)
            }
            // A heavy client that has had less than its share of service may wait for the next place:
            // else whoever asks most often would be the one at hand whenever a place falls free.
            Class::Heavy if self.underserved(account) => self.capacity.spacing(),
            Class::Stranger | Class::Heavy => 0.0,
        }
    }

    /// Whether a client has had less than an even share of service lately.
    fn underserved(&self, account: Account) -> bool {
        let had = f64::from(account.served) / MEAN_LIFE;
        had < UNDERSERVED * self.capacity.places() / self.crowd.at(self.now).max(1.0)
    }

    /// Whether a request with this patience may wait behind `ahead` others.
    fn may_wait(&self, now: Seconds, patience: Seconds, ahead: usize) -> bool {
        let longest = self.settings.max_wait;
        // While nobody knows yet what the backends can take, nobody asks for too much.
        let hold = if self.capacity.is_growing() {
            longest
        } else {
            HOLD * self.supply.next_expected()
        };
        let hold = hold.max(HOLD_AT_LEAST).min(longest);
        ahead < self.settings.max_queue
            && self.capacity.expected_wait(now, ahead) <= patience.max(hold)
    }

    /// Rejects the last in line while they may not wait that long.
    fn trim(&mut self, now: Seconds, effects: &mut Vec<Effect<T>>) {
        while let Some((last, waiting)) = self.queue.last() {
            if self.may_wait(now, waiting.patience, self.queue.len() - 1) {
                return;
            }
            let Some(waiting) = self.queue.remove(last) else {
                return;
            };
            self.release(&waiting);
            self.counters.rejected[last.class as usize] += 1;
            let requests = waiting
                .client
                .map_or(1.0, |client| self.clients.account(client).requests);
            let reason = self.reason(last.class, f64::from(requests));
            effects.push(Effect::Reject(waiting.token, reason));
        }
    }

    /// Whether a start now would fall into step with the last one, although the next request will
    /// come soon enough to take the place a little later.
    ///
    /// Where every request takes the same time, places that were taken together fall free together,
    /// for ever; whoever comes in between waits for all of them. Spread out, the next place is never
    /// far off. Irregular backends spread by themselves.
    fn would_bunch(&self, now: Seconds) -> bool {
        let spacing = self.capacity.spacing();
        let since = now - self.last_start;
        spacing > HOLD_AT_LEAST
            && since < SPREAD * spacing
            && self.supply.next_expected() < SOON * spacing
            && self.capacity.is_regular()
            && !self.capacity.is_growing()
    }

    /// Gives free places to those who wait.
    pub fn dispatch(&mut self, now: Seconds, effects: &mut Vec<Effect<T>>) {
        while !self.queue.is_empty()
            && let Some(backend) = self.capacity.with_room()
            && let Some((rank, waiting)) = self.queue.pop_first()
        {
            self.release(&waiting);
            let flight = self.start(now, backend, waiting.client, rank.class);
            effects.push(Effect::Admit(waiting.token, flight));
        }
    }

    fn start(
        &mut self,
        now: Seconds,
        backend: usize,
        client: Option<ClientRef>,
        class: Class,
    ) -> Flight {
        if let Some(client) = client {
            self.clients.account(client).outstanding += 1;
        }
        self.counters.admitted[class as usize] += 1;
        self.last_start = now;
        let beside = self.capacity.start(now, backend);
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

    /// A dry run's answer to whoever would have waited or been rejected.
    fn admit_regardless(
        &mut self,
        now: Seconds,
        client: Option<ClientRef>,
        class: Class,
        hopeless: bool,
    ) -> Decision {
        if hopeless {
            self.counters.rejected[class as usize] += 1;
        } else {
            self.counters.queued += 1;
        }
        match self.capacity.emptiest_up() {
            Some(backend) => Decision::Admit(self.start(now, backend, client, class)),
            None => self.reject(class, Reason::NoBackend),
        }
    }

    fn reject(&mut self, class: Class, reason: Reason) -> Decision {
        self.counters.rejected[class as usize] += 1;
        Decision::Reject(reason)
    }

    fn reason(&self, class: Class, requests: f64) -> Reason {
        if class == Class::Light {
            return Reason::TooLate {
                retry_after: self.capacity.expected_wait(self.now, self.queue.len()),
            };
        }
        let over = requests / self.even_share(self.now);
        Reason::TooMany {
            retry_after: MEAN_LIFE * over.max(1.0).ln(),
        }
    }
}
