//! What is done with a request that was understood: its body is buffered, it is admitted, it goes to a
//! backend, and once more to another if that does no harm.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::call::{Call, Event};
use super::client::Client;
use super::conn::Conn;
use super::exchange::{Broke, Done, Exchange, Sides, poll_gone};
use super::fan_out;
use super::pace::Pace;
use super::permit::Permit;
use super::pump::{Broken, Pump};
use super::record::{Ended, Next};
use super::timer::Stage;
use super::worker::is_shortage;
use crate::gate::{Entry, Refusal, Wanted};
use crate::health::Sign;
use crate::http::body::Framing;
use crate::http::request::Request;
use crate::http::response::Recipient;
use crate::http::trailers::Passing;
use crate::policy::{ClientKey, Reason};
use crate::stats::count;

/// A request's body, as far as it was read before the request was admitted.
struct Body {
    /// As a backend gets it.
    buffered: Vec<u8>,
    /// What takes the rest, if that was not all, and writes the end.
    pump: Pump,
    /// Whether it was all.
    whole: bool,
    /// The memory it takes.
    share: super::budget::Share,
}

impl Client {
    /// Passes a request to a backend, or turns it away.
    pub(super) async fn forward(
        &mut self,
        request: Request,
        mut to: Recipient,
        key: ClientKey,
    ) -> Ended {
        self.worker.retry_budget.borrow_mut().earn();
        if matches!(request.framing, Framing::Sized(length) if length > self.config.max_body) {
            let answer = Answer::new(413, "the body is too large");
            let to = self.with_allowance(to, key);
            return self.refuse(answer, request, to).await;
        }
        let mut body = match self.buffer_body(request).await {
            Ok(body) => body,
            Err(event) => {
                let to = self.with_allowance(to, key);
                return self.fail(Broke::early(event), to).await;
            }
        };
        // Without its body the request can only be refused on a connection that will be closed.
        let refusable = Request {
            framing: if body.whole {
                Framing::Empty
            } else {
                request.framing
            },
            ..request
        };
        let mut tried = None;
        loop {
            let admitted = self.admit(key, tried).await;
            if tried.is_none() {
                to = self.with_allowance(to, key);
            }
            let permit = match admitted {
                Ok(permit) => permit,
                Err(None) => {
                    count(&self.worker.stats().abandoned);
                    return Ended::DROPPED;
                }
                Err(Some(_)) if tried.is_some() => {
                    let answer = Answer::new(502, "the backend failed and there is no other");
                    return self.refuse(answer, refusable, to).await;
                }
                Err(Some(refusal)) => return self.turn_away(refusal, refusable, to).await,
            };
            let backend = permit.backend;
            let attempt = self.attempt(permit, tried.is_some(), (request, to), &mut body);
            let broke = match attempt.await {
                Ok(done) => return done.ended(),
                Err(broke) => broke,
            };
            if tried.is_none() && self.may_retry(broke, request, &body) {
                count(&self.worker.stats().retries);
                tried = Some(backend);
                continue;
            }
            return self.fail(broke, to).await;
        }
    }

    /// Whether a request that failed may be sent once more: nothing of an answer has gone out, all of
    /// the request is in memory, asking twice does no harm, and not too many others ask twice now.
    fn may_retry(&self, broke: Broke, request: Request, body: &Body) -> bool {
        let harmless = match broke.event {
            // Nothing was sent.
            Event::Unreachable => true,
            Event::BackendClosed => request.idempotent && body.whole,
            _ => false,
        };
        harmless
            && broke.status.is_none()
            && self.conn.unsent() == 0
            && self.worker.retry_budget.borrow_mut().take()
    }

