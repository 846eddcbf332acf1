//! The load generator: plays a schedule of requests and keeps the outcome of each.
//!
//! In the regime of 2014 at most five connections are open: a request that finds them busy waits in
//! line, so the load is a closed loop. In the open regime every request gets a connection at once.
//! In both, a connection freed by an answer carries the next waiting request and is closed if none
//! waits; a request is given up after a second of silence on its connection.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::reactor::{Actor, Interests};
use super::secret::{Nonces, Secret};
use super::socket::{Address, Incoming, Wire};
use super::traffic::{Arrival, Traffic};
use crate::http::{Answer, AnswerReader, Malformed};

/// A request is given up after so much silence on its connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many requests that ended oddly are kept to be shown, of each kind.
const SAMPLES: usize = 3;
/// How much of an answer's body is kept of those, in bytes.
const SAMPLE_BYTES: usize = 200;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 200 with the right HMAC.
    Correct,
    /// 200 with anything else.
    Wrong,
    /// Any other status.
    Rejected(u16),
    /// Given up after a second of silence.
    TimedOut,
    /// The connection failed or its bytes made no sense.
    Broken,
}

/// The end of a request.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// When, in microseconds from the start.
    pub at_us: u64,
}

/// The load generator of one run.
pub struct Flood {
    target: Address,
    connection_limit: usize,
    traffic: Traffic,
    secret: Secret,
    nonces: Nonces,
    started: Instant,
    /// The next request of the schedule that is not due yet.
    next_arrival: usize,
    /// Requests that wait for a connection, in order.
    waiting: VecDeque<usize>,
    connections: BTreeMap<usize, Connection>,
    next_key: usize,
    outcomes: Vec<Option<Outcome>>,
    lateness: Vec<Duration>,
    samples: Samples,
}

/// The first few requests that ended oddly, in words.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Answered with status 200 and a wrong HMAC.
    pub wrong: Vec<String>,
    /// The connection failed, or what came made no sense.
    pub broken: Vec<String>,
}

struct Connection {
    wire: Wire,
    /// The place in the schedule of the request that it carries.
    request: usize,
    nonce: String,
    reader: AnswerReader,
    give_up: Instant,
}

/// What a run left behind, by place in the schedule.
pub struct Played {
    /// The schedule.
    pub traffic: Traffic,
    /// The end of each request; none if it was still waiting when the time was over.
    pub outcomes: Vec<Option<Outcome>>,
    /// How late the generator itself was, by request.
    pub lateness: Vec<Duration>,
    /// Slow connections that the solution closed, in the world that has such.
    pub slow_closed: usize,
    /// Requests that ended oddly.
    pub samples: Samples,
}

impl Flood {
    /// A generator that starts to play at `started`; without a limit every request gets its own
    /// connection.
    pub fn new(
        target: Address,
        connection_limit: Option<usize>,
        traffic: Traffic,
        secret: Secret,
        started: Instant,
    ) -> Self {
        let outcomes = vec![None; traffic.arrivals.len()];
        Self {
            target,
            connection_limit: connection_limit.unwrap_or(usize::MAX),
            traffic,
            secret,
            nonces: Nonces::new(),
            started,
            next_arrival: 0,
            waiting: VecDeque::new(),
            connections: BTreeMap::new(),
            next_key: 0,
            outcomes,
            lateness: Vec::new(),
            samples: Samples::default(),
        }
    }

    /// Ends the run.
    pub fn finish(self) -> Played {
        Played {
            traffic: self.traffic,
            outcomes: self.outcomes,
            lateness: self.lateness,
            samples: self.samples,
            slow_closed: 0,
        }
    }

    fn due(&self, arrival: &Arrival) -> Instant {
        self.started + Duration::from_micros(arrival.due_us)
    }

    /// Opens connections for waiting requests as long as the limit allows.
    fn connect_waiting(&mut self, now: Instant) {
        while self.connections.len() < self.connection_limit {
            let Some(request) = self.waiting.pop_front() else {
                return;
            };
            match self.target.connect() {
                Ok(wire) => {
                    let key = self.next_key;
                    self.next_key += 1;
                    self.dispatch(key, wire, request, now);
                }
                Err(error) => self.broke(request, &error.to_string(), now),
            }
        }
    }

