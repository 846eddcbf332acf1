//! What becomes of each request: the one place where the rules of the module come together.

use super::backend::{Backend, Outcome, Trust};
use super::capacity::Capacity;
use super::clients::{ClientRef, ClientTable};
use super::fair::{Charge, Fair, Group, NEWCOMER_CREDIT};
use super::limit::Limit;
use super::naming::{ClientClass, ClientKey};
use super::queue::{FairQueue, Rank, Waiting};
use super::supply::Supply;
use super::types::{
    Allowance, Class, Counters, Decision, Effect, Flight, Reason, Seconds, Settings,
};

/// Requests of credit that a newcomer may use up without losing patience: beyond them it falls with
/// the square, so that nobody drops from full patience to none between one request and the next.
const FULL_PATIENCE: f64 = 2.0;

/// Requests by which a known client must be behind the fair level to have full patience.
const FULL_CREDIT: f64 = 6.0;

/// Requests of credit below which a newcomer is heavy: two, since the tags of clients that share evenly
/// differ by about as much, and behind a front end of few connections a flood that is never rejected
/// keeps everybody out.
const NEAR: f64 = 2.0;

/// Time after which the clocks are told how much of it went by: a millisecond.
const STEP: Seconds = 0.001;

/// What a request is taken to cost before the first answer.
const UNKNOWN_COST: Seconds = 0.1;

/// How many times the expected wait for another request a heavy client's may be held.
const HOLD: f64 = 3.0;

/// A heavy client's request is always held this long (a hundredth of a second): less is no delay worth naming.
const HOLD_AT_LEAST: Seconds = 0.01;

/// Least time between two starts of heavy clients' requests, as a part of an even spread.
const SPREAD: f64 = 0.75;

/// Part of the spacing within which another request must be expected before a heavy one is put off
/// until a little later: a quarter, so that the place is missed for at most that on average.
const SOON: f64 = 0.25;

/// The window in which the fair level is told to clients.
const WINDOW: Seconds = 10.0;

/// The policy. See the module's documentation. `T` is the caller's token for a waiting request.
#[derive(Debug)]
pub struct Policy<T> {
    settings: Settings,
    clients: ClientTable,
    queue: FairQueue<T>,
    capacity: Capacity,
    supply: Supply,
    fair: Fair,
    sequence: u64,
    now: Seconds,
    /// Up to when the clocks were told of the time, and the service that was not used since.
    passed: Seconds,
    unused: Seconds,
    last_start: Seconds,
    counters: Counters,
}

