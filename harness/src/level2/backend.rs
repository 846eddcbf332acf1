//! A backend of the simulated world: two slots, four places to wait, 75 ms of work a request.
//!
//! It works like a server of the plainest kind: a slot is taken from the moment that a request's head has
//! come until the last byte of the answer is with the kernel, so whoever sends or reads slowly holds it up.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::population::{ROOM, SERVICE_MS, SLOTS};
use super::queue::{Admission, Queue};
use super::reactor::{Actor, Interests};
use super::secret::Secret;
use super::socket::{Address, Incoming, Wire, accept, listen};
use crate::console;
use crate::http::Request;

/// The key of the listening socket; connections count up from the next.
const LISTENER: usize = 0;
/// Bytes that may pile up behind a request in work before the connection is given up.
const MAX_INBOX: usize = 64 * 1024;
/// The longest service that a request may ask for, in milliseconds.
const MAX_COST_MS: u64 = 1000;
/// The largest answer that a request may ask for, in bytes.
const MAX_SIZE: usize = 1 << 20;

/// How a backend behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Temper {
    /// It dies of an overflow, as in 2014, instead of answering 500.
    pub strict: bool,
    /// It works as long as the request's `cost` parameter says, where it has one.
    pub honours_cost: bool,
    /// The kernel holds little of its answers.
    pub holds_little: bool,
}

/// What a backend may suffer from for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// It is not there: connections break and are refused.
    Away,
    /// It answers 500 at once instead of working.
    Failing,
    /// Its work takes so many times as long.
    Slow(u32),
}

/// What a backend counts.
#[derive(Clone, Debug, Default)]
pub struct BackendTally {
    /// Answers sent after a full service.
    pub answered: usize,
    /// Requests that found slots and queue full.
    pub overflows: usize,
    /// Requests that it answered with 500 since it was failing.
    pub failures: usize,
    /// The most requests that waited at once.
    pub longest_queue: usize,
    /// Answers since it came back; none if it never was away.
    pub answered_since_revival: Option<usize>,
    /// Work begun, in milliseconds, whoever still listens when it ends.
    pub work_ms: u64,
    /// When it held more or fewer requests than before, and how many then.
    pub occupancy: Vec<(Instant, usize)>,
}

/// How many requests a backend holds now, for who looks on from outside.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Rc<Cell<usize>>);

impl Gauge {
    /// The number.
    pub fn get(&self) -> usize {
        self.0.get()
    }
}

/// A backend as a server of connections.
pub struct Backend {
    address: Address,
    /// None while it is dead.
    listener: Option<Socket>,
    /// Holds the address while it is dead.
    reserved: Option<Socket>,
    secret: Secret,
    temper: Temper,
    queue: Queue<Task>,
    gauge: Gauge,
    work: Vec<Work>,
    connections: BTreeMap<usize, Connection>,
    next_key: usize,
    /// Times at which it dies and comes back, in turn.
    switches: Vec<Instant>,
    /// When it fails or is slow.
    spells: Vec<(Instant, Instant, Ailment)>,
    tally: BackendTally,
}

/// A request for an HMAC.
struct Task {
    connection: usize,
    nonce: String,
    service: Duration,
    /// Bytes that the answer is to have at least.
    size: usize,
}

/// A request that occupies a slot.
struct Work {
    stage: Stage,
    task: Task,
}

/// How far a request in a slot is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its body has not come yet.
    Reading,
    /// It is worked on until then.
    Working(Instant),
    /// Its answer is not sent yet.
    Answering,
}

struct Connection {
    wire: Wire,
    inbox: Vec<u8>,
    /// A request of this connection waits or is in work; the next has to wait for its answer.
    busy: bool,
    /// Bytes of that request's body that have not come yet.
    body_left: usize,
    /// The last request asked for the connection to be closed after its answer.
    closing: bool,
}

impl Backend {
    /// Starts to listen.
    pub fn new(address: Address, secret: Secret, temper: Temper) -> io::Result<Self> {
        let socket = address.bind()?;
        listen(&socket)?;
        let address = match (&address, socket.local_addr()?.as_socket()) {
            (Address::Tcp(_), Some(bound)) => Address::Tcp(bound),
            _ => address,
        };
        Ok(Self {
            address,
            listener: Some(socket),
            reserved: None,
            secret,
            temper,
            queue: Queue::new(SLOTS, ROOM),
            gauge: Gauge::default(),
            work: Vec::new(),
            connections: BTreeMap::new(),
            next_key: LISTENER + 1,
            switches: Vec::new(),
            spells: Vec::new(),
            tally: BackendTally::default(),
        })
    }

    /// The address it listens at, with the port that it got.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Lets it suffer from something from one time to another. Two outages must not overlap.
    pub fn plan(&mut self, ailment: Ailment, from: Instant, to: Instant) {
        match ailment {
            Ailment::Away => self.switches.extend([from, to]),
            _ => self.spells.push((from, to, ailment)),
        }
    }

