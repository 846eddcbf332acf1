//! A client's connection: its requests one after another, from head to answer.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::conn::Conn;
use super::exchange::{Done, Exchange, Failure};
use super::fan_out;
use super::pump::Pump;
use super::timer::{Stage, Timer};
use super::worker::{Busy, Permit, Worker};
use crate::access_log;
use crate::gate::Entry;
use crate::http::body::{Encoder, Framing};
use crate::http::request::{self, BadRequest, Request, Sender};
use crate::http::response::Asker;
use crate::net::Stream;
use crate::policy::{ClientKey, Outcome, Reason};
use crate::stats::count;
use crate::trust::Peer;

/// Time for which a closed connection is still read, so that the last answer is not lost: closing with
/// input unread makes the kernel reset the connection, and the client may drop what it had received.
const LINGER: Duration = Duration::from_secs(2);

/// Largest body that is read and dropped to keep the connection after a refusal.
const WORTH_SKIPPING: u64 = 64 * 1024;

/// How a request ended, as far as the connection is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The next request may come.
    Keep,
    /// Close, when what was written has arrived.
    Close,
    /// Close at once.
    Drop,
}

struct Client {
    worker: Rc<Worker>,
    timer: Rc<Timer>,
    conn: Conn,
    peer: Peer,
    peer_name: String,
    trusted: bool,
    /// The translated head of the request being served: kept for a second attempt.
    head: Vec<u8>,
    /// What the access log will say, where it is on.
    logged: Logged,
}

#[derive(Default)]
struct Logged {
    client: String,
    method: String,
    target: String,
    backend: Option<usize>,
}

/// Serves a connection until it is closed.
pub async fn serve(worker: Rc<Worker>, _busy: Busy, stream: Stream, peer: Peer) {
    let timer = worker.timer();
    let mut client = Client {
        timer,
        conn: Conn::new(stream),
        peer_name: peer.to_string(),
        trusted: worker.shared.config.trust.trusts(peer),
        peer,
        head: Vec::new(),
        logged: Logged::default(),
        worker,
    };
    let end = loop {
        match client.request().await {
            Next::Keep => client.conn.shrink(),
            end => break end,
        }
    };
    if end == Next::Close {
        client.linger().await;
    }
    count(&client.worker.stats().connections_closed);
}

impl Client {
    /// Reads a request and sees it through.
    async fn request(&mut self) -> Next {
        self.head.clear();
        let (request, key) = match self.next_head().await {
            Ok(Some(found)) => found,
            Ok(None) => return Next::Drop,
            Err(bad) => {
                count(&self.worker.stats().bad_requests);
                let modern = Asker {
                    is_head: false,
                    http11: true,
                    keep_alive: false,
                };
                self.answer(Answer::new(bad.status, bad.reason), modern)
                    .await;
                return Next::Close;
            }
        };
        let started = Instant::now();
        let asker = Asker {
            is_head: request.is_head,
            http11: request.http11,
            keep_alive: request.keep_alive && !self.worker.draining.get(),
        };
        let (status, bytes, next) = if request.is_head && self.worker.shared.config.head_fan_out {
            self.fan_out(request, asker).await
        } else {
            self.conn.input.consume(request.head_length);
            self.forward(request, asker, key).await
        };
        let took = started.elapsed();
        if status > 0 {
            self.worker.stats().answered(status, took);
        }
        if self.worker.shared.log.is_on() {
            let Logged {
                client,
                method,
                target,
                backend,
            } = &self.logged;
            let entry = access_log::Entry {
                client,
                method,
                target,
                status,
                bytes,
                took,
                backend: *backend,
            };
            self.worker.shared.log.write(&entry);
        }
        next
    }

