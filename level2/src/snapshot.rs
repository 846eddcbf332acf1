//! One look at the whole proxy, for the admin side's pages.

use serde_json::{Value, json};

use crate::policy::{Counters, Trust};
use crate::proxy::Shared;
use crate::stats::{CLASSES, STATUSES, Totals};

/// What is known of a backend.
#[derive(Debug)]
pub struct BackendState {
    /// Its address, as configured.
    pub address: String,
    /// Whether it is used.
    pub healthy: bool,
    /// Whether its latest answers were bad, so that it gets few requests or none.
    pub suspect: bool,
    /// Requests it has now.
    pub in_flight: u32,
    /// Requests it may have.
    pub limit: u32,
    /// Mean time of an answer, in seconds.
    pub latency_seconds: f64,
}

/// One look at the whole proxy.
#[derive(Debug)]
pub struct Snapshot {
    /// What the policy decided so far.
    pub policy: Counters,
    /// Requests waiting now.
    pub waiting: usize,
    /// Clients remembered.
    pub clients: usize,
    /// Bytes of the table of clients.
    pub table_bytes: usize,
    /// The backends that are used, and those that were removed but have requests still.
    pub backends: Vec<BackendState>,
    /// All workers' counters.
    pub totals: Totals,
    /// Bytes that are left for buffered bodies.
    pub buffer_left: usize,
    /// Lines of the access log that nobody read in time.
    pub log_dropped: u64,
    /// How often the settings were read again.
    pub reloads: u64,
    uptime_seconds: u64,
    dry_run: bool,
}

impl Snapshot {
    /// Looks now.
    pub fn of(shared: &Shared) -> Self {
        let config = shared.config();
        shared.gate.look(|policy| {
            let (clients, table_bytes) = policy.clients();
            let backends = policy.backends().iter().zip(&config.backends).enumerate();
            Self {
                policy: policy.counters(),
                waiting: policy.waiting(),
                clients,
                table_bytes,
                backends: backends
                    .filter(|(index, (backend, _))| {
                        backend.in_flight() > 0 || !config.retired.contains(index)
                    })
                    .map(|(_, (backend, address))| BackendState {
                        address: address.to_string(),
                        healthy: backend.healthy,
                        suspect: backend.trust != Trust::Full,
                        in_flight: backend.in_flight(),
                        limit: backend.limit.current(),
                        latency_seconds: backend.latency(),
                    })
                    .collect(),
                totals: Totals::of(&shared.stats),
                buffer_left: shared.memory.left(),
                log_dropped: shared.log.dropped(),
                reloads: shared.generation(),
                uptime_seconds: shared.started.elapsed().as_secs(),
                dry_run: config.policy.dry_run,
            }
        })
    }

    /// The page `/status`.
    pub fn to_json(&self) -> Value {
        let by_class = |counts: [u64; 3]| -> Value {
            let classes = CLASSES.iter().zip(counts);
            classes
                .map(|(class, count)| (class.to_string(), Value::from(count)))
                .collect()
        };
        let plain = self.totals.named().into_iter();
        let mut totals: serde_json::Map<String, Value> = plain
            .map(|(name, _, value)| (name.to_string(), Value::from(value)))
            .collect();
        for (group, status) in STATUSES.iter().enumerate() {
            let answers = self.totals.answers_of(group);
            totals.insert(format!("answers_{status}"), answers.into());
        }
        let backends: Vec<Value> = self
            .backends
            .iter()
            .map(|backend| {
                json!({
                    "address": backend.address,
                    "healthy": backend.healthy,
                    "suspect": backend.suspect,
                    "in_flight": backend.in_flight,
                    "limit": backend.limit,
                    "latency_ms": backend.latency_seconds * 1e3,
                })
            })
            .collect();
        json!({
            "uptime_seconds": self.uptime_seconds,
            "dry_run": self.dry_run,
            "reloads": self.reloads,
            "waiting": self.waiting,
            "buffer_left": self.buffer_left,
            "log_dropped": self.log_dropped,
            "clients": { "known": self.clients, "table_bytes": self.table_bytes },
            "policy": {
                "arrivals": by_class(self.policy.arrivals),
                "admitted": by_class(self.policy.admitted),
                "rejected": by_class(self.policy.rejected),
                "queued": self.policy.queued,
                "abandoned": self.policy.abandoned,
            },
            "backends": backends,
            "totals": totals,
        })
    }
}