    /// One attempt at the backend of a permit.
    async fn attempt(
        &mut self,
        mut permit: Permit,
        fresh: bool,
        (request, to): (Request, Recipient),
        body: &mut Body,
    ) -> Result<Done, Broke> {
        self.record.backend = Some(permit.backend);
        self.record.class = Some(permit.class);
        self.record.admitted = Some(Instant::now());
        let mut call = Call::new(self.config.cancel);
        let pooled = if fresh {
            None
        } else {
            self.worker.pooled(permit.backend)
        };
        let mut backend = match pooled {
            Some(conn) => {
                call.reuse();
                conn
            }
            None => match self.connect(permit.backend).await {
                Ok(conn) => conn,
                Err(event) => {
                    let place = call.on(event);
                    if event == Event::Unreachable {
                        permit.report(Sign::Unreachable);
                    }
                    permit.apply(place);
                    return Err(Broke::early(event));
                }
            },
        };
        backend.output.extend_from_slice(&self.head);
        backend.output.extend_from_slice(&body.buffered);
        body.pump.again();
        // Only HTTP/2 has a place of its own for them on both sides, where nobody takes them for the head's.
        let config = self.worker.config();
        let asks = if self.origin.http2 && config.backends[permit.backend].http2 {
            Passing::All
        } else {
            Passing::AnnouncedBy(&self.head)
        };
        let worker = self.worker.clone();
        let sides = Sides {
            worker: &worker,
            timer: &self.timer,
            client: &mut self.conn,
            backend,
            permit,
            call,
            asks,
            hears_all: self.origin.http2,
            converses: request.converses,
        };
        let done = Exchange::new(sides, to, &mut body.pump).run().await;
        self.record.served = Some(Instant::now());
        done
    }

    /// Calls a backend.
    async fn connect(&self, backend: usize) -> Result<Conn, Event> {
        self.worker.connect(backend).await.map_err(|error| {
            if is_shortage(&error) {
                count(&self.worker.stats().shortages);
                Event::Short
            } else {
                Event::Unreachable
            }
        })
    }

