//! One request and its answer over one connection to a backend.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::task::spawn_local;

use super::conn::Conn;
use super::pump::{Broken, Pump};
use super::timer::{Stage, Timer};
use super::worker::{Permit, Worker};
use crate::http::body::{Encoder, Framing};
use crate::http::request::Request;
use crate::http::response::{self, Asker, Response};
use crate::policy::Outcome;

/// Most bytes read ahead from a client that sends its next requests before the answer.
const READ_AHEAD: usize = 4 * 1024;

/// Why there was no complete answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The client left, or stalled.
    Client,
    /// The client's body is malformed.
    BadBody,
    /// The client's body is larger than allowed.
    TooLarge,
    /// The backend closed or failed before it answered anything.
    NoAnswer,
    /// The backend's answer is malformed.
    BadAnswer,
    /// The backend took too long to answer.
    Timeout,
    /// The backend broke off within its answer, of which the client has the beginning.
    CutShort,
}

/// A complete exchange.
#[derive(Debug)]
pub struct Done {
    pub status: u16,
    /// Bytes of content sent to the client.
    pub bytes: u64,
    /// Whether the client's connection can go on.
    pub client_reusable: bool,
}

/// The two sides of an exchange.
pub struct Exchange<'a> {
    pub worker: &'a Rc<Worker>,
    pub timer: &'a Timer,
    pub client: &'a mut Conn,
    pub request: Request,
    pub asker: Asker,
    pub body: &'a mut Pump,
}

impl Exchange<'_> {
    /// Sends the request (its head is in the backend's output already) and passes the answer on.
    ///
    /// A `reused` connection may have been closed at the moment of its use; that is no failure of
    /// the backend's.
    pub async fn run(
        &mut self,
        mut backend: Conn,
        mut permit: Permit,
        reused: bool,
    ) -> Result<Done, Failure> {
        let response = match self.ask(&mut backend).await {
            Ok(response) => response,
            Err(failure) => {
                match failure {
                    Failure::NoAnswer if reused => permit.finish(Outcome::Aborted),
                    Failure::NoAnswer | Failure::BadAnswer | Failure::Timeout => {
                        permit.finish(Outcome::Failed);
                    }
                    // The backend works on, whether anybody listens or not: its place is only free
                    // when it has answered.
                    Failure::Client if self.body.received() => {
                        spawn_local(see_off(
                            self.worker.clone(),
                            backend,
                            permit,
                            self.request.is_head,
                        ));
                    }
                    _ => permit.finish(Outcome::Aborted),
                }
                return Err(failure);
            }
        };
        let ok = if response.status == 503 {
            Outcome::Overloaded
        } else {
            Outcome::Answered
        };
        let mut answer = Pump::new(response.framing, response.encoder, u64::MAX);
        let passed = self
            .pass_on(&mut backend, &mut answer, &mut permit, ok)
            .await;
        permit.finish(match &passed {
            Ok(()) => ok,
            Err(Failure::CutShort) => Outcome::Failed,
            Err(_) => Outcome::Aborted,
        });
        passed?;
        let sent = self.body.received();
        if response.reusable && sent {
            self.worker.keep(permit.backend, backend);
        }
        Ok(Done {
            status: response.status,
            bytes: answer.content(),
            client_reusable: self.asker.keep_alive && sent && !response.ends_by_close,
        })
    }

    /// Sends the request until the answer's head is there; that goes to the client's output.
    async fn ask(&mut self, backend: &mut Conn) -> Result<Response, Failure> {
        let config = &self.worker.shared.config;
        self.timer
            .set(self.worker.clock(), Stage::Busy, config.response_timeout);
        let (mut sent, mut moved) = (false, 0);
        poll_fn(|cx| {
            if self.timer.check(cx).is_err() {
                return Poll::Ready(Err(if sent {
                    Failure::Timeout
                } else {
                    Failure::Client
                }));
            }
            // A "100 Continue" may be waiting to go out.
            if let Poll::Ready(Err(_)) = self.client.poll_flush(cx) {
                return Poll::Ready(Err(Failure::Client));
            }
            if !sent {
                match self.body.poll(cx, self.client, backend) {
                    // If writing failed, it may have answered before it closed: that is worth having.
                    Poll::Ready(Ok(()) | Err(Broken::Sink)) => sent = true,
                    Poll::Ready(Err(Broken::Source)) => return Poll::Ready(Err(Failure::Client)),
                    Poll::Ready(Err(Broken::Malformed)) => {
                        return Poll::Ready(Err(Failure::BadBody));
                    }
                    Poll::Ready(Err(Broken::TooLarge)) => {
                        return Poll::Ready(Err(Failure::TooLarge));
                    }
                    Poll::Pending => {}
                }
                if self.client.moved() != moved {
                    moved = self.client.moved();
                    self.timer
                        .set(self.worker.clock(), Stage::Busy, config.response_timeout);
                }
            }
            match self.poll_answer(cx, backend) {
                Poll::Pending if sent && self.poll_gone(cx) => Poll::Ready(Err(Failure::Client)),
                other => other,
            }
        })
        .await
    }

    /// The answer's head, once it is complete.
    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        backend: &mut Conn,
    ) -> Poll<Result<Response, Failure>> {
        let most = self.worker.shared.config.max_head;
        loop {
            match backend.poll_fill(cx, most) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) if backend.input.is_empty() => {
                    return Poll::Ready(Err(Failure::NoAnswer));
                }
                Poll::Ready(_) => return Poll::Ready(Err(Failure::BadAnswer)),
                Poll::Pending => return Poll::Pending,
            }
            let input = backend.input.unread();
            match response::translate(input, self.asker, &mut self.client.output) {
                Ok(Some(response)) => {
                    backend.input.consume(response.head_length);
                    return Poll::Ready(Ok(response));
                }
                Ok(None) if input.len() < most => {}
                Ok(None) | Err(_) => return Poll::Ready(Err(Failure::BadAnswer)),
            }
        }
    }

    /// Whether the client has left. Reads ahead to find out.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        while self.client.input.unread().len() < READ_AHEAD {
            match self.client.poll_fill(cx, 0) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return true,
                Poll::Pending => return false,
            }
        }
        false
    }

    /// Passes the answer's body on; frees the backend's place as soon as the backend is done.
    async fn pass_on(
        &mut self,
        backend: &mut Conn,
        answer: &mut Pump,
        permit: &mut Permit,
        ok: Outcome,
    ) -> Result<(), Failure> {
        let idle = self.worker.shared.config.idle_timeout;
        let mut moved = u64::MAX;
        let mut body_broken = self.body.received();
        poll_fn(|cx| {
            if self.timer.check(cx).is_err() {
                return Poll::Ready(Err(Failure::CutShort));
            }
            if !body_broken {
                // An answer may come before all of the request was sent; what is left still goes.
                body_broken = !matches!(self.body.poll(cx, self.client, backend), Poll::Pending);
            }
            let polled = answer.poll(cx, backend, self.client);
            if answer.received() {
                permit.finish(ok);
            }
            match polled {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(Broken::Sink)) => return Poll::Ready(Err(Failure::Client)),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Failure::CutShort)),
                Poll::Pending => {}
            }
            let now_moved = backend.moved() + self.client.moved();
            if moved != now_moved {
                moved = now_moved;
                self.timer.set(self.worker.clock(), Stage::Busy, idle);
            }
            Poll::Pending
        })
        .await
    }
}

