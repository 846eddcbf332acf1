//! A client's connection: its requests one after another, from head to answer.
//!
//! This file reads heads, writes answers of the proxy's own and ends the connection; what is done with
//! a request that was understood is in [`forward`](super::forward).

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::conn::Conn;
use super::local::Local;
use super::origin::Origin;
use super::record::{Ended, Next, Record};
use super::timer::{Stage, Timer};
use super::worker::Worker;
use crate::config::Config;
use crate::http::body::Framing;
use crate::http::fields;
use crate::http::request::{self, BadRequest, Hop, Request};
use crate::http::response::{RateLimit, Recipient};
use crate::policy::ClientKey;
use crate::stats::count;
use crate::trust::Peer;

/// Time for which a closed connection is still read, so that the last answer is not lost: closing with
/// input unread makes the kernel reset the connection, and the client may drop what it had received.
const LINGER: Duration = Duration::from_secs(2);

/// Largest body that is read and dropped to keep the connection after a refusal.
const WORTH_SKIPPING: u64 = 64 * 1024;

/// A client's connection.
pub struct Client {
    pub(super) worker: Rc<Worker>,
    /// The settings, as of the request being served.
    pub(super) config: Rc<Config>,
    pub(super) timer: Rc<Timer>,
    pub(super) conn: Conn,
    pub(super) origin: Rc<Origin>,
    /// The translated head of the request being served: kept for a second attempt.
    pub(super) head: Vec<u8>,
    pub(super) record: Record,
}

/// A request that was understood, and whose it is.
pub(super) struct Arrival {
    pub(super) request: Request,
    key: ClientKey,
    /// What the proxy itself has to say to it.
    local: Option<Local>,
}

/// Serves a connection until it is closed.
pub async fn serve(worker: Rc<Worker>, timer: Rc<Timer>, conn: Conn, origin: Rc<Origin>) {
    let mut client = Client::new(worker, timer, conn, origin);
    let end = loop {
        match client.request().await.next {
            Next::Keep => client.conn.shrink(),
            end => break end,
        }
    };
    if end == Next::Close {
        client.linger().await;
    }
}

/// Serves a stream of HTTP/2, which is a connection with one request. Returns the answer's status, or 0.
pub async fn serve_stream(
    worker: Rc<Worker>,
    timer: Rc<Timer>,
    conn: Conn,
    origin: Rc<Origin>,
) -> u16 {
    let mut client = Client::new(worker, timer, conn, origin);
    let ended = client.request().await;
    if ended.next != Next::Drop {
        // There is nothing to wait for: what was written is the connection's to send.
        let _ = poll_fn(|cx| client.conn.poll_shutdown(cx)).await;
    }
    ended.status
}

impl Client {
    fn new(worker: Rc<Worker>, timer: Rc<Timer>, conn: Conn, origin: Rc<Origin>) -> Self {
        Self {
            timer,
            conn,
            origin,
            head: Vec::new(),
            record: Record::default(),
            config: worker.config(),
            worker,
        }
    }

    /// Reads a request and sees it through.
    async fn request(&mut self) -> Ended {
        self.head.clear();
        self.record.clear();
        let mut arrival = match self.next_head().await {
            Ok(Some(found)) => found,
            Ok(None) => return Ended::DROPPED,
            Err(bad) => return self.bad_head(bad).await,
        };
        self.record.started = Some(Instant::now());
        let request = arrival.request;
        let to = self.recipient(request);
        self.conn.input.consume(request.head_length);
        let local = arrival.local.take();
        let ended = if let Some(local) = local {
            let to = self.with_allowance(to, arrival.key);
            self.answer_here(local, &arrival, to).await
        } else if request.is_head && self.config.head_fan_out {
            let to = self.with_allowance(to, arrival.key);
            self.fan_out(request, to, arrival.key).await
        } else {
            self.forward(request, to, arrival.key).await
        };
        self.record.close(&self.worker, &self.origin.name, ended);
        ended
    }

