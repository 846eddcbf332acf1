//! One request and its answer over one connection to a backend.
//!
//! Both directions are driven by one task, and [`Call`] says what each turn of events means for the
//! place. At any moment the proxy waits either for the client, whose [`Pace`] then counts, or for the
//! backend, which has a time of its own: [`Exchange::late`] looks at both.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::call::{Call, Event, Place, Stage};
use super::conn::Conn;
use super::orphan::{self, Orphan};
use super::pace::Pace;
use super::permit::Permit;
use super::pump::{Broken, Pump, Window};
use super::timer::{self, Millis, Timer};
use super::worker::Worker;
use crate::config::Config;
use crate::health::Sign;
use crate::http::body::{Encoder, Framing};
use crate::http::response::{self, Answer, Recipient, Response};
use crate::http::trailers::{self, Passing};
use crate::policy::Outcome;

/// Most bytes read ahead from a client that sends its next requests before the answer.
pub const READ_AHEAD: usize = 4 * 1024;

/// Most bytes of interim answers (1xx) before the answer itself.
const MOST_INTERIM: usize = 1 << 20;

/// A complete exchange.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Status of the answer.
    pub status: u16,
    /// Bytes of content sent to the client.
    pub bytes: u64,
    /// Whether the client's connection can go on.
    pub client_reusable: bool,
}

/// An exchange that did not come to its end.
#[derive(Clone, Copy, Debug)]
pub struct Broke {
    /// What happened.
    pub event: Event,
    /// The answer's status, if its head is out already: then the answer is cut short.
    pub status: Option<u16>,
    /// Bytes of content sent to the client.
    pub bytes: u64,
}

/// Whom the proxy waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Client,
    Backend,
}

/// How far both sides had come when the exchange was last looked at.
#[derive(Clone, Copy, Debug)]
struct Progress {
    at: Millis,
    awaited: Awaited,
    backend_moved: u64,
    /// When the client last did something, or was first waited for; and the backend.
    client_since: Millis,
    backend_since: Millis,
}

/// The two sides of an exchange.
pub struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    config: Rc<Config>,
    timer: &'a Timer,
    client: &'a mut Conn,
    backend: Conn,
    to: Recipient,
    call: Call,
    asks: Passing<'a>,
    hears_all: bool,
    /// The line of the answer's head that names fields after its body.
    announcement: Vec<u8>,
    converses: bool,
    permit: Permit,
    /// What is left of the request's body.
    body: &'a mut Pump,
    window: Window,
    pace: Pace,
    progress: Progress,
    interim: usize,
    /// Where the answer's head is in the client's output.
    head_at: u64,
    /// Whether the answer's head is there and says nothing bad of the backend.
    well: bool,
}

/// What an exchange is made of.
pub struct Sides<'a> {
    /// The worker.
    pub worker: &'a Rc<Worker>,
    /// The client's timer.
    pub timer: &'a Timer,
    /// The client.
    pub client: &'a mut Conn,
    /// The backend; the request's head and what was buffered of its body are in its output.
    pub backend: Conn,
    /// The place.
    pub permit: Permit,
    /// Its state.
    pub call: Call,
    /// Which fields after the request's body the backend gets.
    pub asks: Passing<'a>,
    /// Whether the client gets all of those after the answer's, and not only what its head announces.
    pub hears_all: bool,
    /// Whether the client may wait for the answer before it sends more of its body.
    pub converses: bool,
}

impl<'a> Exchange<'a> {
    /// An exchange that has not begun.
    pub fn new(sides: Sides<'a>, to: Recipient, body: &'a mut Pump) -> Self {
        let config = sides.worker.config();
        let now = sides.worker.clock();
        let progress = Progress {
            at: now,
            awaited: Awaited::Backend,
            backend_moved: sides.backend.moved(),
            client_since: now,
            backend_since: now,
        };
        Self {
            worker: sides.worker,
            timer: sides.timer,
            client: sides.client,
            backend: sides.backend,
            permit: sides.permit,
            call: sides.call,
            asks: sides.asks,
            hears_all: sides.hears_all,
            announcement: Vec::new(),
            converses: sides.converses,
            pace: Pace::new(config.min_rate, config.grace),
            config,
            to,
            body,
            window: Window::fixed(),
            progress,
            interim: 0,
            head_at: 0,
            well: false,
        }
    }

