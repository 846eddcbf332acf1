//! What the policy knows of one backend: health, requests in flight, limit, speed.

use std::collections::VecDeque;

use super::Seconds;
use super::limit::Limit;

/// Weight of the newest sample in the mean latency.
const NEWEST: f64 = 0.1;

/// How a request ended at its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered, and not with a failure of the server.
    Answered,
    /// Answered with a failure of the server (5xx, except "too busy"): often at once, which says
    /// nothing about how much it can take.
    Errored,
    /// Answered "too busy" (503): the limit is too high.
    Overloaded,
    /// Taken, but broken off or not answered in time.
    Failed,
    /// Not even a connection could be made: the backend is down.
    Unreachable,
    /// Ended early by the client's fault; says nothing about the backend.
    Aborted,
}

/// One backend, as seen by the policy.
#[derive(Debug)]
pub struct Backend {
    /// Its limit.
    pub limit: Limit,
    /// Whether requests are sent to it.
    pub healthy: bool,
    /// Whether its latest answers were bad: others go before it while they have room.
    pub suspect: bool,
    /// Start times of the requests in flight, oldest first.
    starts: VecDeque<Seconds>,
    /// Mean latency; 0 until the first answer.
    latency: Seconds,
}

impl Backend {
    /// A backend with nothing in flight, taken to be healthy until shown otherwise.
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            healthy: true,
            suspect: false,
            starts: VecDeque::new(),
            latency: 0.0,
        }
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.starts.len() as u32
    }

    /// Mean latency; 0 until the first answer.
    pub fn latency(&self) -> Seconds {
        self.latency
    }

    /// Whether it may be given one more.
    pub fn has_room(&self) -> bool {
        self.healthy && self.in_flight() < self.limit.current()
    }

    /// How full it is; 1 is its limit.
    pub fn load(&self) -> f64 {
        f64::from(self.in_flight()) / f64::from(self.limit.current())
    }

    /// Time until the next answer is due; 0 when it is overdue.
    pub fn next_answer(&self, now: Seconds) -> Option<Seconds> {
        let oldest = *self.starts.front()?;
        Some((oldest + self.latency - now).max(0.0))
    }

    /// Counts a request in; returns how many are in flight with it.
    pub fn start(&mut self, now: Seconds) -> u32 {
        self.starts.push_back(now);
        self.in_flight()
    }

    /// Counts out a request that began at `started`.
    pub fn finish(&mut self, now: Seconds, started: Seconds, in_flight: u32, outcome: Outcome) {
        if let Ok(place) = self
            .starts
            .binary_search_by(|start| start.total_cmp(&started))
        {
            self.starts.remove(place);
        }
        let latency = now - started;
        match outcome {
            Outcome::Answered => {
                let another = self.latency == 0.0 || self.limit.is_changed_by(latency);
                let weight = if another { 1.0 } else { NEWEST };
                self.latency += weight * (latency - self.latency);
                self.limit.answered(now, in_flight, latency);
            }
            Outcome::Overloaded | Outcome::Failed => self.limit.overloaded(now),
            Outcome::Errored => self.limit.errored(now, in_flight),
            Outcome::Unreachable | Outcome::Aborted => {}
        }
    }

    /// A probe got through: use it again.
    pub fn revive(&mut self) {
        self.healthy = true;
    }
}
