//! A backend of the simulated world: two slots, four places to wait, 75 ms of work a request.

use std::collections::BTreeMap;
use std::io;
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

/// How a backend behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Temper {
    /// It dies of an overflow, as in 2014, instead of answering 500.
    pub strict: bool,
    /// It works as long as the request's `cost` parameter says, where it has one.
    pub honours_cost: bool,
}

/// What a backend counts.
#[derive(Clone, Debug, Default)]
pub struct BackendTally {
    /// Answers sent after a full service.
    pub answered: usize,
    /// Requests that found slots and queue full.
    pub overflows: usize,
    /// The most requests that waited at once.
    pub longest_queue: usize,
    /// Answers since it came back; none if it never was away.
    pub answered_since_revival: Option<usize>,
    /// Work begun, in milliseconds, whoever still listens when it ends.
    pub work_ms: u64,
    /// When it held more or fewer requests than before, and how many then.
    pub occupancy: Vec<(Instant, usize)>,
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
    work: Vec<Work>,
    connections: BTreeMap<usize, Connection>,
    next_key: usize,
    /// Times at which it dies and comes back, in turn.
    switches: Vec<Instant>,
    tally: BackendTally,
}

/// A request for an HMAC.
struct Task {
    connection: usize,
    nonce: String,
    service: Duration,
}

/// A request that occupies a slot.
struct Work {
    due: Instant,
    task: Task,
}

struct Connection {
    wire: Wire,
    inbox: Vec<u8>,
    /// A request of this connection waits or is in work; the next has to wait for its answer.
    busy: bool,
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
            work: Vec::new(),
            connections: BTreeMap::new(),
            next_key: LISTENER + 1,
            switches: Vec::new(),
            tally: BackendTally::default(),
        })
    }

    /// The address it listens at, with the port that it got.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Lets it die at one time and come back at another.
    pub fn plan_outage(&mut self, from: Instant, to: Instant) {
        self.switches.extend([from, to]);
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
            let connection = Connection {
                wire,
                inbox: Vec::new(),
                busy: false,
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
                connection.inbox.len() <= MAX_INBOX
            }
        };
        if !open {
            self.connections.remove(&key);
            return;
        }
        self.take_requests(key, now);
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
            self.handle(key, &request, now);
        }
    }

    fn handle(&mut self, key: usize, request: &Request, now: Instant) {
        let nonce = request.parameter("nonce");
        match (request.method.as_str(), nonce) {
            ("HEAD", _) if request.path() == self.secret.health_path() => {
                self.answer(key, "200 OK", "");
            }
            ("GET", Some(nonce)) => {
                let asked = request
                    .parameter("cost")
                    .filter(|_| self.temper.honours_cost);
                let cost = asked.and_then(|ms| ms.parse().ok()).unwrap_or(SERVICE_MS);
                let service = Duration::from_millis(cost.clamp(1, MAX_COST_MS));
                let task = Task {
                    connection: key,
                    nonce: nonce.to_owned(),
                    service,
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
        self.work.push(Work {
            due: from + task.service,
            task,
        });
    }

    /// Ends the services that are due. A request that waited starts when the one before it was due,
    /// not when this thread came round to it: the backend's pace is exact.
    fn finish_due(&mut self, now: Instant) {
        while let Some(position) = self.earliest().filter(|&at| self.work[at].due <= now) {
            let Work { due, task } = self.work.swap_remove(position);
            let connections = &self.connections;
            let next = self
                .queue
                .finish(|task| connections.contains_key(&task.connection));
            if let Some(next) = next {
                self.start(next, due);
            }
            self.note(now);
            if self.connections.contains_key(&task.connection) {
                self.tally.answered += 1;
                if let Some(answered) = &mut self.tally.answered_since_revival {
                    *answered += 1;
                }
                let body = format!(r#"{{"hmac":"{}"}}"#, self.secret.hmac(&task.nonce));
                self.answer(task.connection, "200 OK", &body);
                self.take_requests(task.connection, now);
            }
        }
    }

    fn earliest(&self) -> Option<usize> {
        (0..self.work.len()).min_by_key(|&at| self.work[at].due)
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
        let service = self.earliest().map(|at| self.work[at].due);
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
