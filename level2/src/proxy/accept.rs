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
use super::client;
use super::peers::Counted;
use super::record::{Ended, Next, Record};
use super::shared::Shared;
use super::worker::Worker;
use crate::http::response::Recipient;
use crate::net::{Bound, Listener, Stream};
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

fn poll_next(listeners: &[Listener], cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Peer)>> {
    for listener in listeners {
        if let Poll::Ready(accepted) = listener.poll_accept(cx) {
            return Poll::Ready(accepted);
        }
    }
    Poll::Pending
}

/// Starts to serve a connection, if there is room for it.
async fn welcome(worker: &Rc<Worker>, accepted: io::Result<(Stream, Peer)>) {
    let Ok((stream, peer)) = accepted else {
        // Out of file descriptors, most likely: make room, and give it a moment to come free.
        count(&worker.stats().shortages);
        worker.close_idlest(None);
        tokio::time::sleep(SHORTAGE).await;
        return;
    };
    let Some(counted) = make_room(worker, peer).await else {
        count(&worker.stats().connections_refused);
        refuse(worker, &stream, peer);
        return;
    };
    count(&worker.stats().connections);
    let timer = worker.client_timer(peer);
    let serving = client::serve(worker.clone(), timer, stream, peer);
    worker.tasks.spawn_local(async move {
        serving.await;
        drop(counted);
    });
}

/// Counts a connection in, if need be in the place of an idle one: anybody's where there are too many, the
/// peer's own where it has too many.
async fn make_room(worker: &Rc<Worker>, peer: Peer) -> Option<Counted> {
    let config = worker.config();
    let room = config.max_connections.div_ceil(config.threads);
    let most = config.max_connections_per_peer.div_ceil(config.threads);
    for attempt in 0..3 {
        let has_room = worker.tasks.len() < room;
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