    /// How answers to a request are written.
    fn recipient(&self, request: Request) -> Recipient {
        Recipient {
            is_head: request.is_head,
            http11: request.http11,
            keep_alive: request.keep_alive && !self.worker.draining.get(),
            // A reset, which tells over TCP that an answer is cut short, does not exist here.
            collects: !request.http11 && self.origin.peer == Peer::Unix,
            date: self.worker.date(),
            // Once the request is counted.
            allowance: None,
        }
    }

    /// The recipient, told what it may ask for now, if that is wanted.
    pub(super) fn with_allowance(&self, to: Recipient, key: ClientKey) -> Recipient {
        let told = self.config.rate_limit_fields;
        let allowance = told.then(|| {
            let allowance = self.worker.shared.gate.allowance(key);
            RateLimit {
                policy: if allowance.fixed { "fixed" } else { "fair" },
                quota: allowance.quota as u64,
                window: allowance.window.ceil() as u64,
                remaining: allowance.remaining as u64,
                reset: allowance.reset.ceil() as u64,
            }
        });
        Recipient { allowance, ..to }
    }

    /// Refuses a request whose head was not understood.
    async fn bad_head(&mut self, bad: BadRequest) -> Ended {
        count(&self.worker.stats().bad_requests);
        self.record.started = Some(Instant::now());
        let to = Recipient {
            is_head: false,
            http11: true,
            keep_alive: false,
            collects: false,
            date: self.worker.date(),
            // Whose it was is not known.
            allowance: None,
        };
        let next = self.answer(Answer::new(bad.status, bad.reason), to).await;
        let ended = Ended {
            status: bad.status,
            bytes: 0,
            next,
        };
        self.record.close(&self.worker, &self.origin.name, ended);
        ended
    }

    /// Waits for a complete head and translates it. `None`: the connection is to be closed.
    async fn next_head(&mut self) -> Result<Option<Arrival>, BadRequest> {
        self.config = self.worker.config();
        let config = self.config.clone();
        let now = self.worker.clock();
        // The time for a head runs from its first byte, empty lines before it included.
        let mut begun = !self.conn.input.is_empty();
        if begun {
            self.timer.set(now, Stage::Busy, config.header_timeout);
        } else {
            self.timer.set(now, Stage::Idle, config.idle_timeout);
        }
        loop {
            // Empty lines before a request are to be passed over (RFC 9112, 2.2).
            while matches!(self.conn.input.unread(), [b'\r', b'\n', ..]) {
                self.conn.input.consume(2);
            }
            if !self.conn.input.is_empty()
                && let Some(found) = self.head_in_input()?
            {
                return Ok(Some(found));
            }
            match self.fill(config.max_head).await {
                Ok(1..) if !begun => {
                    begun = true;
                    self.timer
                        .set(self.worker.clock(), Stage::Busy, config.header_timeout);
                }
                Ok(1..) => {}
                Ok(0) => return Ok(None),
                Err(_) if !begun => return Ok(None),
                Err(_) => {
                    count(&self.worker.stats().timeouts);
                    return Err(BadRequest::new(
                        408,
                        "the head of the request took too long",
                    ));
                }
            }
        }
    }

    /// Reads more input, for as long as the timer allows. 0: there will be no more.
    async fn fill(&mut self, most: usize) -> Result<usize, super::timer::Fired> {
        poll_fn(|cx| {
            if let Poll::Ready(filled) = self.conn.poll_fill(cx, most) {
                return Poll::Ready(Ok(filled.unwrap_or(0)));
            }
            self.timer
                .check(cx)
                .map_or_else(|fired| Poll::Ready(Err(fired)), |()| Poll::Pending)
        })
        .await
    }