    /// How many times as long as usual work takes that is begun now; `None`: it fails at once.
    fn slowness(&self, now: Instant) -> Option<u32> {
        let here = |&&(from, to, _): &&(Instant, Instant, Ailment)| from <= now && now < to;
        match self.spells.iter().find(here) {
            Some((_, _, Ailment::Failing)) => None,
            Some((_, _, Ailment::Slow(times))) => Some(*times),
            _ => Some(1),
        }
    }

    /// What shows how many requests it holds while it is at work.
    pub fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// What it counted so far.
    pub fn tally(&self) -> BackendTally {
        let longest_queue = self.tally.longest_queue.max(self.queue.longest());
        BackendTally {
            longest_queue,
            ..self.tally.clone()
        }
    }

    /// Loses its connections and all that it was doing; the address refuses from now on.
    fn die(&mut self) {
        self.tally = self.tally();
        self.connections.clear();
        self.work.clear();
        self.queue = Queue::new(SLOTS, ROOM);
        self.listener = None;
        // A bound socket that does not listen refuses connections and keeps the address ours.
        match self.address.bind() {
            Ok(socket) => self.reserved = Some(socket),
            Err(error) => console::log(&format!("level 2: {}: {error}", self.address)),
        }
    }

    fn revive(&mut self) {
        let Some(socket) = self.reserved.take() else {
            return;
        };
        match listen(&socket) {
            Ok(()) => self.listener = Some(socket),
            Err(error) => console::log(&format!("level 2: {}: {error}", self.address)),
        }
        self.tally.answered_since_revival = Some(0);
    }

    fn accept_all(&mut self) {
        while let Some(Ok(Some(wire))) = self.listener.as_ref().map(accept) {
            if self.temper.holds_little
                && let Err(error) = wire.hold_little()
            {
                console::log(&format!("level 2: {}: {error}", self.address));
            }
            let connection = Connection {
                wire,
                inbox: Vec::new(),
                busy: false,
                body_left: 0,
                closing: false,
            };
            self.connections.insert(self.next_key, connection);
            self.next_key += 1;
        }
    }

    /// Reads and sends what it can; an error or the peer's end closes the connection.
    fn serve(&mut self, key: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let open = match (connection.wire.flush(), connection.wire.receive()) {
            (Err(_), _) | (_, Err(_) | Ok(Incoming::End)) => false,
            (Ok(_), Ok(Incoming::Nothing)) => !connection.done(),
            (Ok(_), Ok(Incoming::Bytes(bytes))) => {
                connection.inbox.extend(bytes);
                connection.take_body();
                connection.inbox.len() <= MAX_INBOX
            }
        };
        if open {
            self.proceed(key, now);
            self.take_requests(key, now);
        } else {
            self.disconnect(key, now);
        }
    }

    /// Closes a connection. What is in work for it goes on; what waits for it or for its peer does not.
    fn disconnect(&mut self, key: usize, now: Instant) {
        self.connections.remove(&key);
        let waits =
            |work: &Work| work.task.connection == key && !matches!(work.stage, Stage::Working(_));
        if let Some(position) = self.work.iter().position(waits) {
            self.work.swap_remove(position);
            self.give_slot(now, now);
        }
    }

    /// Goes on with a request whose body has come, or whose answer is sent.
    fn proceed(&mut self, key: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let position = self
            .work
            .iter()
            .position(|work| work.task.connection == key);
        let Some(position) = position else {
            return;
        };
        let work = &mut self.work[position];
        match work.stage {
            Stage::Reading if connection.body_left == 0 => {
                work.stage = Stage::Working(now + work.task.service);
            }
            Stage::Answering if !connection.wire.is_sending() => {
                connection.busy = false;
                self.work.swap_remove(position);
                self.give_slot(now, now);
            }
            _ => {}
        }
    }

    /// A slot has been free from a time on: the next that waits has it.
    fn give_slot(&mut self, from: Instant, now: Instant) {
        let connections = &self.connections;
        let next = self
            .queue
            .finish(|task| connections.contains_key(&task.connection));
        if let Some(next) = next {
            self.start(next, from);
        }
        self.note(now);
    }

    /// Handles the requests that have come in full, up to one that needs work.
    fn take_requests(&mut self, key: usize, now: Instant) {
        while let Some(connection) = self.connections.get_mut(&key) {
            if connection.busy || connection.closing {
                return;
            }
            let request = match Request::read(&connection.inbox) {
                Ok(None) => return,
                Ok(Some((request, used))) => {
                    connection.inbox.drain(..used);
                    request
                }
                Err(_) => {
                    connection.closing = true;
                    self.answer(key, "400 Bad Request", "");
                    return;
                }
            };
            connection.closing = !request.keep_alive;
            connection.body_left = request.body;
            connection.take_body();
            self.handle(key, &request, now);
        }
    }