    /// Waits for a complete head and translates it. `None`: the connection is to be closed.
    async fn next_head(&mut self) -> Result<Option<(Request, ClientKey)>, BadRequest> {
        let worker = self.worker.clone();
        let config = &worker.shared.config;
        let begun = |conn: &Conn| !conn.input.is_empty();
        self.timer
            .set(worker.clock(), Stage::Idle, config.idle_timeout);
        if begun(&self.conn) {
            self.timer
                .set(worker.clock(), Stage::Busy, config.header_timeout);
        }
        loop {
            // Empty lines before a request are to be passed over (RFC 9112, 2.2).
            while matches!(self.conn.input.unread(), [b'\r', b'\n', ..]) {
                self.conn.input.consume(2);
            }
            if begun(&self.conn) {
                if let Some(found) = self.translate()? {
                    return Ok(Some(found));
                }
                if self.conn.input.unread().len() >= config.max_head {
                    return Err(BadRequest {
                        status: 431,
                        reason: "the head of the request is too large",
                    });
                }
            }
            let was_idle = !begun(&self.conn);
            let filled = poll_fn(|cx| {
                if let Poll::Ready(filled) = self.conn.poll_fill(cx, config.max_head) {
                    return Poll::Ready(Ok(filled));
                }
                self.timer
                    .check(cx)
                    .map_or_else(|fired| Poll::Ready(Err(fired)), |()| Poll::Pending)
            });
            match filled.await {
                Ok(Ok(1..)) if was_idle => {
                    self.timer
                        .set(worker.clock(), Stage::Busy, config.header_timeout);
                }
                Ok(Ok(1..)) => {}
                Ok(_) => return Ok(None),
                Err(_) if was_idle => return Ok(None),
                Err(_) => {
                    count(&worker.stats().timeouts);
                    return Err(BadRequest {
                        status: 408,
                        reason: "the head of the request took too long",
                    });
                }
            }
        }
    }

    /// Translates the head at the start of the input, if it is complete.
    fn translate(&mut self) -> Result<Option<(Request, ClientKey)>, BadRequest> {
        let shared = &self.worker.shared;
        let input = self.conn.input.unread();
        let sender = Sender {
            peer: self.peer,
            name: &self.peer_name,
            trusted: self.trusted,
            trust: &shared.config.trust,
        };
        let logged = &mut self.logged;
        let name = |name: &[u8]| {
            if shared.log.is_on() {
                logged.client = String::from_utf8_lossy(name).into_owned();
            }
            shared.gate.client(name)
        };
        let Some((request, key)) = request::translate(input, sender, &mut self.head, name)? else {
            return Ok(None);
        };
        if request.head_length > shared.config.max_head {
            return Err(BadRequest {
                status: 431,
                reason: "the head of the request is too large",
            });
        }
        if shared.log.is_on() {
            let text = |(start, end): (usize, usize)| {
                String::from_utf8_lossy(&input[start..end]).into_owned()
            };
            self.logged.method = text(request.method);
            self.logged.target = text(request.target);
            self.logged.backend = None;
        }
        Ok(Some((request, key)))
    }