    /// Reads a body before a place is taken for it: all of a small one, the beginning of a large one.
    async fn buffer_body(&mut self, request: Request) -> Result<Body, Event> {
        let mut body = Body {
            buffered: Vec::new(),
            pump: Pump::request(request.framing, self.config.max_body),
            whole: request.framing == Framing::Empty,
            share: self.worker.shared.memory.share(),
        };
        if request.expects_continue {
            // All bodies are read, at least in part, before anybody else is asked.
            self.conn
                .output
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let most = match request.framing {
            Framing::Sized(length) => usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(self.config.buffer_request),
            _ => self.config.buffer_request,
        };
        let at_once = request.framing == Framing::Empty || request.converses || most == 0;
        if at_once || !body.share.grow(most) {
            return Ok(body);
        }
        let config = &self.config;
        let mut pace = Pace::new(config.min_rate, config.grace);
        pace.begin(|| self.conn.received());
        let idle = config.idle_timeout;
        let mut at = self.worker.clock();
        let mut since = at;
        poll_fn(|cx| {
            if let Poll::Ready(Err(_)) = self.conn.poll_flush(cx) {
                return Poll::Ready(Err(Event::ClientLeft));
            }
            let Body { buffered, pump, .. } = &mut body;
            match pump.poll_gather(cx, &mut self.conn, buffered, most) {
                Poll::Ready(gathered) => return Poll::Ready(gathered.map_err(body_broke)),
                Poll::Pending => {}
            }
            let now = self.worker.clock();
            let spent = pace.spend(now - at, self.conn.received());
            if spent.moved {
                since = now;
            }
            if !spent.in_time || Duration::from_millis(now - since) >= idle {
                return Poll::Ready(Err(Event::ClientSlow));
            }
            at = now;
            self.timer.set(now, Stage::Busy, pace.left(idle));
            let _ = self.timer.check(cx);
            Poll::Pending
        })
        .await?;
        body.whole = body.pump.received();
        Ok(body)
    }

    /// Waits for a place at a backend, for a second attempt at another than was `tried`. `Err(None)`: the
    /// client left.
    async fn admit(
        &mut self,
        key: ClientKey,
        tried: Option<usize>,
    ) -> Result<Permit, Option<Refusal>> {
        let gate = &self.worker.shared.gate;
        let entry = match tried {
            None => gate.enter(key),
            Some(backend) => gate.claim(key, Wanted::Not(backend)),
        };
        let mut waiter = match entry {
            Entry::Go(flight) => return Ok(Permit::new(&self.worker, flight, key)),
            Entry::Refuse(refusal) => return Err(Some(refusal)),
            Entry::Wait(waiter) => waiter,
        };
        // The policy sees to those in its queue; a second attempt waits no longer than they do.
        let most = Duration::from_secs_f64(self.config.policy.max_wait);
        self.timer.set(self.worker.clock(), Stage::Busy, most);
        let verdict = poll_fn(|cx| {
            if let Poll::Ready(verdict) = waiter.poll(cx) {
                return Poll::Ready(Ok(verdict));
            }
            if poll_gone(&mut self.conn, cx) {
                return Poll::Ready(Err(None));
            }
            if tried.is_some() && self.timer.check(cx).is_err() {
                return Poll::Ready(Err(Some(Refusal::NO_BACKEND)));
            }
            Poll::Pending
        })
        .await;
        match verdict {
            Ok(Ok(flight)) => Ok(Permit::new(&self.worker, flight, key)),
            Ok(Err(refusal)) => Err(Some(refusal)),
            Err(end) => {
                self.worker.shared.gate.leave(waiter);
                Err(end)
            }
        }
    }

    async fn turn_away(&mut self, refusal: Refusal, request: Request, to: Recipient) -> Ended {
        count(&self.worker.stats().shed);
        self.record.class = refusal.class;
        self.record.turned_away = Some(Instant::now());
        let reason = refusal.reason;
        let (status, text) = match reason {
            Reason::TooMany { .. } => (429, "too many requests"),
            Reason::TooLate { .. } => (503, "too busy"),
            Reason::NoBackend => (503, "no backend is up"),
        };
        let answer = Answer {
            status,
            text,
            retry_after: reason.retry_after(),
        };
        self.refuse(answer, request, to).await
    }

    /// Ends a request that went wrong on its way.
    async fn fail(&mut self, broke: Broke, to: Recipient) -> Ended {
        let stats = self.worker.stats();
        match broke.event {
            Event::ClientLeft => count(&stats.abandoned),
            Event::ClientSlow => count(&stats.timeouts),
            Event::BodyMalformed | Event::BodyTooLarge => count(&stats.bad_requests),
            _ => {}
        }
        if let Some(status) = broke.status {
            // The status is out already; only a reset tells the client that this was not all.
            self.conn.stream.reset_on_close();
            return Ended {
                status,
                bytes: broke.bytes,
                next: Next::Drop,
            };
        }
        let (status, text) = match broke.event {
            Event::ClientLeft => return Ended::DROPPED,
            Event::ClientSlow => (408, "the body of the request came too slowly"),
            Event::BodyMalformed => (400, "malformed body"),
            Event::BodyTooLarge => (413, "the body is too large"),
            Event::Short => (503, "the proxy is out of connections"),
            Event::Unreachable => (502, "no backend could be reached"),
            Event::BackendSilent => (504, "the backend did not answer in time"),
            Event::AnswerTooLarge => (502, "the answer is too large for HTTP/1.0"),
            Event::BackendMalformed => (502, "the backend's answer is malformed"),
            _ => (502, "the backend closed the connection without an answer"),
        };
        let closing = Recipient {
            keep_alive: false,
            ..to
        };
        let next = self.answer(Answer::new(status, text), closing).await;
        Ended {
            status,
            bytes: 0,
            next,
        }
    }

    /// HEAD, as 2014 wanted it: asks everybody.
    pub(super) async fn fan_out(
        &mut self,
        request: Request,
        to: Recipient,
        key: ClientKey,
    ) -> Ended {
        // The head is written already; the target is its second word.
        let mut words = self.head.splitn(3, |&byte| byte == b' ').skip(1);
        let target = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        let first = match self.admit(key, None).await {
            Ok(permit) => Some(permit),
            // Whether one is up again is what the question is about.
            Err(Some(refusal)) if refusal.reason == Reason::NoBackend => None,
            Err(Some(refusal)) => return self.turn_away(refusal, request, to).await,
            Err(None) => {
                count(&self.worker.stats().abandoned);
                return Ended::DROPPED;
            }
        };
        self.record.class = first.as_ref().map(|permit| permit.class);
        self.record.admitted = Some(Instant::now());
        let status = if fan_out::all_well(&self.worker, &target, first, key).await {
            200
        } else {
            500
        };
        self.record.served = Some(Instant::now());
        self.refuse(Answer::new(status, ""), request, to).await
    }
}

impl Broke {
    /// Broke before anything of an answer was there.
    fn early(event: Event) -> Self {
        Self {
            event,
            status: None,
            bytes: 0,
        }
    }
}

impl Done {
    fn ended(self) -> Ended {
        let next = if self.client_reusable {
            Next::Keep
        } else {
            Next::Close
        };
        Ended {
            status: self.status,
            bytes: self.bytes,
            next,
        }
    }
}

fn body_broke(broken: Broken) -> Event {
    match broken {
        Broken::Malformed => Event::BodyMalformed,
        Broken::TooLarge => Event::BodyTooLarge,
        Broken::Source | Broken::Sink => Event::ClientLeft,
    }
}