    fn handle(&mut self, key: usize, request: &Request, now: Instant) {
        let nonce = request.parameter("nonce");
        match (request.method.as_str(), nonce) {
            ("HEAD", _) if request.path() == self.secret.health_path() => {
                self.answer(key, "200 OK", "");
            }
            ("GET" | "POST", Some(nonce)) => {
                let Some(slowness) = self.slowness(now) else {
                    self.tally.failures += 1;
                    self.answer(key, "500 Internal Server Error", "");
                    return;
                };
                let asked = request
                    .parameter("cost")
                    .filter(|_| self.temper.honours_cost);
                let cost = asked.and_then(|ms| ms.parse().ok()).unwrap_or(SERVICE_MS);
                let service = Duration::from_millis(cost.clamp(1, MAX_COST_MS)) * slowness;
                let size = request.parameter("size").and_then(|text| text.parse().ok());
                let task = Task {
                    connection: key,
                    nonce: nonce.to_owned(),
                    service,
                    size: size.unwrap_or(0).min(MAX_SIZE),
                };
                self.admit(task, now);
            }
            _ => self.answer(key, "400 Bad Request", ""),
        }
    }

    /// Notes how many requests it holds, if that has changed.
    fn note(&mut self, now: Instant) {
        let held = self.queue.held();
        if self.tally.occupancy.last().map_or(0, |(_, held)| *held) != held {
            self.tally.occupancy.push((now, held));
            self.gauge.0.set(held);
        }
    }

    fn admit(&mut self, task: Task, now: Instant) {
        let key = task.connection;
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.busy = true;
        }
        match self.queue.arrive(task) {
            (Admission::Starts, Some(task)) => self.start(task, now),
            (Admission::Overflows, _) => {
                self.tally.overflows += 1;
                if self.temper.strict {
                    self.die();
                } else {
                    self.answer(key, "500 Internal Server Error", "");
                }
            }
            _ => {}
        }
        self.note(now);
    }

    fn start(&mut self, task: Task, from: Instant) {
        self.tally.work_ms += task.service.as_millis() as u64;
        let is_read = self
            .connections
            .get(&task.connection)
            .is_none_or(|connection| connection.body_left == 0);
        let stage = if is_read {
            Stage::Working(from + task.service)
        } else {
            Stage::Reading
        };
        self.work.push(Work { stage, task });
    }

    /// Ends the services that are due. A request that waited starts when the one before it was due,
    /// not when this thread came round to it: the backend's pace is exact.
    fn finish_due(&mut self, now: Instant) {
        while let Some((due, position)) = self.earliest().filter(|(due, _)| *due <= now) {
            let task = self.work.swap_remove(position).task;
            let key = task.connection;
            if self.connections.contains_key(&key) {
                self.tally.answered += 1;
                if let Some(answered) = &mut self.tally.answered_since_revival {
                    *answered += 1;
                }
                self.answer(key, "200 OK", &self.body(&task));
            }
            let connection = self.connections.get_mut(&key);
            if let Some(connection) = connection.filter(|one| one.wire.is_sending()) {
                connection.busy = true;
                let stage = Stage::Answering;
                self.work.push(Work { stage, task });
                continue;
            }
            self.give_slot(due, now);
            self.take_requests(key, now);
        }
    }

    /// The answer to a request, as long as it asked for.
    fn body(&self, task: &Task) -> String {
        let hmac = self.secret.hmac(&task.nonce);
        if task.size == 0 {
            return format!(r#"{{"hmac":"{hmac}"}}"#);
        }
        let filling = "x".repeat(task.size);
        format!(r#"{{"hmac":"{hmac}","filling":"{filling}"}}"#)
    }

    /// The work that ends first: when, and where it is.
    fn earliest(&self) -> Option<(Instant, usize)> {
        let ends = self.work.iter().enumerate().filter_map(|(at, work)| {
            let Stage::Working(due) = work.stage else {
                return None;
            };
            Some((due, at))
        });
        ends.min()
    }

    fn answer(&mut self, key: usize, status: &str, body: &str) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        connection.busy = false;
        let close = if connection.closing {
            "Connection: close\r\n"
        } else {
            ""
        };
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{close}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if connection.wire.send(text.as_bytes()).is_err() || connection.done() {
            self.connections.remove(&key);
        }
    }
}

impl Connection {
    /// Drops what has come of a request's body.
    fn take_body(&mut self) {
        let come = self.body_left.min(self.inbox.len());
        self.inbox.drain(..come);
        self.body_left -= come;
    }

    /// Whether its last answer has been sent.
    fn done(&self) -> bool {
        self.closing && !self.busy && !self.wire.is_sending()
    }
}

impl Actor for Backend {
    fn interests<'a>(&'a self, interests: &mut Interests<'a>) {
        if let Some(listener) = &self.listener {
            interests.read(listener, LISTENER);
        }
        for (&key, connection) in &self.connections {
            interests.exchange(&connection.wire, key);
        }
    }

    fn ready(&mut self, key: usize, now: Instant) {
        match key {
            LISTENER => self.accept_all(),
            key => self.serve(key, now),
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let service = self.earliest().map(|(due, _)| due);
        service
            .into_iter()
            .chain(self.switches.first().copied())
            .min()
    }

    fn wake(&mut self, now: Instant) {
        self.finish_due(now);
        while self.switches.first().is_some_and(|&due| due <= now) {
            self.switches.remove(0);
            if self.listener.is_some() {
                self.die();
            } else {
                self.revive();
            }
        }
    }
}