    /// Sends the request and passes the answer on.
    pub async fn run(mut self) -> Result<Done, Broke> {
        let start = self.client.output.len();
        let response = match poll_fn(|cx| self.poll_ask(cx)).await {
            Ok(response) => response,
            Err(event) => return Err(self.break_off(event, None, None)),
        };
        let place = self.call.on(Event::Head(response.status));
        self.permit.apply(place);
        let sign = Sign::of(response.status);
        self.well = sign == Sign::Good;
        if !self.well {
            self.permit.report(sign);
        }
        let mut answer = Pump::answer(response.framing, response.encoder);
        let passed = if response.collected {
            self.collect(&mut answer, start).await
        } else {
            self.pass_on(&mut answer).await
        };
        if let Err(event) = passed {
            // What is not out yet can be another answer.
            let back = self.client.take_back(self.head_at);
            let out = (!back).then_some(response.status);
            return Err(self.break_off(event, out, Some((answer, response))));
        }
        let sent = self.body.received() && self.backend.unsent() == 0;
        if response.reusable && sent {
            self.worker.keep(self.permit.backend, self.backend);
        }
        Ok(Done {
            status: response.status,
            bytes: answer.content(),
            client_reusable: self.to.keep_alive && sent && !response.ends_by_close,
        })
    }

    /// Ends an exchange that will not come to its end; the backend may be left to work on.
    fn break_off(
        mut self,
        event: Event,
        status: Option<u16>,
        answer: Option<(Pump, Response)>,
    ) -> Broke {
        let answering = self.call.stage() == Stage::Answering;
        let place = self.call.on(event);
        if place == Place::Freed(Outcome::Failed) || event == Event::BackendSilent {
            if !answering || self.well {
                self.permit.report(Sign::Bad);
            }
        } else if answering && self.well {
            // It was not for the backend that this ended.
            self.permit.report(Sign::Good);
        }
        self.permit.apply(place);
        let broke = Broke {
            event,
            status,
            bytes: answer.as_ref().map_or(0, |(pump, _)| pump.content()),
        };
        if self.call.stage() == Stage::Orphaned {
            let sent = self.body.received() && self.backend.unsent() == 0;
            let endless = answer
                .as_ref()
                .is_some_and(|(_, response)| !matches!(response.framing, Framing::Sized(_)));
            let orphan = Orphan {
                call: self.call,
                permit: self.permit,
                backend: self.backend,
                to: self.to,
                reusable: answer.as_ref().is_some_and(|(_, r)| r.reusable),
                answer: answer.map(|(pump, _)| pump),
                sent,
                half_close: !sent || endless,
            };
            orphan::adopt(self.worker, orphan);
        }
        broke
    }

