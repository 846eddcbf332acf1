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
//! Before that, and where one client is all there is, a shorter run makes a backend *suspect*: it gets
//! nothing while others are trusted. The first good answer of anybody ends that, as those that are in flight
//! there may give; without one it has a *trial* after a while, one request at a time, and so has a backend that
//! was out of use.
//!
//! Requests that break whatever they meet say nothing of a backend: failures of a client count for as long as
//! they were all at the same one since its last good answer. Clients without any are as one in this.

mod checker;
#[cfg(test)]
mod properties;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

pub use checker::{Checker, Found};

use crate::policy::{ClientKey, Trust};

/// Failures in a row after which a backend is an outlier (as in Envoy).
const RUN: u32 = 5;

/// Failures in a row after which others get its requests.
const SUSPICION: u32 = 2;

/// Time of the first suspicion; each further one without a good answer is twice as long, up to the longest.
const FIRST_SUSPICION: Duration = Duration::from_millis(200);
const LONGEST_SUSPICION: Duration = Duration::from_secs(8);

/// Length of the first ejection; each further one is twice as long.
const FIRST_EJECTION: Duration = Duration::from_secs(1);

/// Longest ejection, before jitter.
const LONGEST_EJECTION: Duration = Duration::from_secs(60);

/// Clients remembered for having had a good answer; later ones take the place of earlier ones.
const KNOWN: usize = 4096;

/// What one request says of its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It is being answered, and not with a failure of the server. How that ends will be told.
    Begun,
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
    /// Trust it so far.
    Trust(Trust),
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
    trust: Trust,
    /// A suspect's trial is not before that.
    trial: Duration,
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
        trust: Trust::Full,
        trial: Duration::ZERO,
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

    /// It is in use again.
    fn revive(&mut self) {
        self.clear();
        self.trust = Trust::Trial;
    }

    fn trust(&mut self, trust: Trust) -> Option<Change> {
        let before = std::mem::replace(&mut self.trust, trust);
        (before != trust).then_some(Change::Trust(trust))
    }
}

/// A client that had a good answer, and where it failed since.
#[derive(Clone, Copy, Debug)]
struct Known {
    client: ClientKey,
    failed: Places,
}

/// A set of backends, a bit each; those with the same bit are taken for one.
#[derive(Clone, Copy, Debug, Default)]
struct Places(u64);

impl Places {
    /// Adds one. Whether there is no other.
    fn only(&mut self, backend: usize) -> bool {
        let bit = 1 << (backend % 64);
        self.0 |= bit;
        self.0 == bit
    }
}

/// The health of all backends. See the module's documentation. On cache lines of its own, since it changes
/// with every answer.
#[derive(Debug)]
#[repr(align(128))]
pub struct Health {
    backends: Vec<Backend>,
    known: Vec<Option<Known>>,
    /// Where clients failed that are not known, since one of them has become it.
    strangers: Places,
    random: RandomState,
}

