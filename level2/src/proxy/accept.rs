//! A worker's life: it accepts connections until it is told to stop, and ends with the last of them.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local, yield_now};

use super::answer::Answer;
use super::beginning::Beginning;
use super::client;
use super::conn::Conn;
use super::origin::Origin;
use super::peers::Counted;
use super::record::{Ended, Next, Record};
use super::secure;
use super::shared::Shared;
use super::streams;
use super::timer::Timer;
use super::worker::Worker;
use crate::config::Config;
use crate::http::response::Recipient;
use crate::net::{Accepted, Bound, Listener, Stream};
use crate::stats::count;
use crate::trust::Peer;

/// Pause after a failure to accept.
const SHORTAGE: Duration = Duration::from_millis(5);

/// Runs a worker on this thread until `stop` becomes true and its last request is answered, or until
/// `abort` does.
pub fn run(
    shared: Arc<Shared>,
    index: usize,
    bound: Vec<Bound>,
    mut stop: watch::Receiver<bool>,
    mut abort: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let listeners: io::Result<Vec<Listener>> =
            bound.into_iter().map(Bound::into_listener).collect();
        let listeners = listeners?;
        let worker = Rc::new(Worker::new(shared, index));
        let sweeper = worker.clone();
        let sweeper = spawn_local(async move { sweeper.sweep().await });
        accept(&worker, &listeners, &mut stop).await;
        drop(listeners);
        worker.draining.set(true);
        worker.closing.notify_waiters();
        worker.tasks.close();
        tokio::select! {
            () = worker.tasks.wait() => {}
            _ = abort.wait_for(|abort| *abort) => {}
        }
        sweeper.abort();
        Ok(())
    })
}

/// Accepts from all listeners until told to stop, and until nobody is left in the kernel's queue.
async fn accept(worker: &Rc<Worker>, listeners: &[Listener], stop: &mut watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = poll_fn(|cx| poll_next(listeners, cx)) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        welcome(worker, accepted).await;
    }
    // Whoever the kernel let in before the stop is still served.
    while let Poll::Ready(accepted) = poll_fn(|cx| Poll::Ready(poll_next(listeners, cx))).await {
        if accepted.is_err() {
            return;
        }
        welcome(worker, accepted).await;
    }
}

fn poll_next(listeners: &[Listener], cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
    for listener in listeners {
        if let Poll::Ready(accepted) = listener.poll_accept(cx) {
            return Poll::Ready(accepted);
        }
    }
    Poll::Pending
}

/// Starts to serve a connection, if there is room for it.
async fn welcome(worker: &Rc<Worker>, accepted: io::Result<Accepted>) {
    let Ok(accepted) = accepted else {
        // Out of file descriptors, most likely: make room, and give it a moment to come free.
        count(&worker.stats().shortages);
        worker.close_idlest(None);
        tokio::time::sleep(SHORTAGE).await;
        return;
    };
    let peer = accepted.peer;
    let Some(counted) = make_room(worker, peer).await else {
        count(&worker.stats().connections_refused);
        if !accepted.secure {
            refuse(worker, &accepted.stream, peer);
        }
        return;
    };
    count(&worker.stats().connections);
    let timer = worker.client_timer(peer);
    let worker_of = worker.clone();
    // Made inside: a future that is handed on is copied each time, and this one has kilobytes.
    worker.tasks.spawn_local(Box::pin(async move {
        serve(worker_of.clone(), timer, accepted).await;
        count(&worker_of.stats().connections_closed);
        drop(counted);
    }));
}

/// Whether a peer says by the PROXY protocol whom its connections come from.
fn says_its_source(config: &Config, peer: Peer) -> bool {
    config.proxy_protocol && config.trust.trusts(peer)
}

/// Finds out what is spoken on a connection, and serves it.
async fn serve(worker: Rc<Worker>, timer: Rc<Timer>, accepted: Accepted) {
    let config = worker.config();
    let peer = accepted.peer;
    if accepted.secure || config.h2c || says_its_source(&config, peer) {
        drop(config);
        // Apart, so that the others need no memory for what they do not do.
        return Box::pin(look(worker, timer, accepted)).await;
    }
    let origin = Origin::new(&config, peer);
    drop(config);
    client::serve(worker, timer, Conn::new(accepted.stream), Rc::new(origin)).await;
}