    /// Translates the head at the start of the input, if it is complete.
    fn head_in_input(&mut self) -> Result<Option<Arrival>, BadRequest> {
        if let Some(place) = request::later_minor_version(self.conn.input.unread()) {
            self.conn.input.unread_mut()[place] = b'1';
        }
        let (shared, config) = (&self.worker.shared, &self.config);
        let input = self.conn.input.unread();
        let mut storage = fields::storage();
        let Some(head) = request::parse(input, &mut storage)? else {
            return if input.len() < config.max_head {
                Ok(None)
            } else {
                Err(too_large(&input[..config.max_head]))
            };
        };
        if head.request.head_length > config.max_head {
            return Err(too_large(&input[..config.max_head]));
        }
        let origin = &self.origin;
        let local = Local::find(&head, origin, config)?;
        let hop = Hop {
            sender: &origin.name,
            trusted: origin.trusted,
            secure: origin.secured.is_some(),
            http2: origin.http2,
        };
        head.write(hop, &mut self.head);
        let named = match origin.certified() {
            Some(name) => Some(name.as_bytes()),
            None if origin.trusted => config.trust.client(head.forwarded()),
            None => None,
        };
        let name = named.unwrap_or(origin.name.as_bytes());
        if shared.log.is_on() {
            self.record.client = String::from_utf8_lossy(name).into_owned();
            self.record.method.push_str(head.method);
            self.record.target.push_str(head.target);
        }
        Ok(Some(Arrival {
            request: head.request,
            key: shared.gate.client(&config.policy.naming, name),
            local,
        }))
    }

    /// Answers a request with a body of this type.
    pub(super) async fn answer_body(
        &mut self,
        content_type: &[u8],
        body: &[u8],
        request: Request,
        to: Recipient,
    ) -> Ended {
        // What came with the request is not read.
        let to = Recipient {
            keep_alive: to.keep_alive && request.framing == Framing::Empty,
            ..to
        };
        Answer::new(200, "").write_body(to, content_type, body, &mut self.conn.output);
        Ended {
            status: 200,
            bytes: body.len() as u64,
            next: self.flush(to).await,
        }
    }

    /// Answers a request whose body was not read, and saves the connection if that is cheap.
    pub(super) async fn refuse(
        &mut self,
        answer: Answer,
        request: Request,
        to: Recipient,
    ) -> Ended {
        self.refuse_with(answer, &[], request, to).await
    }

    /// The same with further complete field lines.
    pub(super) async fn refuse_with(
        &mut self,
        answer: Answer,
        fields: &[u8],
        request: Request,
        to: Recipient,
    ) -> Ended {
        let skip = match request.framing {
            Framing::Empty => 0,
            // Whoever waits for "100 Continue" will not send the body after another answer.
            Framing::Sized(length) if length <= WORTH_SKIPPING && !request.expects_continue => {
                length
            }
            _ => WORTH_SKIPPING + 1,
        };
        let to = Recipient {
            keep_alive: to.keep_alive && skip <= WORTH_SKIPPING,
            ..to
        };
        let mut next = self.answer_with(answer, fields, to).await;
        if next == Next::Keep && skip > 0 && !self.skip(skip as usize).await {
            next = Next::Drop;
        }
        Ended {
            status: answer.status,
            bytes: 0,
            next,
        }
    }

    /// Reads and drops so many bytes.
    async fn skip(&mut self, mut left: usize) -> bool {
        self.timer.set(
            self.worker.clock(),
            Stage::Busy,
            self.config.grace.min(self.config.idle_timeout),
        );
        loop {
            let here = self.conn.input.unread().len().min(left);
            self.conn.input.consume(here);
            left -= here;
            if left == 0 {
                return true;
            }
            if !matches!(self.fill(0).await, Ok(1..)) {
                return false;
            }
        }
    }

    /// Writes an answer of our own.
    pub(super) async fn answer(&mut self, answer: Answer, to: Recipient) -> Next {
        self.answer_with(answer, &[], to).await
    }

    async fn answer_with(&mut self, answer: Answer, fields: &[u8], to: Recipient) -> Next {
        let to = Recipient {
            keep_alive: to.keep_alive && !self.worker.draining.get(),
            ..to
        };
        answer.write(to, fields, &mut self.conn.output);
        self.flush(to).await
    }

    /// Writes what is in the output.
    async fn flush(&mut self, to: Recipient) -> Next {
        self.timer
            .set(self.worker.clock(), Stage::Busy, self.config.idle_timeout);
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
            true if to.keep_alive => Next::Keep,
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

/// What is said of a head that does not fit: its first line may be the reason.
fn too_large(input: &[u8]) -> BadRequest {
    if input.contains(&b'\n') {
        BadRequest::new(431, "the head of the request is too large")
    } else {
        BadRequest::new(414, "the request's target is too long")
    }
}
