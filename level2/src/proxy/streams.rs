//! A connection of HTTP/2: its streams are served as connections with one request each.
//!
//! How many may be open is announced when it begins. Whoever is turned away nevertheless asks for more than
//! there is: streams beyond half as many are refused from then on before anything is done for them
//! (REFUSED_STREAM: a client may ask again), and each answer that was none of that kind lets one more in.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::client;
use super::conn::Conn;
use super::origin::Origin;
use super::secure::in_time;
use super::timer::{Millis, Stage, Timer};
use super::worker::Worker;
use crate::config::Config;
use crate::http2::{Meter, Metered, ServedStream};
use crate::stats::count;

/// Streams that anybody may have open, however often they are turned away.
const LEAST_STREAMS: usize = 8;

/// Bytes that a client may send on one stream before they are read, and on all together.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Bytes of an answer that may wait in a stream for the connection to send them.
const SEND_BUFFER: usize = 64 * 1024;

/// Time that a client has to take leave.
const LINGER: Duration = Duration::from_secs(2);

/// For a timer that is not to fire.
const FOREVER: Duration = Duration::from_secs(1 << 32);

/// What a connection's streams have in common.
#[derive(Debug)]
struct Live {
    meter: Arc<Meter>,
    /// Streams that are served now.
    open: Cell<usize>,
    /// Streams that may be.
    limit: Cell<usize>,
    most: usize,
}

impl Live {
    fn ended(&self, status: u16) {
        self.open.set(self.open.get() - 1);
        let limit = self.limit.get();
        if status == 429 {
            self.limit
                .set((limit / 2).max(LEAST_STREAMS.min(self.most)));
        } else if status > 0 {
            self.meter.answered();
            self.limit.set((limit + 1).min(self.most));
        }
    }
}

/// Serves a connection until it is closed.
pub async fn serve<S>(worker: Rc<Worker>, timer: Rc<Timer>, io: S, mut origin: Origin)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = worker.config();
    origin.http2 = true;
    count(&worker.stats().http2_connections);
    let meter = Arc::new(Meter::default());
    let io = Metered::new(io, meter.clone());
    timer.set(worker.clock(), Stage::Busy, config.header_timeout);
    let mut handshake = pin!(settings(&config).handshake(io));
    let Some(Ok(connection)) = in_time(&timer, &mut handshake).await else {
        return;
    };
    let serving = Serving {
        live: Rc::new(Live {
            meter,
            open: Cell::new(0),
            limit: Cell::new(config.max_streams),
            most: config.max_streams,
        }),
        origin: Rc::new(origin),
        connection,
        worker,
        timer,
    };
    serving.run(&config).await;
}

fn settings(config: &Config) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(config.max_streams as u32)
        .max_header_list_size(config.max_head as u32)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// A connection that is served.
struct Serving<S> {
    worker: Rc<Worker>,
    timer: Rc<Timer>,
    origin: Rc<Origin>,
    live: Rc<Live>,
    connection: Connection<S, Bytes>,
}

/// What comes next.
enum Next {
    Stream(Box<(Request<RecvStream>, SendResponse<Bytes>)>),
    /// Tell the client to open no more.
    Leave(Reason),
    /// It is over.
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Serving<S> {
    async fn run(mut self, config: &Config) {
        let worker = self.worker.clone();
        let mut closing = pin!(worker.closing.notified());
        closing.as_mut().enable();
        let mut leaving = worker.draining.get();
        if leaving {
            self.connection.graceful_shutdown();
        }
        let mut idle = false;
        let mut looked = worker.clock();
        loop {
            let next = poll_fn(|cx| {
                let polled = self.connection.poll_accept(cx);
                self.pass_time(&mut looked);
                if self.live.meter.exhausted() {
                    return Poll::Ready(Next::Leave(Reason::ENHANCE_YOUR_CALM));
                }
                match polled {
                    Poll::Ready(Some(Ok(opened))) => {
                        return Poll::Ready(Next::Stream(Box::new(opened)));
                    }
                    Poll::Ready(_) => return Poll::Ready(Next::Over),
                    Poll::Pending => {}
                }
                if !leaving && closing.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Next::Leave(Reason::NO_ERROR));
                }
                let now_idle = self.live.open.get() == 0;
                if now_idle != idle {
                    idle = now_idle;
                    self.wait(idle, leaving, config);
                }
                if self.timer.check(cx).is_err() {
                    let end = if leaving {
                        Next::Over
                    } else {
                        Next::Leave(Reason::NO_ERROR)
                    };
                    return Poll::Ready(end);
                }
                Poll::Pending
            })
            .await;
            match next {
                Next::Stream(opened) => self.begin(opened.0, opened.1),
                Next::Over => return,
                Next::Leave(Reason::NO_ERROR) => {
                    leaving = true;
                    self.connection.graceful_shutdown();
                    self.wait(idle, leaving, config);
                }
                Next::Leave(reason) => {
                    count(&worker.stats().http2_floods);
                    self.connection.abrupt_shutdown(reason);
                    self.timer.set(worker.clock(), Stage::Busy, LINGER);
                    in_time(
                        &self.timer,
                        pin!(poll_fn(|cx| self.connection.poll_closed(cx))),
                    )
                    .await;
                    return;
                }
            }
        }
    }

    /// Sets the timer for a connection with streams or without.
    fn wait(&self, idle: bool, leaving: bool, config: &Config) {
        let now = self.worker.clock();
        match (idle, leaving) {
            (true, false) => self.timer.set(now, Stage::Idle, config.idle_timeout),
            (true, true) => self.timer.set(now, Stage::Busy, LINGER),
            // Each stream has times of its own.
            (false, _) => self.timer.set(now, Stage::Busy, FOREVER),
        }
    }

    fn pass_time(&self, looked: &mut Millis) {
        let now = self.worker.clock();
        self.live.meter.passed(now - *looked);
        *looked = now;
    }

    /// Begins to serve a stream.
    fn begin(&self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let live = &self.live;
        if live.open.get() >= live.limit.get() {
            count(&self.worker.stats().http2_refused);
            respond.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        live.open.set(live.open.get() + 1);
        let stream = ServedStream::new(request, respond);
        let (worker, origin) = (self.worker.clone(), self.origin.clone());
        let (timer, live) = (worker.timer(), live.clone());
        // Made inside, and in its place: a future that is handed on is copied each time, and this one has kilobytes.
        self.worker.tasks.spawn_local(Box::pin(async move {
            let conn = Conn::for_one(stream.into());
            let status = client::serve_stream(worker, timer, conn, origin).await;
            live.ended(status);
        }));
    }
}
