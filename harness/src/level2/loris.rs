//! Slow loris: many connections that send their request's head one byte at a time, for ever.

use std::time::{Duration, Instant};

use super::reactor::{Actor, Interests};
use super::socket::{Address, Incoming, Wire};

/// Time between two bytes of a connection.
const INTERVAL: Duration = Duration::from_millis(200);
/// What every connection starts with: a head that will never end.
const OPENING: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";

/// A number of slow connections; one that the solution closes is opened again.
pub struct Lorises {
    target: Address,
    connections: Vec<Option<Wire>>,
    next: Instant,
    closed: usize,
}

impl Lorises {
    /// Starts at a time.
    pub fn new(target: Address, count: usize, started: Instant) -> Self {
        let connections = (0..count).map(|_| None).collect();
        Self {
            target,
            connections,
            next: started,
            closed: 0,
        }
    }

    /// Connections that the solution closed.
    pub fn closed(&self) -> usize {
        self.closed
    }
}

impl Actor for Lorises {
    fn interests<'a>(&'a self, interests: &mut Interests<'a>) {
        for (key, wire) in self.connections.iter().enumerate() {
            if let Some(wire) = wire {
                interests.read(wire, key);
            }
        }
    }

    fn ready(&mut self, key: usize, _now: Instant) {
        let slot = &mut self.connections[key];
        if let Some(wire) = slot
            && matches!(wire.receive(), Ok(Incoming::End) | Err(_))
        {
            *slot = None;
            self.closed += 1;
        }
    }

    fn next_due(&self) -> Option<Instant> {
        (!self.connections.is_empty()).then_some(self.next)
    }

    fn wake(&mut self, now: Instant) {
        for slot in &mut self.connections {
            let sent = match slot {
                Some(wire) => wire.send(b"x"),
                None => match self.target.connect() {
                    Ok(mut wire) => {
                        let sent = wire.send(OPENING);
                        *slot = Some(wire);
                        sent
                    }
                    // Refused now; tried again with the next byte.
                    Err(_) => Ok(()),
                },
            };
            if sent.is_err() {
                *slot = None;
                self.closed += 1;
            }
        }
        self.next = now + INTERVAL;
    }
}