/// Looks at a connection's beginning, and serves it.
async fn look(worker: Rc<Worker>, timer: Rc<Timer>, accepted: Accepted) {
    let config = worker.config();
    let mut beginning = Beginning::new(accepted.stream);
    let mut peer = accepted.peer;
    // Held until the end.
    let mut counted = None;
    if says_its_source(&config, peer) {
        let Some(source) = beginning.source(&worker, &timer).await else {
            count(&worker.stats().bad_requests);
            return;
        };
        peer = source.map_or(peer, |source| Peer::Ip(source.to_canonical()));
        // Who it is counts among connections, and not only who has passed it on.
        let most = config.max_connections_per_peer.div_ceil(config.threads);
        counted = worker.peers.count_of(peer, most);
        if counted.is_none() {
            count(&worker.stats().connections_refused);
            return;
        }
    }
    drop(config);
    speak(&worker, timer, beginning, peer, accepted.secure).await;
    drop(counted);
}

/// Finds out what a peer speaks, and speaks it.
async fn speak(
    worker: &Rc<Worker>,
    timer: Rc<Timer>,
    mut beginning: Beginning,
    peer: Peer,
    secure: bool,
) {
    let config = worker.config();
    let http2 = !secure && config.h2c;
    let mut origin = Origin::new(&config, peer);
    drop(config);
    let worker = worker.clone();
    if secure {
        let begun = beginning.into_io();
        let Some((stream, secured)) = secure::handshake(&worker, &timer, begun, peer).await else {
            return;
        };
        let http2 = secured.http2;
        origin.secured = Some(secured);
        if http2 {
            streams::serve(worker, timer, stream, origin).await;
        } else {
            client::serve(worker, timer, Conn::new(stream), Rc::new(origin)).await;
        }
        return;
    }
    if http2 {
        match beginning.is_http2(&worker, &timer).await {
            Some(true) => return streams::serve(worker, timer, beginning.into_io(), origin).await,
            Some(false) => {}
            None => return,
        }
    }
    let conn = beginning.into_conn();
    client::serve(worker, timer, conn, Rc::new(origin)).await;
}

/// Counts a connection in, if need be in the place of an idle one: anybody's where there are too many, the
/// peer's own where it has too many.
async fn make_room(worker: &Rc<Worker>, peer: Peer) -> Option<Counted> {
    let config = worker.config();
    let room = config.max_connections.div_ceil(config.threads);
    let most = config.max_connections_per_peer.div_ceil(config.threads);
    for attempt in 0..3 {
        let has_room = worker.peers.total() < room;
        // Whoever passes on others' connections may have as many as there are.
        let most = if says_its_source(&config, peer) {
            room
        } else {
            most
        };
        let counted = has_room.then(|| worker.peers.count(peer, most));
        if let Some(Some(counted)) = counted {
            return Some(counted);
        }
        let closed = worker.close_idlest(has_room.then_some(peer));
        if !closed && attempt > 0 {
            break;
        }
        // Those told to close do so now; those just accepted come to be idle.
        yield_now().await;
    }
    None
}

/// Says why a connection is closed at once, as far as the kernel takes it without waiting.
fn refuse(worker: &Worker, stream: &Stream, peer: Peer) {
    let to = Recipient {
        is_head: false,
        http11: true,
        keep_alive: false,
        collects: false,
        date: worker.date(),
        allowance: None,
    };
    let mut out = Vec::new();
    Answer {
        status: 503,
        text: "too many connections",
        retry_after: Some(1),
    }
    .write(to, &[], &mut out);
    stream.try_write(&out);
    let ended = Ended {
        status: 503,
        bytes: 0,
        next: Next::Drop,
    };
    Record::default().close(worker, &peer.to_string(), ended);
}