    /// Passes a request to a backend, or turns it away. Returns status, bytes and what comes next.
    async fn forward(
        &mut self,
        request: Request,
        asker: Asker,
        key: ClientKey,
    ) -> (u16, u64, Next) {
        let worker = self.worker.clone();
        let config = &worker.shared.config;
        if matches!(request.framing, Framing::Sized(length) if length > config.max_body) {
            return self
                .refuse(Answer::new(413, "the body is too large"), request, asker)
                .await;
        }
        let encoder = match request.framing {
            Framing::Chunked => Encoder::Chunked,
            _ => Encoder::Plain,
        };
        let mut body = Pump::new(request.framing, encoder, config.max_body);
        let attempts = config.backends.len() + 1;
        for attempt in 1..=attempts {
            let mut permit = match self.admit(key).await {
                Ok(permit) => permit,
                Err(Some(reason)) => return self.turn_away(reason, request, asker).await,
                Err(None) => {
                    count(&self.worker.stats().abandoned);
                    return (0, 0, Next::Drop);
                }
            };
            self.logged.backend = Some(permit.backend);
            let pooled = self.worker.pooled(permit.backend);
            let reused = pooled.is_some();
            let connected = match pooled {
                Some(conn) => Ok(conn),
                None => self.worker.connect(permit.backend).await,
            };
            let Ok(mut backend) = connected else {
                permit.finish(Outcome::Unreachable);
                count(&self.worker.stats().retries);
                continue;
            };
            backend.output.extend_from_slice(&self.head);
            if request.expects_continue && attempt == 1 {
                self.conn
                    .output
                    .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            let mut exchange = Exchange {
                worker: &worker,
                timer: &self.timer,
                client: &mut self.conn,
                request,
                asker,
                body: &mut body,
            };
            match exchange.run(backend, permit, reused).await {
                Ok(Done {
                    status,
                    bytes,
                    client_reusable,
                }) => {
                    return (
                        status,
                        bytes,
                        if client_reusable {
                            Next::Keep
                        } else {
                            Next::Close
                        },
                    );
                }
                // Nothing came back: where asking twice does no harm, another attempt is made. (A
                // request with a body is not, as its body is gone.)
                Err(Failure::NoAnswer)
                    if request.idempotent
                        && request.framing == Framing::Empty
                        && attempt < attempts =>
                {
                    count(&self.worker.stats().retries);
                    body = Pump::new(request.framing, encoder, config.max_body);
                }
                Err(failure) => return self.fail(failure, asker).await,
            }
        }
        self.refuse(
            Answer::new(502, "no backend could be reached"),
            request,
            asker,
        )
        .await
    }

    /// Waits for a place at a backend. `Err(None)`: the client left.
    async fn admit(&mut self, key: ClientKey) -> Result<Permit, Option<Reason>> {
        let mut waiter = match self.worker.shared.gate.enter(key) {
            Entry::Go(flight) => return Ok(Permit::new(&self.worker, flight)),
            Entry::Refuse(reason) => return Err(Some(reason)),
            Entry::Wait(waiter) => waiter,
        };
        let verdict = poll_fn(|cx| {
            if let Poll::Ready(verdict) = waiter.poll(cx) {
                return Poll::Ready(Some(verdict));
            }
            while self.conn.input.unread().len() < 4 * 1024 {
                match self.conn.poll_fill(cx, 0) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Poll::Ready(None),
                    Poll::Pending => break,
                }
            }
            Poll::Pending
        })
        .await;
        match verdict {
            Some(Ok(flight)) => Ok(Permit::new(&self.worker, flight)),
            Some(Err(reason)) => Err(Some(reason)),
            None => {
                self.worker.shared.gate.leave(waiter);
                Err(None)
            }
        }
    }

    async fn turn_away(
        &mut self,
        reason: Reason,
        request: Request,
        asker: Asker,
    ) -> (u16, u64, Next) {
        count(&self.worker.stats().shed);
        let answer = match reason {
            Reason::TooMany { .. } => Answer {
                status: 429,
                text: "too many requests",
                retry_after: reason.retry_after(),
            },
            Reason::TooLate { .. } => Answer {
                status: 503,
                text: "too busy",
                retry_after: reason.retry_after(),
            },
            Reason::NoBackend => Answer {
                status: 503,
                text: "no backend is up",
                retry_after: reason.retry_after(),
            },
        };
        self.refuse(answer, request, asker).await
    }

    /// Answers a request whose body was not read, and saves the connection if that is cheap.
    async fn refuse(&mut self, answer: Answer, request: Request, asker: Asker) -> (u16, u64, Next) {
        let skip = match request.framing {
            Framing::Empty => 0,
            // Whoever waits for "100 Continue" will not send the body after another answer.
            Framing::Sized(length) if length <= WORTH_SKIPPING && !request.expects_continue => {
                length
            }
            _ => WORTH_SKIPPING + 1,
        };
        let asker = Asker {
            keep_alive: asker.keep_alive && skip <= WORTH_SKIPPING,
            ..asker
        };
        let mut next = self.answer(answer, asker).await;
        if next == Next::Keep && skip > 0 && !self.skip(skip as usize).await {
            next = Next::Drop;
        }
        (answer.status, 0, next)
    }