/// Waits for the answer to a request whose client has left, and throws it away.
async fn see_off(worker: Rc<Worker>, mut backend: Conn, mut permit: Permit, is_head: bool) {
    let _busy = worker.busy();
    let timer = worker.timer();
    let asker = Asker {
        is_head,
        http11: true,
        keep_alive: true,
    };
    timer.set(
        worker.clock(),
        Stage::Busy,
        worker.shared.config.response_timeout,
    );
    let mut head = Vec::new();
    let response = poll_fn(|cx| {
        loop {
            if timer.check(cx).is_err() {
                return Poll::Ready(None);
            }
            match backend.poll_fill(cx, worker.shared.config.max_head) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
            match response::translate(backend.input.unread(), asker, &mut head) {
                Ok(Some(response)) => return Poll::Ready(Some(response)),
                Ok(None) if backend.input.unread().len() < worker.shared.config.max_head => {}
                Ok(None) | Err(_) => return Poll::Ready(None),
            }
        }
    })
    .await;
    let Some(response) = response else {
        permit.finish(Outcome::Failed);
        return;
    };
    permit.finish(Outcome::Answered);
    // A short answer that is there already leaves the connection usable; a long one is not worth it.
    backend.input.consume(response.head_length);
    let complete = match response.framing {
        Framing::Empty => true,
        Framing::Sized(length) if backend.input.unread().len() as u64 == length => {
            backend.input.consume(length as usize);
            true
        }
        _ => false,
    };
    if complete && response.reusable && response.encoder == Encoder::Plain {
        worker.keep(permit.backend, backend);
    }
}