/// What is known of a request when it comes.
struct Arrival {
    client: ClientRef,
    class: Class,
    /// Start tag.
    rank: Rank,
    /// Expected service time, over the client's weight.
    cost: Seconds,
    weight: f64,
    /// How far its client asks ahead of the fair level.
    lead: Seconds,
    patience: Seconds,
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
            fair: Fair::new(),
            sequence: 0,
            now: 0.0,
            passed: 0.0,
            unused: 0.0,
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
        let (account, cost) = self.open(now, client);
        if let Some(retry_after) = self.over_limit(now, client, account) {
            self.counters.arrivals[Class::Heavy as usize] += 1;
            return self.reject(Class::Heavy, Reason::TooMany { retry_after });
        }
        let arrival = self.classify(now, account, cost, self.weight(client));
        let class = arrival.class;
        self.counters.arrivals[class as usize] += 1;
        if !self.capacity.any_up() {
            return self.reject(class, Reason::NoBackend);
        }
        if let Some(backend) = self.capacity.with_room() {
            if class == Class::Heavy && !self.settings.dry_run && self.would_bunch(now) {
                let reason = self.reason(&arrival);
                return self.reject(class, reason);
            }
            let charge = self.charge(&arrival);
            return Decision::Admit(self.start(now, backend, arrival.client, class, charge));
        }
        let hopeless =
            self.goes_last(arrival.rank) && !self.may_wait(now, arrival.patience, self.queue.len());
        if self.settings.dry_run {
            return self.admit_regardless(now, &arrival, hopeless);
        }
        if hopeless {
            let reason = self.reason(&arrival);
            return self.reject(class, reason);
        }
        self.counters.queued += 1;
        let charge = self.charge(&arrival);
        self.clients.account(arrival.client).outstanding += 1;
        let waiting = Waiting {
            token: token(),
            client: arrival.client,
            class,
            charge,
            arrived: now,
            patience: arrival.patience,
            retry_after: self.retry_after(&arrival),
        };
        self.queue.push(arrival.rank, waiting);
        self.trim(now, effects);
        Decision::Queue(arrival.rank)
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
        let account = self.clients.account(flight.client);
        account.outstanding -= 1;
        flight.charge.settle(account, now - flight.started);
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
        let weight = self.weight(client);
        let (client, cost) = self.open(now, client);
        let account = self.clients.account(client);
        let charge = Charge::new(account, cost / weight, weight, true);
        Some(self.start(now, backend, client, Class::Light, charge))
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
        for (_, waiting) in self.queue.take_older(now - self.settings.max_wait) {
            self.release(&waiting);
            self.counters.rejected[waiting.class as usize] += 1;
            let reason = Reason::TooLate {
                retry_after: waiting.retry_after,
            };
            effects.push(Effect::Reject(waiting.token, waiting.class, reason));
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

    /// A backend's latest answers were bad and it is trusted less, or it is trusted again.
    pub fn trust(
        &mut self,
        now: Seconds,
        backend: usize,
        trust: Trust,
        effects: &mut Vec<Effect<T>>,
    ) {
        let now = self.advance(now);
        self.capacity.trust(backend, trust);
        self.dispatch(now, effects);
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
        if now > self.now {
            if self.queue.is_empty() {
                let free = self.capacity.places() - self.capacity.in_flight();
                self.unused += free.max(0.0) * (now - self.now);
            }
            self.now = now;
            // Decays are dear beside the rest, and nothing changes much in less than this.
            if now - self.passed >= STEP {
                let unused = std::mem::take(&mut self.unused);
                let span = now - std::mem::replace(&mut self.passed, now);
                self.fair.pass(now, span, self.capacity.places(), unused);
            }
        }
        self.now
    }

    /// Finds or makes a client's account, and tells what its next request is expected to cost.
    fn open(&mut self, now: Seconds, key: ClientKey) -> (ClientRef, Seconds) {
        let mean = match self.capacity.service_time() {
            0.0 => UNKNOWN_COST,
            mean => mean,
        };
        let (client, new) = self.clients.open(key, now);
        let account = self.clients.account(client);
        if new {
            self.fair.open(account, mean);
        }
        self.fair.promote(account, now);
        let cost = match account.cost {
            0.0 => mean,
            cost => Seconds::from(cost),
        };
        (client, cost)
    }

    /// The class of a client in the configuration.
    fn client_class(&self, key: ClientKey) -> Option<&ClientClass> {
        self.settings.naming.classes.get(usize::from(key.class))
    }

    fn weight(&self, key: ClientKey) -> f64 {
        self.client_class(key).map_or(1.0, |class| class.weight)
    }

    /// Counts a request against its client's fixed limit, if it has one. Beyond it: time until the next
    /// would be within it, and nothing is counted.
    fn over_limit(&mut self, now: Seconds, key: ClientKey, client: ClientRef) -> Option<Seconds> {
        let limit = self.client_class(key)?.limit?;
        let account = self.clients.account(client);
        let full = account.limited_until.max(now);
        let over = full - now - (limit.burst - 1.0) / limit.rate;
        // A nanosecond of tolerance for a client that comes just in time.
        if over > 1e-9 {
            return Some(over);
        }
        account.limited_until = full + 1.0 / limit.rate;
        None
    }

    /// What a client may ask for now. Its account is made if there is none.
    pub fn allowance(&mut self, now: Seconds, key: ClientKey) -> Allowance {
        let now = self.advance(now);
        let (client, cost) = self.open(now, key);
        let limit = self.client_class(key).and_then(|class| class.limit);
        let cost = cost / self.weight(key);
        let account = self.clients.account(client);
        if let Some(limit) = limit {
            let used = (account.limited_until - now).max(0.0);
            return Allowance {
                fixed: true,
                quota: limit.burst,
                window: limit.burst / limit.rate,
                remaining: (limit.burst - used * limit.rate).max(0.0),
                reset: used,
            };
        }
        let pace = self.fair.pace(now, account.group).max(1e-3);
        let lead = self.fair.lead(account, cost);
        let quota = (pace * WINDOW / cost).max(1.0);
        Allowance {
            fixed: false,
            quota,
            window: WINDOW,
            remaining: (-lead / cost).clamp(0.0, quota),
            reset: ((lead / cost + quota).max(0.0) * cost / pace).min(WINDOW.max(lead / pace)),
        }
    }

    /// Enters the request into its client's account, and tells what it may expect.
    fn classify(&mut self, now: Seconds, client: ClientRef, cost: Seconds, weight: f64) -> Arrival {
        let cost = cost / weight;
        let account = self.clients.account(client);
        account.requests += 1.0;
        let (tag, lead) = self.fair.ask(now, account, cost);
        let class = match account.group {
            // Who was given less than the fair level has it coming, however much it asks for.
            Group::Known if lead <= 0.0 || tag + cost <= self.fair.clock(Group::Known) => {
                Class::Light
            }
            Group::Newcomer if lead + NEAR * cost <= 0.0 => Class::Newcomer,
            _ => Class::Heavy,
        };
        let longest = self.settings.max_wait;
        let patience = match class {
            Class::Light => {
                let left = (self.fair.clock(account.group) - tag) / (FULL_CREDIT * cost).max(1e-9);
                (longest * left.clamp(0.0, 1.0).powi(2)).max(self.capacity.spacing())
            }
            Class::Newcomer => {
                // How many requests of its credit are used up with this one.
                let used = NEWCOMER_CREDIT + 1.0 + lead / cost.max(1e-9);
                longest / (used / FULL_PATIENCE).max(1.0).powi(2)
            }
            // A heavy client that has had less than its share of service may wait for the next place:
            // else whoever asks most often would be the one at hand whenever a place falls free.
            Class::Heavy if tag <= self.fair.clock(account.group) => self.capacity.spacing(),
            Class::Heavy => 0.0,
        };
        self.sequence += 1;
        let rank = if class == Class::Heavy {
            Rank::new(account.group, tag, self.sequence)
        } else {
            Rank::light(
                account.group,
                now + f64::from(account.outstanding) * cost,
                self.sequence,
            )
        };
        Arrival {
            client,
            class,
            rank,
            cost,
            weight,
            lead,
            patience,
        }
    }

    /// Charges the client for a request that is admitted or queued.
    fn charge(&mut self, arrival: &Arrival) -> Charge {
        let account = self.clients.account(arrival.client);
        let light = arrival.class == Class::Light;
        Charge::new(account, arrival.cost, arrival.weight, light)
    }

    /// Where a rank stands among the known clients', with `ahead` newcomers before it.
    fn order(&self, rank: Rank, ahead: usize) -> Seconds {
        match (rank.group, rank.tag()) {
            (Group::Known, tag) => tag.unwrap_or(0.0),
            (Group::Newcomer, tag) => {
                let ahead = ahead as f64 * self.capacity.service_time();
                self.fair.among_known(tag.unwrap_or(0.0), ahead)
            }
        }
    }

    /// The rank that goes first of all.
    fn first(&self) -> Option<Rank> {
        let known = self.queue.first(Group::Known);
        let newcomer = self.queue.first(Group::Newcomer);
        match (known, newcomer) {
            (Some(a), Some(b)) if self.order(b, 0) < self.order(a, 0) => Some(b),
            (known, newcomer) => known.or(newcomer),
        }
    }

    /// The rank that goes last of all, and its place in the order.
    fn last(&self) -> Option<(Rank, Seconds)> {
        let last = |group| {
            let rank = self.queue.last(group)?;
            Some((rank, self.order(rank, self.queue.len_of(group) - 1)))
        };
        match (last(Group::Known), last(Group::Newcomer)) {
            (Some(known), Some(newcomer)) if known.1 > newcomer.1 => Some(known),
            (known, newcomer) => newcomer.or(known),
        }
    }

    /// Whether a request that is not queued yet would go behind all that are.
    fn goes_last(&self, rank: Rank) -> bool {
        let order = self.order(rank, self.queue.len_of(rank.group));
        let behind_own = self.queue.last(rank.group).is_none_or(|last| rank > last);
        behind_own && self.last().is_none_or(|(_, last)| order >= last)
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
        while let Some((last, _)) = self.last() {
            let patience = self.queue.patience(last);
            if self.may_wait(now, patience, self.queue.len() - 1) {
                return;
            }
            let Some(waiting) = self.queue.remove(last) else {
                return;
            };
            self.release(&waiting);
            self.counters.rejected[waiting.class as usize] += 1;
            let reason = Self::why(waiting.class, waiting.retry_after);
            effects.push(Effect::Reject(waiting.token, waiting.class, reason));
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
        while let Some(backend) = self.capacity.with_room()
            && let Some(rank) = self.first()
            && let Some(waiting) = self.queue.remove(rank)
        {
            self.clients.account(waiting.client).outstanding -= 1;
            let flight = self.start(now, backend, waiting.client, waiting.class, waiting.charge);
            effects.push(Effect::Admit(waiting.token, flight));
        }
    }

    fn start(
        &mut self,
        now: Seconds,
        backend: usize,
        client: ClientRef,
        class: Class,
        charge: Charge,
    ) -> Flight {
        self.clients.account(client).outstanding += 1;
        self.counters.admitted[class as usize] += 1;
        self.last_start = now;
        self.fair.serve(now, &charge);
        let beside = self.capacity.start(now, backend);
        Flight {
            backend,
            class,
            client,
            charge,
            started: now,
            beside,
        }
    }

    /// A request leaves the queue without having been served.
    fn release(&mut self, waiting: &Waiting<T>) {
        let account = self.clients.account(waiting.client);
        account.outstanding -= 1;
        waiting.charge.refund(account);
    }

    /// A dry run's answer to whoever would have been queued or rejected.
    fn admit_regardless(&mut self, now: Seconds, arrival: &Arrival, hopeless: bool) -> Decision {
        let class = arrival.class;
        if hopeless {
            self.counters.rejected[class as usize] += 1;
        } else {
            self.counters.queued += 1;
        }
        match self.capacity.emptiest_up() {
            Some(backend) => {
                let charge = self.charge(arrival);
                Decision::Admit(self.start(now, backend, arrival.client, class, charge))
            }
            None => self.reject(class, Reason::NoBackend),
        }
    }

    fn reject(&mut self, class: Class, reason: Reason) -> Decision {
        self.counters.rejected[class as usize] += 1;
        Decision::Reject(class, reason)
    }

    fn reason(&self, arrival: &Arrival) -> Reason {
        Self::why(arrival.class, self.retry_after(arrival))
    }

    fn why(class: Class, retry_after: Seconds) -> Reason {
        if class == Class::Heavy {
            Reason::TooMany { retry_after }
        } else {
            Reason::TooLate { retry_after }
        }
    }

    /// Time until the request could be served: until the fair level has caught up with what its
    /// client asked for, or until the queue has gone by.
    fn retry_after(&self, arrival: &Arrival) -> Seconds {
        let queue = self.capacity.expected_wait(self.now, self.queue.len());
        if arrival.lead <= 0.0 {
            return queue;
        }
        let pace = self.fair.pace(self.now, arrival.rank.group);
        queue.max(arrival.lead / pace.max(1e-3))
    }
}