    /// Sends a request on a connection, new or freed.
    fn dispatch(&mut self, key: usize, mut wire: Wire, request: usize, now: Instant) {
        let nonce = self.nonces.draw();
        let arrival = self.traffic.arrivals[request];
        let cost = arrival
            .cost_ms
            .map_or_else(String::new, |ms| format!("&cost={ms}"));
        let (method, length) = match arrival.upload {
            0 => ("GET", String::new()),
            bytes => ("POST", format!("Content-Length: {bytes}\r\n")),
        };
        let size = match arrival.download {
            0 => String::new(),
            bytes => format!("&size={bytes}"),
        };
        let mut text = format!(
            "{method} /?nonce={nonce}{cost}{size} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {}\r\n\
             {length}Connection: keep-alive\r\n\r\n",
            self.traffic.client(arrival.client).name
        )
        .into_bytes();
        text.resize(text.len() + arrival.upload, b'x');
        if let Err(error) = wire.send(&text) {
            self.broke(request, &error.to_string(), now);
            return;
        }
        let connection = Connection {
            wire,
            request,
            nonce,
            reader: AnswerReader::new(),
            give_up: now + PATIENCE,
        };
        self.connections.insert(key, connection);
    }

    fn settle(&mut self, request: usize, verdict: Verdict, now: Instant) {
        let at_us = now.saturating_duration_since(self.started).as_micros() as u64;
        self.outcomes[request] = Some(Outcome { verdict, at_us });
    }

    /// A request came to nothing.
    fn broke(&mut self, request: usize, why: &str, now: Instant) {
        if self.samples.broken.len() < SAMPLES {
            let client = self.client_of(request);
            let sample = format!("request {} of {client}: {why}", request + 1);
            self.samples.broken.push(sample);
        }
        self.settle(request, Verdict::Broken, now);
    }

    fn client_of(&self, request: usize) -> &str {
        &self
            .traffic
            .client(self.traffic.arrivals[request].client)
            .name
    }

    /// A whole answer came: judges it and gives the connection to the next waiting request.
    fn answered(&mut self, key: usize, answer: &Answer, now: Instant) {
        let Some(connection) = self.connections.remove(&key) else {
            return;
        };
        let verdict = match answer.status {
            200 if self.is_right(&connection, &answer.body) => Verdict::Correct,
            200 => {
                self.keep_wrong(connection.request, &connection.nonce, &answer.body);
                Verdict::Wrong
            }
            status => Verdict::Rejected(status),
        };
        self.settle(connection.request, verdict, now);
        if answer.keep_alive
            && let Some(next) = self.waiting.pop_front()
        {
            self.dispatch(key, connection.wire, next, now);
        }
    }

    fn keep_wrong(&mut self, request: usize, nonce: &str, body: &[u8]) {
        if self.samples.wrong.len() >= SAMPLES {
            return;
        }
        let shown = &body[..body.len().min(SAMPLE_BYTES)];
        let cut = if body.len() > SAMPLE_BYTES { "…" } else { "" };
        let sample = format!(
            "request {} of {}, nonce {nonce}: expected {{\"hmac\": \"{}\"}}, found {}{cut}",
            request + 1,
            self.client_of(request),
            self.secret.hmac(nonce),
            shown.escape_ascii()
        );
        self.samples.wrong.push(sample);
    }

    fn is_right(&self, connection: &Connection, body: &[u8]) -> bool {
        if body.len() < self.traffic.arrivals[connection.request].download {
            return false;
        }
        let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let hmac = body.as_ref().and_then(|body| body.get("hmac")?.as_str());
        hmac == Some(&self.secret.hmac(&connection.nonce))
    }

    /// Closes a connection whose request came to nothing.
    fn break_connection(&mut self, key: usize, why: &str, now: Instant) {
        if let Some(connection) = self.connections.remove(&key) {
            self.broke(connection.request, why, now);
        }
    }
}

