//! What the backends can do together: places, pace, and when the next place falls free.

use super::Seconds;
use super::backend::{Backend, Outcome, Trust};
use super::limit::Limit;

/// Requests for which the same backend comes first among busy ones.
const TURN: usize = 8;

/// All backends. Only those that are healthy count, and of these only the trusted ones, as long as there are
/// any: where all are suspects, each is as good as another.
#[derive(Debug)]
pub struct Capacity {
    backends: Vec<Backend>,
    /// Requests started, and the backend after the one that had the last: equally empty ones take turns.
    starts: usize,
    turn: usize,
}

impl Capacity {
    /// Backends with nothing in flight, each with a limit of its own like this one.
    pub fn new(backends: usize, limit: &Limit) -> Self {
        let backend = || Backend::new(limit.clone());
        Self {
            backends: std::iter::repeat_with(backend).take(backends).collect(),
            starts: 0,
            turn: 0,
        }
    }

    /// The backends, healthy or not.
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// Whether a backend is up.
    pub fn any_up(&self) -> bool {
        self.backends.iter().any(|backend| backend.healthy)
    }

    /// Places at all backends that are up.
    pub fn places(&self) -> f64 {
        self.up().map(|backend| f64::from(backend.places())).sum()
    }

    /// Requests in flight at backends that are up.
    pub fn in_flight(&self) -> f64 {
        self.up()
            .map(|backend| f64::from(backend.in_flight()))
            .sum()
    }

    /// Mean time a request takes at a backend; 0 while that is unknown.
    pub fn service_time(&self) -> Seconds {
        let (sum, count) = self
            .up()
            .fold((0.0, 0.0), |(s, n), b| (s + b.latency(), n + 1.0));
        if count == 0.0 { 0.0 } else { sum / count }
    }

    /// Mean time between two places falling free while all are in use.
    pub fn spacing(&self) -> Seconds {
        self.service_time() / self.places().max(1.0)
    }

    /// Expected time until a request with `ahead` others in front of it gets a place.
    pub fn expected_wait(&self, now: Seconds, ahead: usize) -> Seconds {
        let next = self
            .up()
            .filter_map(|b| b.next_answer(now))
            .fold(f64::INFINITY, f64::min);
        if next.is_finite() {
            next + self.spacing() * ahead as f64
        } else {
            0.0
        }
    }

    /// Whether the end of what some backend can take was not met yet.
    pub fn is_growing(&self) -> bool {
        self.up().any(|backend| backend.limit.is_growing())
    }

    /// Whether requests take much the same time each, at every backend.
    pub fn is_regular(&self) -> bool {
        self.up().all(|backend| backend.limit.is_regular())
    }

    /// The emptiest backend that may be given one more.
    pub fn with_room(&self) -> Option<usize> {
        self.emptiest(|_, backend| backend.has_room())
    }

    /// The emptiest of these backends that could work on one more; suspects last.
    pub fn with_room_among(&self, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        self.emptiest(|index, backend| allowed(index) && backend.is_free())
    }

    /// The emptiest backend that is up, full or not.
    pub fn emptiest_up(&self) -> Option<usize> {
        self.emptiest(|_, backend| backend.healthy)
    }

    /// Counts a request in at a backend; returns how many are in flight there with it.
    pub fn start(&mut self, now: Seconds, backend: usize) -> u32 {
        self.starts = self.starts.wrapping_add(1);
        self.turn = backend + 1;
        self.backends[backend].start(now)
    }

    /// Counts a request out.
    pub fn finish(
        &mut self,
        now: Seconds,
        backend: usize,
        started: Seconds,
        in_flight: u32,
        outcome: Outcome,
    ) {
        self.backends[backend].finish(now, started, in_flight, outcome);
    }

    /// More backends, up to so many, and another limit for all where it `changes`.
    pub fn configure(&mut self, backends: usize, limit: &Limit, changes: bool) {
        if changes {
            for backend in &mut self.backends {
                backend.limit = limit.clone();
            }
        }
        while self.backends.len() < backends {
            self.backends.push(Backend::new(limit.clone()));
        }
        self.share_trust();
    }

