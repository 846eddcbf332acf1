//! What the policy knows of one backend: health, requests in flight, limit, speed.

use std::collections::VecDeque;

use super::Seconds;
use super::latency::OTHER_KIND;
use super::limit::Limit;
use super::types::Ended;

/// Weight of the newest sample in the mean latency.
const NEWEST: f64 = 0.1;

/// Answers of another kind in a row that are the usual.
const QUICK: u32 = 4;

/// How a request ended at its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered, and not with a failure of the server.
    Answered,
    /// Answered with a failure of the server (5xx): often at once, which says nothing about how long work
    /// takes.
    Errored,
    /// Taken, but broken off or not answered in time.
    Failed,
    /// Not even a connection could be made: the backend is down.
    Unreachable,
    /// A check was answered: no work, so that its time says nothing about what work takes.
    Checked,
    /// Ended early by the client's fault; says nothing about the backend.
    Aborted,
}

/// How far a backend is trusted with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Like others.
    Full,
    /// With one at a time, until it has shown what comes of that.
    Trial,
    /// With none, as long as another is trusted fully.
    None,
}

/// One backend, as seen by the policy.
#[derive(Debug)]
pub struct Backend {
    /// Its limit.
    pub limit: Limit,
    /// Whether requests are sent to it.
    pub healthy: bool,
    /// What its latest answers were worth.
    pub trust: Trust,
    /// Most requests that trust allows, whatever the limit: it depends on whether others are trusted.
    pub trusted_with: u32,
    /// Start times of the requests in flight, oldest first.
    starts: VecDeque<Seconds>,
    /// Mean latency; 0 until the first answer.
    latency: Seconds,
    /// Weight of the next sample in it: that of an even mean at first.
    weight: f64,
    /// Answers in a row that were too quick to count.
    quick: u32,
}

impl Backend {
    /// A backend with nothing in flight, taken to be healthy until shown otherwise.
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            healthy: true,
            trust: Trust::Full,
            trusted_with: u32::MAX,
            starts: VecDeque::new(),
            latency: 0.0,
            weight: 1.0,
            quick: 0,
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

    /// Requests it may have.
    pub fn places(&self) -> u32 {
        self.limit.current().min(self.trusted_with)
    }

    /// Whether it counts, as one to which requests go.
    pub fn in_use(&self) -> bool {
        self.healthy && self.trusted_with > 0
    }

    /// Whether it may be given one more.
    pub fn has_room(&self) -> bool {
        self.healthy && self.in_flight() < self.places()
    }

    /// Whether it could work on one more, trusted or not.
    pub fn is_free(&self) -> bool {
        self.healthy && self.in_flight() < self.limit.current()
    }

    /// How full it is; 1 is its limit.
    pub fn load(&self) -> f64 {
        f64::from(self.in_flight()) / f64::from(self.places().max(1))
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
        let ended = Ended {
            now,
            in_flight,
            latency: now - started,
        };
        match outcome {
            Outcome::Answered => {
                self.learn(ended.latency);
                self.limit.answered(ended);
            }
            Outcome::Errored | Outcome::Failed => self.limit.failed(ended),
            Outcome::Unreachable | Outcome::Checked | Outcome::Aborted => {}
        }
    }

    /// Takes a latency into the mean. One quick answer in ten would have the next be expected too soon.
    fn learn(&mut self, latency: Seconds) {
        let few = self.weight > NEWEST;
        if self.limit.is_changed_by(latency) || (few && self.latency < OTHER_KIND * latency) {
            self.weight = 1.0;
        } else if latency < OTHER_KIND * self.latency && self.quick < QUICK {
            self.quick += 1;
            return;
        }
        self.quick = 0;
        self.latency += self.weight * (latency - self.latency);
        self.weight = (self.weight / (1.0 + self.weight)).max(NEWEST);
    }

    /// A probe got through: use it again, carefully at first.
    pub fn revive(&mut self) {
        self.healthy = true;
        self.trust = Trust::Trial;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request that is alone at the backend ends so long after it began.
    fn answer(backend: &mut Backend, now: &mut Seconds, latency: Seconds, outcome: Outcome) {
        let started = *now;
        let beside = backend.start(started);
        *now += latency;
        backend.finish(*now, started, beside, outcome);
    }

    #[test]
    fn a_check_says_nothing_of_the_time_that_work_takes() {
        let mut backend = Backend::new(Limit::adaptive());
        let mut now = 0.0;
        for _ in 0..100 {
            answer(&mut backend, &mut now, 0.000_3, Outcome::Checked);
        }
        assert_eq!((backend.latency(), backend.limit.current()), (0.0, 1));
        answer(&mut backend, &mut now, 0.075, Outcome::Answered);
        assert!((backend.latency() - 0.075).abs() < 1e-9);
    }

    #[test]
    fn a_quick_answer_now_and_then_does_not_change_what_is_expected() {
        let mut backend = Backend::new(Limit::fixed(4));
        let mut now = 0.0;
        for n in 0..200 {
            let latency = if n % 10 == 0 { 0.000_3 } else { 0.075 };
            answer(&mut backend, &mut now, latency, Outcome::Answered);
        }
        assert!(
            (backend.latency() - 0.075).abs() < 1e-9,
            "{}",
            backend.latency()
        );
        for _ in 0..100 {
            answer(&mut backend, &mut now, 0.000_3, Outcome::Answered);
        }
        assert!(backend.latency() < 0.01, "{}", backend.latency());
    }
}