impl Health {
    /// So many backends, all taken to be up until shown otherwise.
    pub fn new(backends: usize) -> Self {
        Self {
            backends: vec![Backend::NEW; backends],
            known: vec![None; KNOWN],
            strangers: Places::default(),
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

    /// A request by this client has been answered in part, or has ended.
    pub fn report(
        &mut self,
        now: Duration,
        backend: usize,
        client: ClientKey,
        sign: Sign,
    ) -> Option<Change> {
        let place = (self.random.hash_one(client) as usize) % KNOWN;
        let known = self.known[place]
            .as_mut()
            .filter(|known| known.client == client);
        let state = &mut self.backends[backend];
        match sign {
            Sign::Begun if state.trust == Trust::Trial => state.trust(Trust::Full),
            Sign::Begun => None,
            Sign::Good => {
                if known.is_none() {
                    self.strangers = Places::default();
                }
                self.known[place] = Some(Known {
                    client,
                    failed: Places::default(),
                });
                state.clear();
                state.suspicions = 0;
                state.trust(Trust::Full)
            }
            Sign::Unreachable => state.in_use().then_some(Change::Check),
            Sign::Bad => {
                let is_known = known.is_some();
                let failed = known.map_or(&mut self.strangers, |known| &mut known.failed);
                if !failed.only(backend) {
                    return None;
                }
                state.run += 1;
                if is_known && !state.clients.contains(&Some(client)) {
                    let [first, second] = &mut state.clients;
                    *if first.is_none() { first } else { second } = Some(client);
                }
                let is_outlier = state.run >= RUN && state.clients.iter().all(Option::is_some);
                if is_outlier && state.in_use() && self.may_eject() {
                    return Some(self.eject(now, backend));
                }
                self.suspect(now, backend)
            }
        }
    }

    /// A backend failed: whether it becomes a suspect.
    fn suspect(&mut self, now: Duration, backend: usize) -> Option<Change> {
        let state = &mut self.backends[backend];
        let enough = state.run >= SUSPICION || state.trust == Trust::Trial;
        if !enough || state.trust == Trust::None {
            return None;
        }
        let length = FIRST_SUSPICION * (1 << state.suspicions.min(16));
        state.suspicions += 1;
        state.trial = now + length.min(LONGEST_SUSPICION);
        state.trust(Trust::None)
    }

    /// A backend whose time as a suspect is over: its next answer decides.
    pub fn try_again(&mut self, now: Duration, backend: usize) -> Option<Change> {
        let state = &mut self.backends[backend];
        if state.trust != Trust::None || now < state.trial {
            return None;
        }
        state.trust(Trust::Trial)
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
                state.revive();
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
        self.backends[backend].revive();
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
    fn a_suspect_is_trusted_after_a_good_answer_and_tried_after_a_while() {
        let client = clients(1)[0];
        let mut health = two(&[]);
        let told = |health: &mut Health, sign| health.report(NOW, 0, client, sign);
        let trust = |trust| Some(Change::Trust(trust));
        assert_eq!(told(&mut health, Sign::Bad), None);
        assert_eq!(told(&mut health, Sign::Bad), trust(Trust::None));
        assert_eq!(told(&mut health, Sign::Bad), None);
        assert_eq!(told(&mut health, Sign::Begun), None);
        assert_eq!(health.try_again(NOW, 0), None);
        let later = NOW + FIRST_SUSPICION;
        assert_eq!(health.try_again(later, 0), trust(Trust::Trial));
        // The next bad answer is enough, and it takes longer then.
        assert_eq!(told(&mut health, Sign::Bad), trust(Trust::None));
        assert_eq!(health.try_again(later, 0), None);
        assert_eq!(
            health.try_again(later + FIRST_SUSPICION, 0),
            trust(Trust::Trial)
        );
        // One that begins well may go on for hours; if it breaks off, that was nothing.
        assert_eq!(told(&mut health, Sign::Begun), trust(Trust::Full));
        assert_eq!(told(&mut health, Sign::Bad), trust(Trust::None));
        assert_eq!(told(&mut health, Sign::Good), trust(Trust::Full));
        assert_eq!(told(&mut health, Sign::Bad), None);
    }

    #[test]
    fn requests_that_fail_everywhere_say_nothing_whatever_names_they_have() {
        let c = clients(300);
        let mut health = two(&c[..3]);
        let changes = |health: &mut Health, backend: usize, client: ClientKey| {
            health.report(NOW, backend, client, Sign::Bad).is_some()
        };
        // Of a known client, and of strangers, while polite ones are answered.
        for wicked in [&c[..1], &c[100..]] {
            for backend in [0, 1] {
                changes(&mut health, backend, wicked[0]);
            }
            for (n, &client) in wicked.iter().cycle().take(500).enumerate() {
                assert!(!changes(&mut health, n / 7 % 2, client));
                health.report(NOW, n % 2, c[1 + n % 2], Sign::Good);
            }
        }
        // A backend that fails where the other does not is found out all the same.
        let suspected = (0..6).any(|n| {
            let change = changes(&mut health, 0, c[100 + n]);
            health.report(NOW, 1, c[200 + n], Sign::Good);
            change
        });
        assert!(suspected);
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
