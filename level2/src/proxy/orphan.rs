//! Requests that nobody waits for any more, while their backends work on.
//!
//! The connection is read until the answer is whole or the backend closes, and what comes is thrown
//! away; the place is held meanwhile ([`call`](super::call)). This is bounded by the time a backend has
//! for its answer: whoever takes longer is disconnected, and learns from that.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::task::spawn_local;

use super::call::{Call, Event};
use super::conn::Conn;
use super::permit::Permit;
use super::pump::{Broken, Pump};
use super::timer::Stage;
use super::worker::Worker;
use crate::http::response::{self, Answer, Recipient};

/// A request without a client.
pub struct Orphan {
    /// Its state.
    pub call: Call,
    /// Its place.
    pub permit: Permit,
    /// Its connection.
    pub backend: Conn,
    /// How its answer would have been written.
    pub to: Recipient,
    /// Its answer's body, if the head has come.
    pub answer: Option<Pump>,
    /// Whether the connection may be used again after the answer.
    pub reusable: bool,
    /// Whether all of the request was sent.
    pub sent: bool,
    /// Whether the backend is told that no more will come: because the request is cut off, or because
    /// its answer may never end by itself, as an event stream.
    pub half_close: bool,
}

/// Lets a task wait for the request's end. Nobody waits for the task: it ends with the worker, at the
/// latest.
pub fn adopt(worker: &Rc<Worker>, orphan: Orphan) {
    spawn_local(orphan.run(worker.clone()));
}

impl Orphan {
    async fn run(mut self, worker: Rc<Worker>) {
        let timer = worker.timer();
        let config = worker.config();
        timer.set(worker.clock(), Stage::Busy, config.response_timeout);
        let event = poll_fn(|cx| {
            if timer.check(cx).is_err() {
                return Poll::Ready(Event::BackendSilent);
            }
            if self.half_close && self.backend.poll_flush(cx).is_ready() {
                let _ = self.backend.poll_shutdown(cx);
            }
            self.poll_end(cx, config.max_head)
        })
        .await;
        let place = self.call.on(event);
        self.permit.apply(place);
        if event == Event::Whole && self.reusable && self.sent && !self.half_close {
            worker.keep(self.permit.backend, self.backend);
        }
    }

    /// Reads on until the answer's end.
    fn poll_end(&mut self, cx: &mut Context<'_>, max_head: usize) -> Poll<Event> {
        let mut dropped = Vec::new();
        loop {
            if let Some(answer) = &mut self.answer {
                dropped.clear();
                let end = match ready!(answer.poll_gather(cx, &mut self.backend, &mut dropped, 1)) {
                    Ok(()) if answer.received() => Event::Whole,
                    Ok(()) => continue,
                    Err(Broken::Malformed) => Event::BackendMalformed,
                    Err(_) => Event::BackendClosed,
                };
                return Poll::Ready(end);
            }
            response::lower_version(self.backend.input.unread_mut());
            match response::translate(self.backend.input.unread(), self.to, &mut dropped) {
                Ok(Some(Answer::Interim(length))) => self.backend.input.consume(length),
                Ok(Some(Answer::Final(response))) => {
                    self.backend.input.consume(response.head_length);
                    let place = self.call.on(Event::Head(response.status));
                    self.permit.apply(place);
                    self.reusable = response.reusable;
                    self.answer = Some(Pump::answer(response.framing, response.encoder));
                }
                Ok(None) if self.backend.input.unread().len() < max_head => {
                    if !matches!(ready!(self.backend.poll_fill(cx, max_head)), Ok(1..)) {
                        return Poll::Ready(Event::BackendClosed);
                    }
                }
                Ok(None) | Err(_) => return Poll::Ready(Event::BackendMalformed),
            }
        }
    }
}
