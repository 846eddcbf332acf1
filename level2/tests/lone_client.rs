//! A client that waits for its answers, alone at the proxy: after a flood of its own as before it, the
//! capacity is its. It honours `Retry-After`.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use level2::policy::{
    ClientHasher, ClientKey, Decision, Effect, Flight, Outcome, Policy, Reason, Settings,
};

/// Nanoseconds of a millisecond, of a second, and of a request's work.
const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const SERVICE: u64 = 75 * MS;

/// Two backends of two slots each, and what is going on.
struct Place {
    policy: Policy<usize>,
    client: ClientKey,
    events: BinaryHeap<Reverse<(u64, usize, Event)>>,
    stamp: usize,
    now: u64,
    flights: Vec<Flight>,
    /// Requests at each backend: working, and waiting there.
    working: [usize; 2],
    waiting: [VecDeque<usize>; 2],
    answered: u64,
    rejected: u64,
    until: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A worker of the client sends; workers beyond those of the loop never come back.
    Send(usize),
    /// A backend has worked on a worker's request.
    Worked(usize, usize),
    Tick,
}

impl Place {
    fn new() -> Self {
        let settings = Settings {
            backends: 2,
            ..Settings::default()
        };
        let mut place = Self {
            policy: Policy::new(settings),
            client: ClientHasher::default().key(b"alone"),
            events: BinaryHeap::new(),
            stamp: 0,
            now: 0,
            flights: Vec::new(),
            working: [0; 2],
            waiting: [VecDeque::new(), VecDeque::new()],
            answered: 0,
            rejected: 0,
            until: 0,
        };
        place.at(0, Event::Tick);
        place
    }

    fn at(&mut self, time: u64, event: Event) {
        self.stamp += 1;
        self.events.push(Reverse((time, self.stamp, event)));
    }

    fn seconds(&self) -> f64 {
        self.now as f64 / SECOND as f64
    }

    /// Plays what is to come up to a moment.
    fn play(&mut self, until: u64) {
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            if now >= until {
                self.at(now, event);
                break;
            }
            self.now = now;
            let mut effects = Vec::new();
            match event {
                Event::Send(worker) => {
                    let decision =
                        self.policy
                            .arrive(self.seconds(), self.client, || worker, &mut effects);
                    match decision {
                        Decision::Admit(flight) => self.begin(worker, flight),
                        Decision::Queue(_) => {}
                        Decision::Reject(_, reason) => self.come_again(worker, reason),
                    }
                }
                Event::Worked(worker, backend) => {
                    self.working[backend] -= 1;
                    self.work(backend);
                    let index = self.flights.iter().position(|f| f.backend == backend);
                    let flight = self.flights.remove(index.unwrap());
                    self.policy
                        .finish(self.seconds(), flight, Outcome::Answered, &mut effects);
                    self.answered += 1;
                    self.send_again(worker, MS / 5);
                }
                Event::Tick => {
                    self.policy.tick(self.seconds(), &mut effects);
                    self.at(now + 100 * MS, Event::Tick);
                }
            }
            for effect in effects {
                match effect {
                    Effect::Admit(worker, flight) => self.begin(worker, flight),
                    Effect::Reject(worker, _, reason) => self.come_again(worker, reason),
                }
            }
        }
        self.now = until;
    }

    fn begin(&mut self, worker: usize, flight: Flight) {
        let backend = flight.backend;
        self.flights.push(flight);
        self.waiting[backend].push_back(worker);
        self.work(backend);
    }

    fn work(&mut self, backend: usize) {
        while self.working[backend] < 2
            && let Some(worker) = self.waiting[backend].pop_front()
        {
            self.working[backend] += 1;
            self.at(self.now + SERVICE, Event::Worked(worker, backend));
        }
    }

    fn come_again(&mut self, worker: usize, reason: Reason) {
        self.rejected += 1;
        let seconds = reason.retry_after().map_or(0, u64::from);
        // Without the field it comes again after a moment, as a client would that has to connect anew.
        self.send_again(worker, (seconds * SECOND).max(2 * MS));
    }

    fn send_again(&mut self, worker: usize, later: u64) {
        if worker < 1_000 && self.now + later < self.until {
            self.at(self.now + later, Event::Send(worker));
        }
    }

    /// So many requests at once, each sent again as soon as it is answered, for so long. Answers a
    /// second.
    fn closed_loop(&mut self, workers: usize, span: u64) -> f64 {
        let before = self.answered;
        self.until = self.now + span;
        for worker in 0..workers {
            self.at(self.now, Event::Send(worker));
        }
        self.play(self.until);
        (self.answered - before) as f64 * SECOND as f64 / span as f64
    }

    /// A request every 5 ms, whatever becomes of them.
    fn flood(&mut self, span: u64) {
        for n in 0..span / (5 * MS) {
            self.at(self.now + n * 5 * MS, Event::Send(1_000));
        }
        self.play(self.now + span);
    }
}

const CAPACITY: f64 = 4.0 / 0.075;

#[test]
fn no_memory_of_a_flood_hurts_a_lone_client() {
    for workers in [4, 5, 8, 16] {
        let mut place = Place::new();
        place.closed_loop(workers, 5 * SECOND);
        let before = place.closed_loop(workers, 20 * SECOND);
        place.flood(10 * SECOND);
        let at_once = place.closed_loop(workers, 20 * SECOND);
        place.flood(10 * SECOND);
        place.play(place.now + 10 * SECOND);
        let rejected = place.rejected;
        let rested = place.closed_loop(workers, 20 * SECOND);
        println!(
            "{workers} at once: {before:.1}/s, {at_once:.1} after a flood, {rested:.1} after a flood and a rest ({} rejected) of {CAPACITY:.1}",
            place.rejected - rejected
        );
        assert!(before >= 0.95 * CAPACITY, "{before}");
        assert!(at_once >= 0.95 * CAPACITY, "{at_once}");
        assert!(rested >= 0.95 * CAPACITY, "{rested}");
    }
}

#[test]
fn as_many_requests_at_once_as_there_are_places_are_hardly_ever_rejected() {
    let mut place = Place::new();
    place.flood(10 * SECOND);
    place.play(place.now + 10 * SECOND);
    let rejected = place.rejected;
    place.closed_loop(4, 20 * SECOND);
    // A few are put off at the start, so that the places do not fall free all at once.
    let rejected = place.rejected - rejected;
    println!("{rejected} rejected");
    assert!(rejected < 50, "{rejected}");
}
