//! Which backends are fit to be used. A pure value: it is told of answers, failures, checks and the time.
//!
//! Two things take a backend out of use, each by itself. A failed *active check* (a connection, or `GET
//! --health`) shows that it is *down*, until a check succeeds. *Passive ejection* follows a run of bad
//! answers (500, 502, 503, 504) and broken connections, and ends after a time that doubles with each
//! ejection, with jitter, once a check succeeds (as in Envoy's outlier detection). A single client may
//! be what breaks a backend, so a run counts only if two clients took part that had good answers before;
//! and never so many are ejected that less than half of all is left, since then the fault is elsewhere.
//! A backend that is down and ejected comes back when neither holds any more.
//!
//! Before that, and where one client is all there is, a shorter run makes a backend *suspect*: others go
//! before it while they have room, which takes nothing from anybody.

mod checker;
#[cfg(test)]
mod properties;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

pub use checker::{Checker, Found};

use crate::policy::ClientKey;

/// Failures in a row after which a backend is an outlier (as in Envoy).
const RUN: u32 = 5;

/// Failures in a row after which others go first.
const SUSPICION: u32 = 2;

/// Length of the first ejection; each further one is twice as long.
const FIRST_EJECTION: Duration = Duration::from_secs(1);

/// Longest ejection, before jitter.
const LONGEST_EJECTION: Duration = Duration::from_secs(60);

/// Clients remembered for having had a good answer; later ones take the place of earlier ones.
const KNOWN: usize = 4096;

/// What one request says of its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It was answered, and not with a failure of the server.
    Good,
    /// It was answered with a failure of the server, broken off, or not in time.
    Bad,
    /// The backend could not be reached.
    Unreachable,
}

impl Sign {
    /// What an answer's status says.
    pub fn of(status: u16) -> Self {
        match status {
            500 | 502 | 503 | 504 => Self::Bad,
            _ => Self::Good,
        }
    }
}

/// What is to be done about a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Check it now.
    Check,
    /// Use it no more for the time being.
    Eject,
    /// Use it again.
    Revive,
    /// Use others first.
    Suspect,
    /// Use it like others again.
    Trust,
}

#[derive(Clone, Debug)]
struct Backend {
    /// Removed from the configuration.
    retired: bool,
    /// A check failed, and none has succeeded since.
    down: bool,
    /// Ejected until then at least, in time since the start.
    ejected: Option<Duration>,
    /// Failures in a row, and two known clients that had them.
    run: u32,
    clients: [Option<ClientKey>; 2],
    /// Ejections lately.
    ejections: u32,
    last_ejected: Duration,
    /// Others go first until then.
    suspect_until: Option<Duration>,
    /// Suspicions in a row.
    suspicions: u32,
}

impl Backend {
    const NEW: Self = Self {
        retired: false,
        down: false,
        ejected: None,
        run: 0,
        clients: [None; 2],
        ejections: 0,
        last_ejected: Duration::ZERO,
        suspect_until: None,
        suspicions: 0,
    };

    fn in_use(&self) -> bool {
        !self.retired && !self.down && self.ejected.is_none()
    }

    /// Whether nothing but its ejection keeps it out of use.
    fn only_ejected(&self) -> bool {
        !self.retired && !self.down && self.ejected.is_some()
    }

    fn clear(&mut self) {
        self.run = 0;
        self.clients = [None; 2];
    }
}

/// The health of all backends. See the module's documentation.
#[derive(Debug)]
pub struct Health {
    backends: Vec<Backend>,
    known: Vec<Option<ClientKey>>,
    random: RandomState,
}

impl Health {
    /// So many backends, all taken to be up until shown otherwise.
    pub fn new(backends: usize) -> Self {
        Self {
            backends: vec![Backend::NEW; backends],
            known: vec![None; KNOWN],
            random: RandomState::new(),
        }
    }

    /// More backends, up to so many.
    pub fn grow(&mut self, backends: usize) {
        self.backends
            .resize(backends.max(self.backends.len()), Backend::NEW);
    }

    /// A backend was removed from the configuration.
    pub fn retire(&mut self, backend: usize) {
        self.backends[backend].retired = true;
    }

    /// A backend that had been removed was configured again: it is to be checked.
    pub fn restore(&mut self, backend: usize) {
        self.backends[backend] = Backend {
            down: true,
            ..Backend::NEW
        };
    }