    /// Reads and drops so many bytes.
    async fn skip(&mut self, mut count: usize) -> bool {
        self.timer.set(
            self.worker.clock(),
            Stage::Busy,
            self.worker.shared.config.idle_timeout,
        );
        poll_fn(|cx| {
            loop {
                let here = self.conn.input.unread().len().min(count);
                self.conn.input.consume(here);
                count -= here;
                if count == 0 {
                    return Poll::Ready(true);
                }
                if self.timer.check(cx).is_err() {
                    return Poll::Ready(false);
                }
                match self.conn.poll_fill(cx, 0) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Ends a request that went wrong on its way.
    async fn fail(&mut self, failure: Failure, asker: Asker) -> (u16, u64, Next) {
        let closing = Asker {
            keep_alive: false,
            ..asker
        };
        let answer = match failure {
            Failure::Client => {
                count(&self.worker.stats().abandoned);
                return (0, 0, Next::Drop);
            }
            Failure::CutShort => {
                // The status is out already; only a reset tells the client that this was not all.
                self.conn.stream.reset_on_close();
                return (0, 0, Next::Drop);
            }
            Failure::BadBody => {
                count(&self.worker.stats().bad_requests);
                Answer::new(400, "malformed body")
            }
            Failure::TooLarge => {
                count(&self.worker.stats().bad_requests);
                Answer::new(413, "the body is too large")
            }
            Failure::NoAnswer => {
                Answer::new(502, "the backend closed the connection without an answer")
            }
            Failure::BadAnswer => Answer::new(502, "the backend's answer is malformed"),
            Failure::Timeout => Answer::new(504, "the backend did not answer in time"),
        };
        self.answer(answer, closing).await;
        (answer.status, 0, Next::Close)
    }

    /// HEAD, as 2014 wanted it: asks everybody.
    async fn fan_out(&mut self, request: Request, asker: Asker) -> (u16, u64, Next) {
        let (start, end) = request.target;
        let target = String::from_utf8_lossy(&self.conn.input.unread()[start..end]).into_owned();
        self.conn.input.consume(request.head_length);
        let status = if fan_out::all_well(&self.worker, &target).await {
            200
        } else {
            500
        };
        self.refuse(Answer::new(status, ""), request, asker).await
    }

    /// Writes an answer of our own.
    async fn answer(&mut self, answer: Answer, asker: Asker) -> Next {
        answer.write(asker, &mut self.conn.output);
        self.timer.set(
            self.worker.clock(),
            Stage::Busy,
            self.worker.shared.config.idle_timeout,
        );
        let sent = poll_fn(|cx| {
            if let Poll::Ready(sent) = self.conn.poll_flush(cx) {
                return Poll::Ready(sent.is_ok());
            }
            self.timer
                .check(cx)
                .map_or(Poll::Ready(false), |()| Poll::Pending)
        });
        match sent.await {
            false => Next::Drop,
            true if asker.keep_alive => Next::Keep,
            true => Next::Close,
        }
    }

    /// Closes without losing what was sent.
    async fn linger(&mut self) {
        self.timer.set(self.worker.clock(), Stage::Busy, LINGER);
        poll_fn(|cx| {
            if self.conn.poll_shutdown(cx).is_pending() {
                return Poll::Pending;
            }
            loop {
                let unread = self.conn.input.unread().len();
                self.conn.input.consume(unread);
                if self.timer.check(cx).is_err() {
                    return Poll::Ready(());
                }
                match self.conn.poll_fill(cx, 0) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }
}
