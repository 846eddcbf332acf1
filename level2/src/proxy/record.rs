//! What is remembered of a request until it is over: for the log, the metrics and the health of backends.

use std::time::{Duration, Instant};

use super::worker::Worker;
use crate::access_log;
use crate::policy::Class;

/// A request that is over, whichever way.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Status of the answer; 0 if none went out.
    pub status: u16,
    /// Bytes of content sent.
    pub bytes: u64,
    /// What becomes of the connection.
    pub next: Next,
}

/// What becomes of a client's connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next request may come.
    Keep,
    /// Close, when what was written has arrived.
    Close,
    /// Close at once.
    Drop,
}

impl Ended {
    /// Ended without an answer, or within one.
    pub const DROPPED: Self = Self {
        status: 0,
        bytes: 0,
        next: Next::Drop,
    };
}

/// A request's way through the proxy.
#[derive(Debug, Default)]
pub struct Record {
    /// The client's name; empty while it is not known.
    pub client: String,
    /// The method; empty if the head was not understood.
    pub method: String,
    /// The target as it came.
    pub target: String,
    /// When the head was complete, or found to be wrong.
    pub started: Option<Instant>,
    /// When it was given its place at a backend.
    pub admitted: Option<Instant>,
    /// When it was turned away instead.
    pub turned_away: Option<Instant>,
    /// When the backend was done with it.
    pub served: Option<Instant>,
    /// How the policy saw its client.
    pub class: Option<Class>,
    /// The backend, if one was asked.
    pub backend: Option<usize>,
}

impl Record {
    /// Forgets everything: the next request begins. Keeps the memory.
    pub fn clear(&mut self) {
        self.client.clear();
        self.method.clear();
        self.target.clear();
        (self.started, self.admitted, self.turned_away) = (None, None, None);
        (self.served, self.class, self.backend) = (None, None, None);
    }

    /// Counts and logs the request.
    pub fn close(&self, worker: &Worker, peer: &str, ended: Ended) {
        let now = Instant::now();
        let started = self.started.unwrap_or(now);
        let waited = self
            .admitted
            .or(self.turned_away)
            .map_or(Duration::ZERO, |admitted| admitted - started);
        let service = self
            .admitted
            .map(|admitted| self.served.unwrap_or(now) - admitted);
        let took = now - started;
        if ended.status > 0 {
            worker
                .stats()
                .answered(ended.status, self.class, took, waited, service);
        }
        let log = &worker.shared.log;
        if !log.is_on() {
            return;
        }
        let config = worker.config();
        let address = self
            .backend
            .and_then(|backend| config.backends.get(backend))
            .map(ToString::to_string);
        log.write(&access_log::Entry {
            peer,
            client: &self.client,
            class: self.class,
            method: &self.method,
            target: &self.target,
            status: ended.status,
            bytes: ended.bytes,
            took,
            waited,
            service,
            backend: address.as_deref(),
        });
    }
}
