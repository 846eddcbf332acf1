//! What all workers share: settings, the gate to the policy, health, counters, logs, memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::budget::Budget;
use crate::access_log::Log;
use crate::config::Config;
use crate::gate::Gate;
use crate::health::{Change, Health, Sign};
use crate::notes::Notes;
use crate::policy::ClientKey;
use crate::stats::WorkerStats;
use crate::tls::Tls;

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// The settings, which a reload replaces, and how often it did.
    config: Mutex<Arc<Config>>,
    generation: AtomicU64,
    /// The policy.
    pub gate: Gate,
    health: Mutex<Health>,
    /// How often somebody has asked for the backends to be checked.
    pub alarms: watch::Sender<u64>,
    /// Every worker's counters.
    pub stats: Vec<WorkerStats>,
    /// The access log.
    pub log: Log,
    /// Certificates and keys.
    pub tls: Tls,
    /// For whoever runs the proxy.
    pub notes: Notes,
    /// Memory for buffered bodies.
    pub memory: Arc<Budget>,
    /// When the proxy was started.
    pub started: Instant,
}

impl Shared {
    /// The shared state of a proxy with these settings.
    pub fn new(config: Config, tls: Tls, notes: Notes) -> Self {
        Self {
            gate: Gate::new(config.policy.clone()),
            health: Mutex::new(Health::new(config.backends.len())),
            alarms: watch::Sender::new(0),
            stats: (0..config.threads)
                .map(|_| WorkerStats::default())
                .collect(),
            log: Log::new(config.access_log),
            tls,
            notes,
            memory: Budget::new(config.buffer_total),
            started: Instant::now(),
            config: Mutex::new(Arc::new(config)),
            generation: AtomicU64::new(0),
        }
    }

    /// The settings as they are now.
    pub fn config(&self) -> Arc<Config> {
        lock(&self.config).clone()
    }

    /// How often the settings have changed.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes over settings that were read again. Returns a line for each difference.
    pub fn reload(&self, new: Config) -> Vec<String> {
        let old = self.config();
        let (config, lines) = old.taken_over_by(new);
        let mut health = lock(&self.health);
        health.grow(config.backends.len());
        for backend in 0..config.backends.len() {
            let was = backend < old.backends.len() && !old.retired.contains(&backend);
            let is = !config.retired.contains(&backend);
            if was && !is {
                health.retire(backend);
            } else if is && !was && backend < old.backends.len() {
                health.restore(backend);
            }
        }
        let policy = config.policy.clone();
        let retired = config.retired.clone();
        // Workers look up a backend's address before they call it: the addresses come first.
        *lock(&self.config) = Arc::new(config);
        self.generation.fetch_add(1, Ordering::Release);
        self.gate.configure(policy);
        for backend in retired {
            self.gate.eject(backend);
        }
        self.call_for_the_needed(&mut health);
        drop(health);
        self.alarm();
        lines
    }

    /// What a request says of its backend.
    ///
    /// The gate is told of changes under the lock, here and below: it must hear of them in their order, or
    /// a thread that is held up between the two would undo what has happened since.
    pub fn report(&self, backend: usize, client: ClientKey, sign: Sign) {
        let now = self.started.elapsed();
        let mut health = lock(&self.health);
        match health.report(now, backend, client, sign) {
            Some(Change::Check) => self.alarm(),
            Some(Change::Eject) => {
                self.eject(
                    backend,
                    "fails: several clients' requests in a row went wrong",
                );
            }
            Some(Change::Trust(trust)) => self.gate.trust(backend, trust),
            Some(Change::Revive) | None => {}
        }
    }

    /// Lets a backend's time as a suspect end.
    pub fn forgive(&self, backend: usize) {
        let mut health = lock(&self.health);
        if let Some(Change::Trust(trust)) = health.try_again(self.started.elapsed(), backend) {
            self.gate.trust(backend, trust);
        }
    }

    /// What a check says of a backend.
    pub fn checked(&self, backend: usize, success: bool, why: &str) {
        let now = self.started.elapsed();
        let mut health = lock(&self.health);
        match health.checked(now, backend, success) {
            Some(Change::Eject) => self.eject(backend, &format!("is down ({why})")),
            Some(Change::Revive) => self.revive(backend, "is up"),
            _ => {}
        }
        self.call_for_the_needed(&mut health);
    }

    /// Where no backend is left, one that is only ejected is better than none.
    fn call_for_the_needed(&self, health: &mut Health) {
        if let Some(backend) = health.needed() {
            self.revive(backend, "is used again, since no other is left");
        }
    }

    /// Has all backends checked now.
    fn alarm(&self) {
        self.alarms.send_modify(|count| *count += 1);
    }

    /// Whether a backend that is out of use is to be checked.
    pub fn wants_check(&self, backend: usize) -> bool {
        lock(&self.health).wants_check(self.started.elapsed(), backend)
    }

    fn eject(&self, backend: usize, why: &str) {
        self.gate.eject(backend);
        let config = self.config();
        let address = &config.backends[backend];
        self.notes
            .write(format_args!("backend {address} {why}; it gets no requests"));
        self.alarm();
    }

    fn revive(&self, backend: usize, why: &str) {
        self.gate.revive(backend);
        let config = self.config();
        let address = &config.backends[backend];
        self.notes.write(format_args!("backend {address} {why}"));
    }
}

/// What is behind these locks is whole even after a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