impl Actor for Flood {
    fn interests<'a>(&'a self, interests: &mut Interests<'a>) {
        for (&key, connection) in &self.connections {
            interests.exchange(&connection.wire, key);
        }
    }

    fn ready(&mut self, key: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        match (connection.wire.flush(), connection.wire.receive()) {
            (Ok(sent), Ok(Incoming::Nothing)) => {
                if sent {
                    connection.give_up = now + PATIENCE;
                }
            }
            (Ok(_), Ok(Incoming::Bytes(bytes))) => {
                connection.give_up = now + PATIENCE;
                match connection.reader.feed(&bytes) {
                    Ok(None) => {}
                    Ok(Some(answer)) if answer.surplus => {
                        self.break_connection(key, &Malformed::Trailing.to_string(), now);
                    }
                    Ok(Some(answer)) => self.answered(key, &answer, now),
                    Err(error) => self.break_connection(key, &error.to_string(), now),
                }
            }
            (Ok(_), Ok(Incoming::End)) => match std::mem::take(&mut connection.reader).end() {
                Ok(answer) => self.answered(key, &answer, now),
                Err(error) => self.break_connection(key, &error.to_string(), now),
            },
            (Err(error), _) | (_, Err(error)) => {
                self.break_connection(key, &error.to_string(), now);
            }
        }
        self.connect_waiting(now);
    }

    fn next_due(&self) -> Option<Instant> {
        let arrival = self.traffic.arrivals.get(self.next_arrival);
        let arrival = arrival.map(|arrival| self.due(arrival));
        self.connections
            .values()
            .map(|connection| connection.give_up)
            .chain(arrival)
            .min()
    }

    fn wake(&mut self, now: Instant) {
        while let Some(arrival) = self.traffic.arrivals.get(self.next_arrival) {
            let due = self.due(arrival);
            if due > now {
                break;
            }
            self.lateness.push(now - due);
            self.waiting.push_back(self.next_arrival);
            self.next_arrival += 1;
        }
        let silent = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.give_up <= now);
        let silent: Vec<usize> = silent.map(|(&key, _)| key).collect();
        for key in silent {
            if let Some(connection) = self.connections.remove(&key) {
                self.settle(connection.request, Verdict::TimedOut, now);
            }
        }
        self.connect_waiting(now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::backend::{Backend, BackendTally, Temper};
    use super::super::population::{Population, SLOTS};
    use super::super::reactor;
    use super::*;

    /// Plays one second of the contest straight at a backend, with nothing in between.
    fn straight(connection_limit: Option<usize>, temper: Temper) -> (Played, BackendTally) {
        let secret = Secret::new();
        let address = Address::Tcp(([127, 0, 0, 1], 0).into());
        let mut backend = Backend::new(address, secret.clone(), temper).unwrap();
        // The third client of this seed is an elephant.
        let seed = "94fea7af56bdbcb75201fe0377c2904496a6a13f567530d3835509a34ec6aabf";
        let traffic = Population::draw(seed, 1).traffic();
        let started = Instant::now();
        let target = backend.address().clone();
        let mut flood = Flood::new(target, connection_limit, traffic, secret, started);
        let until = started + Duration::from_secs(1);
        reactor::run(&mut [&mut flood, &mut backend], until, &mut || false).unwrap();
        (flood.finish(), backend.tally())
    }

    fn count(played: &Played, wanted: Verdict) -> usize {
        let outcomes = played.outcomes.iter().flatten();
        outcomes.filter(|outcome| outcome.verdict == wanted).count()
    }

    #[test]
    fn five_connections_are_a_closed_loop_that_cannot_overrun_a_backend() {
        let (played, backend) = straight(Some(5), Temper::default());
        assert_eq!(backend.overflows, 0);
        assert!(
            backend.longest_queue <= 5 - SLOTS,
            "{}",
            backend.longest_queue
        );
        assert!(count(&played, Verdict::Correct) >= 2);
        assert_eq!(count(&played, Verdict::Wrong), 0);
        assert!(
            played.outcomes.iter().any(Option::is_none),
            "the flood waits in line"
        );
    }

    #[test]
    fn without_a_limit_the_flood_overruns_a_backend() {
        let (played, backend) = straight(None, Temper::default());
        assert!(backend.overflows > 0);
        assert_eq!(count(&played, Verdict::Rejected(500)), backend.overflows);
        assert!(count(&played, Verdict::Correct) >= 2);
    }

    #[test]
    fn a_strict_backend_dies_of_its_first_overflow() {
        let (played, backend) = straight(
            None,
            Temper {
                strict: true,
                ..Temper::default()
            },
        );
        assert_eq!(backend.overflows, 1);
        assert!(
            count(&played, Verdict::Broken) > 0,
            "connections are refused from then on"
        );
    }
}