    /// A request by this client ended.
    pub fn report(
        &mut self,
        now: Duration,
        backend: usize,
        client: ClientKey,
        sign: Sign,
    ) -> Option<Change> {
        let place = (self.random.hash_one(client) as usize) % KNOWN;
        if sign == Sign::Good {
            self.known[place] = Some(client);
            let state = &mut self.backends[backend];
            state.clear();
            state.suspicions = 0;
            return state.suspect_until.take().map(|_| Change::Trust);
        }
        if sign == Sign::Unreachable {
            return self.backends[backend].in_use().then_some(Change::Check);
        }
        let known = self.known[place] == Some(client);
        let state = &mut self.backends[backend];
        state.run += 1;
        if known && !state.clients.contains(&Some(client)) {
            let [first, second] = &mut state.clients;
            *if first.is_none() { first } else { second } = Some(client);
        }
        let is_outlier = state.run >= RUN && state.clients.iter().all(Option::is_some);
        if is_outlier && state.in_use() && self.may_eject() {
            return Some(self.eject(now, backend));
        }
        let state = &mut self.backends[backend];
        if state.run < SUSPICION || state.suspect_until.is_some() {
            return None;
        }
        let length = FIRST_EJECTION * (1 << state.suspicions.min(16));
        state.suspicions += 1;
        state.suspect_until = Some(now + length.min(LONGEST_EJECTION));
        Some(Change::Suspect)
    }

    /// A backend whose time as a suspect is over: its next answer decides.
    pub fn trust(&mut self, now: Duration, backend: usize) -> Option<Change> {
        let state = &mut self.backends[backend];
        if state.suspect_until.is_none_or(|until| now < until) {
            return None;
        }
        state.suspect_until = None;
        state.run = state.run.max(SUSPICION - 1);
        Some(Change::Trust)
    }

    /// A check of a backend succeeded or failed.
    pub fn checked(&mut self, now: Duration, backend: usize, success: bool) -> Option<Change> {
        let state = &mut self.backends[backend];
        let was_in_use = state.in_use();
        state.down = !success;
        if success && state.ejected.is_some_and(|until| now >= until) {
            state.ejected = None;
        }
        match (was_in_use, state.in_use()) {
            (true, false) => Some(Change::Eject),
            (false, true) => {
                state.clear();
                Some(Change::Revive)
            }
            _ => None,
        }
    }

    /// A backend that is only ejected, and is needed now because no other is left.
    pub fn needed(&mut self) -> Option<usize> {
        if self.backends.iter().any(Backend::in_use) {
            return None;
        }
        let backend = self.backends.iter().position(Backend::only_ejected)?;
        self.backends[backend].ejected = None;
        self.backends[backend].clear();
        Some(backend)
    }

    /// Whether a backend is to be checked, so that it may be used again.
    pub fn wants_check(&self, now: Duration, backend: usize) -> bool {
        let state = &self.backends[backend];
        !state.retired && (state.down || state.ejected.is_some_and(|until| now >= until))
    }

    /// Whether at least half of all backends are left if one more goes.
    fn may_eject(&self) -> bool {
        let count = |fit: fn(&Backend) -> bool| self.backends.iter().filter(|b| fit(b)).count();
        let up = count(Backend::in_use);
        let all = count(|b| !b.retired);
        (up - 1) * 2 >= all
    }

