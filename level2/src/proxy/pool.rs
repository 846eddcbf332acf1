//! Idle connections to the backends, kept for the next request.

use super::conn::Conn;
use super::timer::Millis;

/// How long an idle connection to a backend is kept. Most servers close theirs after 5 s or more; one
/// that is closed just as it is used costs a retry, or an error where none is allowed.
const LONGEST_IDLE: Millis = 4_000;

/// Idle connections kept per backend and worker.
const LARGEST: usize = 256;

/// An idle connection to a backend.
#[derive(Debug)]
struct Pooled {
    conn: Conn,
    since: Millis,
}

/// One worker's idle connections, by backend.
#[derive(Debug, Default)]
pub struct Pool {
    backends: Vec<Vec<Pooled>>,
}

impl Pool {
    /// The connection used last, if there is one that still stands.
    pub fn take(&mut self, backend: usize, now: Millis) -> Option<Conn> {
        while let Some(Pooled { conn, since }) = self.backends.get_mut(backend)?.pop() {
            if since + LONGEST_IDLE > now && conn.stream.is_silent() {
                return Some(conn);
            }
        }
        None
    }

    /// Keeps a connection, unless something is left in it or there are enough.
    pub fn keep(&mut self, backend: usize, mut conn: Conn, now: Millis) {
        if self.backends.len() <= backend {
            self.backends.resize_with(backend + 1, Vec::new);
        }
        let kept = &mut self.backends[backend];
        if conn.input.is_empty() && conn.unsent() == 0 && kept.len() < LARGEST {
            conn.shrink();
            kept.push(Pooled { conn, since: now });
        }
    }

    /// Closes all.
    pub fn clear(&mut self) {
        self.backends.clear();
    }

    /// Closes what was not used for too long.
    pub fn sweep(&mut self, now: Millis) {
        for kept in &mut self.backends {
            kept.retain(|pooled| pooled.since + LONGEST_IDLE > now);
        }
    }
}
