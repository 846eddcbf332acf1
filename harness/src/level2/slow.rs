//! Slow clients: many connections that never finish a request, each by another part of it.
//!
//! They hold up whoever waits for them while something scarce is taken: a thread, a connection, or, worst,
//! a place at a backend. Each has a name of its own. One that is refused or closed is there again soon.

use std::time::{Duration, Instant};

use super::reactor::{Actor, Interests};
use super::socket::{Address, Incoming, Wire};

/// Time between two bytes, or two pieces, of a connection.
const INTERVAL: Duration = Duration::from_millis(200);
/// Bytes that a slow body is said to have.
const BODY: usize = 1_000_000;
/// Bytes of the answer that a slow reader asks for. A shield may well hold as much as that for everybody;
/// the kernel does not.
pub const ANSWER: usize = 512 * 1024;
/// Bytes that a slow reader takes at a time.
const SIP: usize = 1024;

/// What never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The head, sent byte by byte.
    Head,
    /// The body, sent byte by byte.
    Body,
    /// The answer, read in small pieces.
    Answer,
}

/// A number of slow connections.
pub struct SlowClients {
    target: Address,
    part: Part,
    connections: Vec<Option<Connection>>,
    next: Instant,
    closed: usize,
}

struct Connection {
    wire: Wire,
    /// The first bytes of the answer to a slow reader.
    start: Vec<u8>,
}

impl SlowClients {
    /// Starts at a time.
    pub fn new(target: Address, part: Part, count: usize, started: Instant) -> Self {
        let connections = (0..count).map(|_| None).collect();
        Self {
            target,
            part,
            connections,
            next: started,
            closed: 0,
        }
    }

    /// Connections that the solution closed or refused.
    pub fn closed(&self) -> usize {
        self.closed
    }

    /// What the connection with this number starts with.
    fn opening(&self, number: usize) -> String {
        let fields = format!("Host: localhost\r\nX-Forwarded-For: slow-{number}\r\n");
        match self.part {
            Part::Head => format!("GET / HTTP/1.1\r\n{fields}X-Slow: "),
            Part::Body => {
                format!("POST /?nonce=slow HTTP/1.1\r\n{fields}Content-Length: {BODY}\r\n\r\n")
            }
            Part::Answer => {
                format!("GET /?nonce=slow&size={ANSWER} HTTP/1.1\r\n{fields}\r\n")
            }
        }
    }

    fn open(&mut self, number: usize) {
        let opened = match self.part {
            Part::Answer => self.target.connect_from_afar(),
            _ => self.target.connect(),
        };
        // Refused now; tried again the next time.
        let Ok(mut wire) = opened else {
            return;
        };
        if wire.send(self.opening(number).as_bytes()).is_ok() {
            let start = Vec::new();
            self.connections[number] = Some(Connection { wire, start });
        }
    }
}

impl Connection {
    /// Goes on a little; false if the other side has had enough.
    fn go_on(&mut self, part: Part) -> bool {
        if part != Part::Answer {
            return self.wire.send(b"x").is_ok();
        }
        match self.wire.receive_at_most(SIP) {
            Ok(Incoming::Nothing) => true,
            Ok(Incoming::Bytes(bytes)) => {
                if self.start.len() < STATUS.len() {
                    self.start.extend(bytes);
                    self.start.truncate(STATUS.len());
                }
                STATUS.starts_with(&self.start)
            }
            Ok(Incoming::End) | Err(_) => false,
        }
    }
}

/// How the answer starts that a slow reader stays for.
const STATUS: &[u8] = b"HTTP/1.1 200 ";

impl Actor for SlowClients {
    fn interests<'a>(&'a self, interests: &mut Interests<'a>) {
        // Slow readers look at their connections when it is time to.
        if self.part == Part::Answer {
            return;
        }
        for (number, connection) in self.connections.iter().enumerate() {
            if let Some(connection) = connection {
                interests.read(&connection.wire, number);
            }
        }
    }

    fn ready(&mut self, number: usize, _now: Instant) {
        let slot = &mut self.connections[number];
        // Whatever is said to an unfinished request, it is over.
        if let Some(connection) = slot
            && !matches!(connection.wire.receive(), Ok(Incoming::Nothing))
        {
            *slot = None;
            self.closed += 1;
        }
    }

    fn next_due(&self) -> Option<Instant> {
        (!self.connections.is_empty()).then_some(self.next)
    }

    fn wake(&mut self, now: Instant) {
        for number in 0..self.connections.len() {
            match &mut self.connections[number] {
                None => self.open(number),
                Some(connection) => {
                    if !connection.go_on(self.part) {
                        self.connections[number] = None;
                        self.closed += 1;
                    }
                }
            }
        }
        self.next = now + INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use super::super::backend::{Backend, Temper};
    use super::super::population::SLOTS;
    use super::super::reactor;
    use super::super::secret::Secret;
    use super::*;

    /// With nothing in between, slow clients take a backend's slots and give none back.
    #[test]
    fn slow_bodies_and_slow_readers_keep_the_slots_that_they_have() {
        for (part, most_answers) in [(Part::Body, 0), (Part::Answer, SLOTS)] {
            let temper = Temper {
                holds_little: true,
                ..Temper::default()
            };
            let address = Address::Tcp(([127, 0, 0, 1], 0).into());
            let mut backend = Backend::new(address, Secret::new(), temper).unwrap();
            let started = Instant::now();
            let mut slow = SlowClients::new(backend.address().clone(), part, 4, started);
            // A second, and longer only where a machine is so busy that they have not come by then.
            let held = |backend: &Backend| backend.tally().occupancy.last().map_or(0, |at| at.1);
            let mut until = started + Duration::from_secs(1);
            while held(&backend) < 4 {
                assert!(started.elapsed() < Duration::from_secs(60));
                reactor::run(&mut [&mut slow, &mut backend], until, &mut || false).unwrap();
                until += Duration::from_millis(100);
            }
            assert_eq!(held(&backend), 4, "{part:?}");
            assert!(backend.tally().answered <= most_answers, "{part:?}");
        }
    }
}