    fn eject(&mut self, now: Duration, backend: usize) -> Change {
        let jitter = 0.75 + (self.random.hash_one((now, backend)) % 1024) as f64 / 2048.0;
        let state = &mut self.backends[backend];
        // Whoever was fit for ten times the longest ejection starts afresh.
        if now > state.last_ejected + 10 * LONGEST_EJECTION {
            state.ejections = 0;
        }
        let length = FIRST_EJECTION * (1 << state.ejections.min(16));
        let length = length.min(LONGEST_EJECTION).mul_f64(jitter);
        state.ejections += 1;
        state.last_ejected = now;
        state.ejected = Some(now + length);
        state.clear();
        Change::Eject
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ClientHasher;

    const NOW: Duration = Duration::from_secs(100);

    fn clients(count: u32) -> Vec<ClientKey> {
        let hasher = ClientHasher::default();
        (0..count).map(|n| hasher.key(&n.to_le_bytes())).collect()
    }

    /// Two backends, and clients that had good answers from the second.
    fn two(known: &[ClientKey]) -> Health {
        let mut health = Health::new(2);
        for &client in known {
            health.report(NOW, 1, client, Sign::Good);
        }
        health
    }

    fn fail(health: &mut Health, backend: usize, clients: &[ClientKey]) -> Option<Change> {
        let rounds = clients.iter().cycle().take(4 * RUN as usize);
        rounds
            .map(|&client| health.report(NOW, backend, client, Sign::Bad))
            .find_map(|change| change.filter(|change| *change == Change::Eject))
    }

    #[test]
    fn a_run_of_failures_of_two_known_clients_ejects() {
        let c = clients(3);
        let mut health = two(&c[..2]);
        assert_eq!(fail(&mut health, 0, &c[..2]), Some(Change::Eject));
        assert!(!health.wants_check(NOW, 0));
        // Not before its time is over, and then by a check.
        assert_eq!(health.checked(NOW, 0, true), None);
        let later = NOW + Duration::from_secs(2);
        assert!(health.wants_check(later, 0));
        assert_eq!(health.checked(later, 0, true), Some(Change::Revive));
    }

    #[test]
    fn one_client_or_strangers_cannot_eject() {
        let c = clients(3);
        let mut health = two(&c[..1]);
        assert_eq!(fail(&mut health, 0, &c[..1]), None);
        assert_eq!(fail(&mut health, 0, &c), None);
    }

    #[test]
    fn a_suspect_is_trusted_after_a_good_answer_or_a_while() {
        let client = clients(1)[0];
        let mut health = two(&[]);
        let bad = |health: &mut Health| health.report(NOW, 0, client, Sign::Bad);
        assert_eq!(bad(&mut health), None);
        assert_eq!(bad(&mut health), Some(Change::Suspect));
        assert_eq!(bad(&mut health), None);
        assert_eq!(health.trust(NOW, 0), None);
        let later = NOW + FIRST_EJECTION;
        assert_eq!(health.trust(later, 0), Some(Change::Trust));
        // The next bad answer is enough, and it takes longer then.
        assert_eq!(bad(&mut health), Some(Change::Suspect));
        assert_eq!(health.trust(later, 0), None);
        assert_eq!(
            health.report(NOW, 0, client, Sign::Good),
            Some(Change::Trust)
        );
    }

    #[test]
    fn a_good_answer_ends_a_run() {
        let c = clients(2);
        let mut health = two(&c);
        for _ in 0..50 {
            for n in 0..RUN - 1 {
                let client = c[n as usize % 2];
                let change = health.report(NOW, 0, client, Sign::Bad);
                assert_ne!(change, Some(Change::Eject));
            }
            health.report(NOW, 0, c[0], Sign::Good);
        }
    }

    #[test]
    fn never_more_than_half_are_ejected_but_all_may_be_down() {
        let c = clients(2);
        let mut health = two(&c);
        assert_eq!(fail(&mut health, 0, &c), Some(Change::Eject));
        assert_eq!(fail(&mut health, 1, &c), None);
        assert_eq!(health.needed(), None);
        assert_eq!(health.checked(NOW, 1, false), Some(Change::Eject));
        // Now the one that was only ejected is better than none.
        assert_eq!(health.needed(), Some(0));
        let mut alone = Health::new(1);
        alone.report(NOW, 0, c[0], Sign::Good);
        alone.report(NOW, 0, c[1], Sign::Good);
        assert_eq!(fail(&mut alone, 0, &c), None);
        assert_eq!(
            alone.report(NOW, 0, c[0], Sign::Unreachable),
            Some(Change::Check)
        );
        assert_eq!(alone.checked(NOW, 0, false), Some(Change::Eject));
        assert!(alone.wants_check(NOW, 0));
        assert_eq!(alone.checked(NOW, 0, true), Some(Change::Revive));
    }

    #[test]
    fn ejections_grow() {
        let c = clients(2);
        let mut health = two(&c);
        let mut now = NOW;
        let mut lengths = Vec::new();
        for _ in 0..6 {
            assert_eq!(
                (0..2 * RUN)
                    .filter_map(|n| health.report(now, 0, c[n as usize % 2], Sign::Bad))
                    .find(|change| *change == Change::Eject),
                Some(Change::Eject)
            );
            let start = now;
            while !health.wants_check(now, 0) {
                now += Duration::from_millis(10);
            }
            lengths.push(now.saturating_sub(start).as_secs_f64());
            assert_eq!(health.checked(now, 0, true), Some(Change::Revive));
        }
        assert!(lengths[0] >= 0.7 && lengths[0] <= 1.3, "{lengths:?}");
        assert!(lengths[5] > 20.0 && lengths[5] <= 48.0, "{lengths:?}");
    }
}