    /// Sends the request until the answer's head is there; that goes to the client's output.
    fn poll_ask(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response, Event>> {
        if let Err(event) = self.late(self.config.response_timeout) {
            return Poll::Ready(Err(event));
        }
        if self.call.stage() == Stage::Sending
            && let Poll::Ready(sent) = self.poll_send(cx)
        {
            match sent {
                Ok(()) => {
                    let place = self.call.on(Event::Sent);
                    self.permit.apply(place);
                    self.progress.backend_since = self.worker.clock();
                }
                Err(event) => return Poll::Ready(Err(event)),
            }
        }
        let answered = self.poll_answer(cx);
        // A "100 Continue" or "103 Early Hints" may be waiting to go out.
        if !self.to.collects
            && self.client.unsent() > 0
            && answered.is_pending()
            && let Poll::Ready(Err(_)) = self.client.poll_flush(cx)
        {
            return Poll::Ready(Err(Event::ClientLeft));
        }
        if answered.is_ready() {
            return answered;
        }
        let sending = self.call.stage() == Stage::Sending;
        if !sending && poll_gone(self.client, cx) {
            return Poll::Ready(Err(Event::ClientLeft));
        }
        let awaited = if sending && self.body_is_awaited() {
            Awaited::Client
        } else {
            Awaited::Backend
        };
        self.wait_for(awaited, self.config.response_timeout, cx);
        Poll::Pending
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Event>> {
        let mut window = Window::fixed();
        let sent = self
            .body
            .poll(cx, self.client, &mut self.backend, &mut window, self.asks);
        sent.map(|sent| match sent {
            // If writing failed, it may have answered before it closed: that is worth having.
            Ok(()) | Err(Broken::Sink) => Ok(()),
            Err(Broken::Source) => Err(Event::ClientLeft),
            Err(Broken::Malformed) => Err(Event::BodyMalformed),
            Err(Broken::TooLarge) => Err(Event::BodyTooLarge),
        })
    }

    /// The answer's head, once it is complete.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response, Event>> {
        loop {
            match self.backend.poll_fill(cx, self.config.max_head) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) if self.backend.input.is_empty() => {
                    return Poll::Ready(Err(Event::BackendClosed));
                }
                Poll::Ready(_) => return Poll::Ready(Err(Event::BackendMalformed)),
                Poll::Pending => return Poll::Pending,
            }
            if let Some(found) = self.answer_in_input() {
                return Poll::Ready(found);
            }
        }
    }

    /// The answer's head in what was read, once it is complete.
    fn answer_in_input(&mut self) -> Option<Result<Response, Event>> {
        // Whoever asks while the proxy is closing is told to go elsewhere next time.
        self.to.keep_alive &= !self.worker.draining.get();
        loop {
            response::lower_version(self.backend.input.unread_mut());
            let input = self.backend.input.unread();
            self.head_at = self.client.end_of_output();
            let start = self.client.output.len();
            match response::translate(input, self.to, &mut self.client.output) {
                Ok(Some(Answer::Interim(length))) if self.interim < MOST_INTERIM => {
                    self.interim += length;
                    self.backend.input.consume(length);
                }
                Ok(Some(Answer::Final(response))) => {
                    self.backend.input.consume(response.head_length);
                    if response.encoder == Encoder::Chunked {
                        let head = &self.client.output[start..];
                        self.announcement = trailers::announcement(head).to_vec();
                    }
                    return Some(Ok(response));
                }
                Ok(None) if input.len() < self.config.max_head => return None,
                Ok(None | Some(Answer::Interim(_))) | Err(_) => {
                    return Some(Err(Event::BackendMalformed));
                }
            }
        }
    }

    /// Passes the answer's body on; frees the backend's place as soon as the backend is done.
    async fn pass_on(&mut self, answer: &mut Pump) -> Result<(), Event> {
        self.window = Window::growing(
            self.worker.shared.memory.share(),
            self.config.buffer_response,
        );
        let mut sending = self.call_is_sending();
        let mut begun = false;
        poll_fn(|cx| {
            if let Err(event) = self.late(self.config.backend_idle_timeout) {
                return Poll::Ready(Err(event));
            }
            if sending {
                // An answer may come before all of the request was sent; what is left still goes.
                sending = self.poll_send(cx).is_pending();
            }
            let (client, window) = (&mut *self.client, &mut self.window);
            let hears = if self.hears_all {
                Passing::All
            } else {
                Passing::AnnouncedBy(&self.announcement)
            };
            let polled = answer.poll(cx, &mut self.backend, client, window, hears);
            if answer.received() {
                self.whole();
            } else if !begun && self.well {
                begun = true;
                self.permit.report(Sign::Begun);
            }
            match polled {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(answer_broke(broken))),
                Poll::Pending => {}
            }
            if !sending && poll_gone(self.client, cx) {
                return Poll::Ready(Err(Event::ClientLeft));
            }
            let awaited = if answer.waits_for_sink() || (sending && self.body_is_awaited()) {
                Awaited::Client
            } else {
                Awaited::Backend
            };
            self.wait_for(awaited, self.config.backend_idle_timeout, cx);
            Poll::Pending
        })
        .await
    }

    /// Gathers the answer's body, whose head starts at `start` of the client's output, so that its
    /// length can be given; then sends both.
    async fn collect(&mut self, answer: &mut Pump, start: usize) -> Result<(), Event> {
        let most = self.config.buffer_response;
        let mut share = self.worker.shared.memory.share();
        if !share.grow(most) {
            return Err(Event::AnswerTooLarge);
        }
        let mut body = Vec::new();
        poll_fn(|cx| {
            if let Err(event) = self.late(self.config.backend_idle_timeout) {
                return Poll::Ready(Err(event));
            }
            match answer.poll_gather(cx, &mut self.backend, &mut body, most + 1) {
                Poll::Ready(Ok(())) if answer.received() && body.len() <= most => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) => return Poll::Ready(Err(Event::AnswerTooLarge)),
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(answer_broke(broken))),
                Poll::Pending => {}
            }
            if poll_gone(self.client, cx) {
                return Poll::Ready(Err(Event::ClientLeft));
            }
            self.wait_for(Awaited::Backend, self.config.backend_idle_timeout, cx);
            Poll::Pending
        })
        .await?;
        self.whole();
        debug_assert!(start <= self.client.output.len());
        response::finish_collected(&mut self.client.output, self.to, body.len() as u64);
        self.client.output.extend_from_slice(&body);
        poll_fn(|cx| {
            if let Err(event) = self.late(Duration::MAX) {
                return Poll::Ready(Err(event));
            }
            if let Poll::Ready(sent) = self.client.poll_flush(cx) {
                return Poll::Ready(sent.map_err(|_| Event::ClientLeft));
            }
            self.wait_for(Awaited::Client, Duration::MAX, cx);
            Poll::Pending
        })
        .await
    }

    /// Whether more of the request's body is wanted and none of it is there: the client is to send. In a
    /// conversation it is as likely the backend's turn, whose times are counted then.
    fn body_is_awaited(&self) -> bool {
        !self.converses && !self.body.waits_for_sink() && self.backend.unsent() == 0
    }

    /// All of the answer has come.
    fn whole(&mut self) {
        if self.call.stage() == Stage::Answering && self.well {
            self.permit.report(Sign::Good);
        }
        let place = self.call.on(Event::Whole);
        self.permit.apply(place);
    }

    fn call_is_sending(&self) -> bool {
        !self.body.received() || self.backend.unsent() > 0
    }

    /// Whether whoever is waited for has used up its time.
    fn late(&mut self, backend_time: Duration) -> Result<(), Event> {
        let now = self.worker.clock();
        let progress = &mut self.progress;
        let backend = self.backend.moved();
        if progress.backend_moved != backend || progress.awaited == Awaited::Client {
            progress.backend_since = now;
        }
        progress.backend_moved = backend;
        let waited = now - progress.at;
        progress.at = now;
        let since = |moment: Millis| Duration::from_millis(now - moment);
        match progress.awaited {
            // The kernel is asked what reached the client only when time has passed: twenty times a second.
            Awaited::Client if waited > 0 => {
                let spent = self.pace.spend(waited, reached(self.client));
                if spent.moved {
                    progress.client_since = now;
                }
                if spent.in_time && since(progress.client_since) < self.config.idle_timeout {
                    Ok(())
                } else {
                    Err(Event::ClientSlow)
                }
            }
            Awaited::Client => Ok(()),
            Awaited::Backend => {
                progress.client_since = now;
                if since(progress.backend_since) < backend_time {
                    Ok(())
                } else {
                    Err(Event::BackendSilent)
                }
            }
        }
    }

    /// Sets the timer for whoever is waited for.
    fn wait_for(&mut self, awaited: Awaited, backend_time: Duration, cx: &Context<'_>) {
        let now = self.worker.clock();
        let (since, time) = match awaited {
            Awaited::Client => {
                self.pace.begin(|| reached(self.client));
                let time = self.pace.left(self.config.idle_timeout);
                (self.progress.client_since, time)
            }
            Awaited::Backend => (self.progress.backend_since, backend_time),
        };
        let passed = if self.progress.awaited == awaited {
            Duration::from_millis(now - since)
        } else {
            Duration::ZERO
        };
        self.progress.awaited = awaited;
        let left = match awaited {
            Awaited::Client => time.min(self.config.idle_timeout.saturating_sub(passed)),
            Awaited::Backend => time.saturating_sub(passed),
        };
        self.timer.set(now, timer::Stage::Busy, left);
        // A timer just set has not fired; this leaves word whom to wake.
        let _ = self.timer.check(cx);
    }
}

/// Bytes that have come from a client, and that have reached it.
fn reached(client: &Conn) -> u64 {
    client.received() + client.delivered()
}

/// What a broken answer says of its backend or client.
fn answer_broke(broken: Broken) -> Event {
    match broken {
        Broken::Sink => Event::ClientLeft,
        Broken::Malformed | Broken::TooLarge => Event::BackendMalformed,
        Broken::Source => Event::BackendClosed,
    }
}

/// Whether a client has left. Reads ahead to find out.
pub fn poll_gone(client: &mut Conn, cx: &mut Context<'_>) -> bool {
    while client.input.unread().len() < READ_AHEAD {
        match client.poll_fill(cx, 0) {
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(_) => return true,
            Poll::Pending => return false,
        }
    }
    false
}