    /// Nothing is sent to this backend until it is revived.
    pub fn eject(&mut self, backend: usize) {
        self.backends[backend].healthy = false;
        self.share_trust();
    }

    /// A backend is trusted more, or less.
    pub fn trust(&mut self, backend: usize, trust: Trust) {
        self.backends[backend].trust = trust;
        self.share_trust();
    }

    /// This backend is used again.
    pub fn revive(&mut self, backend: usize) {
        self.backends[backend].revive();
        self.share_trust();
    }

    /// What each may have, after somebody's health or trust has changed.
    fn share_trust(&mut self) {
        let is_sure = |backend: &Backend| backend.healthy && backend.trust == Trust::Full;
        let any_sure = self.backends.iter().any(is_sure);
        for backend in &mut self.backends {
            backend.trusted_with = match backend.trust {
                Trust::Trial if any_sure => 1,
                Trust::None if any_sure => 0,
                _ => u32::MAX,
            };
        }
    }

    fn up(&self) -> impl Iterator<Item = &Backend> {
        self.backends.iter().filter(|backend| backend.in_use())
    }

    fn emptiest(&self, fit: impl Fn(usize, &Backend) -> bool) -> Option<usize> {
        let fit = self
            .backends
            .iter()
            .enumerate()
            .filter(|(index, backend)| fit(*index, backend));
        let count = self.backends.len();
        let place = |(index, backend): (usize, &Backend)| {
            // Idle ones take a request each. Among busy ones the same comes first for a while: a limit
            // is learned from a backend that is kept full.
            let first = match backend.in_flight() {
                0 => self.turn,
                _ => self.starts / TURN,
            };
            (index + count - first % count) % count
        };
        fit.min_by(|a, b| {
            let by_trust = b.1.in_use().cmp(&a.1.in_use());
            let by_load = by_trust.then(a.1.load().total_cmp(&b.1.load()));
            by_load.then_with(|| place(*a).cmp(&place(*b)))
        })
        .map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equally_empty_backends_take_turns() {
        let mut capacity = Capacity::new(3, &Limit::fixed(2));
        let mut chosen = Vec::new();
        for n in 0..6 {
            let now = f64::from(n);
            let backend = capacity.with_room().unwrap();
            capacity.start(now, backend);
            capacity.finish(now + 0.5, backend, now, 1, Outcome::Answered);
            chosen.push(backend);
        }
        assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_suspect_has_nothing_while_another_is_trusted_and_one_request_on_trial() {
        let mut capacity = Capacity::new(2, &Limit::fixed(3));
        let fill = |capacity: &mut Capacity| {
            let mut chosen = [0, 0];
            while let Some(backend) = capacity.with_room() {
                capacity.start(0.0, backend);
                chosen[backend] += 1;
            }
            for (backend, count) in chosen.iter().enumerate() {
                for _ in 0..*count {
                    capacity.finish(1.0, backend, 0.0, 1, Outcome::Aborted);
                }
            }
            (chosen, capacity.places())
        };
        capacity.trust(0, Trust::None);
        assert_eq!(fill(&mut capacity), ([0, 3], 3.0));
        // Where somebody must have it, it does.
        assert_eq!(capacity.with_room_among(|backend| backend == 0), Some(0));
        capacity.trust(0, Trust::Trial);
        assert_eq!(fill(&mut capacity), ([1, 3], 4.0));
        for other in [Trust::Trial, Trust::None] {
            capacity.trust(1, other);
            assert_eq!(fill(&mut capacity), ([3, 3], 6.0));
        }
        capacity.eject(0);
        assert_eq!(fill(&mut capacity), ([0, 3], 3.0));
        capacity.trust(1, Trust::Full);
        capacity.revive(0);
        assert_eq!(fill(&mut capacity), ([1, 3], 4.0));
    }
}
