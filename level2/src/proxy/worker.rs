//! A worker: one thread, one runtime, its connections and pools.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

use super::client;
use super::conn::Conn;
use super::timer::{Millis, Timer};
use crate::access_log::Log;
use crate::config::Config;
use crate::gate::Gate;
use crate::net::{Bound, Listener, Stream};
use crate::notes::note;
use crate::policy::{Flight, Outcome};
use crate::stats::{WorkerStats, count};

/// How often deadlines are looked at.
const SWEEP: Duration = Duration::from_millis(50);

/// How long an idle connection to a backend is kept. Most servers close theirs after 5 s or more; one
/// that is closed just as it is used costs a retry, or an error where none is allowed.
const POOLED: Millis = 4_000;

/// Idle connections kept per backend and worker.
const POOL_SIZE: usize = 256;

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// The settings.
    pub config: Config,
    /// The policy.
    pub gate: Gate,
    /// Every worker's counters.
    pub stats: Vec<WorkerStats>,
    /// The access log.
    pub log: Log,
    /// When the proxy was started.
    pub started: Instant,
}

impl Shared {
    /// The shared state of a proxy with these settings.
    pub fn new(config: Config) -> Self {
        Self {
            gate: Gate::new(config.policy.clone()),
            stats: (0..config.threads)
                .map(|_| WorkerStats::default())
                .collect(),
            log: Log::new(config.access_log),
            started: Instant::now(),
            config,
        }
    }
}

/// An idle connection to a backend.
#[derive(Debug)]
struct Pooled {
    conn: Conn,
    since: Millis,
}

/// A worker's own state, on its own thread.
#[derive(Debug)]
pub(super) struct Worker {
    pub shared: Arc<Shared>,
    index: usize,
    pools: RefCell<Vec<Vec<Pooled>>>,
    timers: RefCell<Vec<Weak<Timer>>>,
    clock: Cell<Millis>,
    pub draining: Cell<bool>,
    /// Tasks that serve somebody or wait for a backend: the worker ends with the last of them.
    busy: Cell<usize>,
}

/// Counts its task among those the worker waits for.
#[must_use = "the task is no longer counted once this is dropped"]
pub(super) struct Busy(Rc<Worker>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
    }
}

/// A request's right to be at a backend. Dropped unused, it counts as broken off by the client.
#[derive(Debug)]
#[must_use = "dropping a permit gives its place away"]
pub(super) struct Permit {
    worker: Rc<Worker>,
    flight: Option<Flight>,
    pub backend: usize,
}

impl Permit {
    pub fn new(worker: &Rc<Worker>, flight: Flight) -> Self {
        Self {
            worker: worker.clone(),
            backend: flight.backend,
            flight: Some(flight),
        }
    }

    /// The request is over at the backend. More than once is as good as once.
    pub fn finish(&mut self, outcome: Outcome) {
        if let Some(flight) = self.flight.take() {
            if matches!(outcome, Outcome::Failed | Outcome::Unreachable) {
                count(&self.worker.stats().backend_failures);
            }
            if self.worker.shared.gate.finish(flight, outcome) {
                let address = &self.worker.shared.config.backends[self.backend];
                note(format_args!(
                    "backend {address} fails; it gets no requests until it can be reached"
                ));
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.finish(Outcome::Aborted);
    }
}

impl Worker {
    fn new(shared: Arc<Shared>, index: usize) -> Self {
        let pools = shared.config.backends.iter().map(|_| Vec::new()).collect();
        Self {
            shared,
            index,
            pools: RefCell::new(pools),
            timers: RefCell::default(),
            clock: Cell::new(0),
            draining: Cell::new(false),
            busy: Cell::new(0),
        }
    }

    pub fn stats(&self) -> &WorkerStats {
        &self.shared.stats[self.index]
    }

    /// Milliseconds since the start, as of the last sweep.
    pub fn clock(&self) -> Millis {
        self.clock.get()
    }

    pub fn busy(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        Busy(self.clone())
    }

    pub fn timer(&self) -> Rc<Timer> {
        let timer = Rc::new(Timer::new());
        self.timers.borrow_mut().push(Rc::downgrade(&timer));
        timer
    }

    /// An idle connection to a backend, if there is one that still stands.
    pub fn pooled(&self, backend: usize) -> Option<Conn> {
        let mut pools = self.pools.borrow_mut();
        while let Some(Pooled { conn, since }) = pools[backend].pop() {
            if since + POOLED > self.clock() && conn.stream.is_silent() {
                return Some(conn);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub fn keep(&self, backend: usize, mut conn: Conn) {
        let pool = &mut self.pools.borrow_mut()[backend];
        if conn.input.is_empty() && conn.unsent() == 0 && pool.len() < POOL_SIZE {
            conn.shrink();
            pool.push(Pooled {
                conn,
                since: self.clock(),
            });
        }
    }

    /// Calls a backend.
    pub async fn connect(&self, backend: usize) -> io::Result<Conn> {
        let config = &self.shared.config;
        let call = Stream::connect(&config.backends[backend]);
        let stream = tokio::time::timeout(config.connect_timeout, call).await??;
        Ok(Conn::new(stream))
    }

    /// Looks at all deadlines, for ever.
    async fn sweep(&self) {
        let mut every = tokio::time::interval(SWEEP);
        loop {
            every.tick().await;
            self.clock
                .set(self.shared.started.elapsed().as_millis() as Millis);
            self.timers
                .borrow_mut()
                .retain(|timer| match timer.upgrade() {
                    Some(timer) => {
                        timer.sweep(self.clock(), self.draining.get());
                        true
                    }
                    None => false,
                });
            for pool in self.pools.borrow_mut().iter_mut() {
                pool.retain(|pooled| pooled.since + POOLED > self.clock());
            }
        }
    }

    /// Accepts from all listeners until told to stop, and until nobody is left in the kernel's queue.
    async fn accept(self: &Rc<Self>, listeners: &[Listener], stop: &mut watch::Receiver<bool>) {
        let most = self
            .shared
            .config
            .max_connections
            .div_ceil(self.shared.config.threads);
        let next = || {
            poll_fn(|cx| {
                for listener in listeners {
                    if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                        return Poll::Ready(accepted);
                    }
                }
                Poll::Pending
            })
        };
        let mut stopping = false;
        loop {
            let accepted = if stopping {
                // Whoever the kernel let in before the stop is still served.
                let last =
                    poll_fn(|cx| Poll::Ready(std::pin::pin!(next()).as_mut().poll(cx))).await;
                let Poll::Ready(accepted) = last else { return };
                accepted
            } else {
                tokio::select! {
                    biased;
                    accepted = next() => accepted,
                    _ = stop.wait_for(|stop| *stop) => {
                        stopping = true;
                        continue;
                    }
                }
            };
            match accepted {
                Ok((stream, peer)) if self.busy.get() < most => {
                    count(&self.stats().connections);
                    spawn_local(client::serve(self.clone(), self.busy(), stream, peer));
                }
                Ok(_) => count(&self.stats().connections_refused),
                // Out of file descriptors, most likely: wait for some to come free.
                Err(_) => tokio::time::sleep(SWEEP).await,
            }
        }
    }
}

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
        worker.accept(&listeners, &mut stop).await;
        drop(listeners);
        worker.draining.set(true);
        let drained = async {
            while worker.busy.get() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = drained => {}
            _ = abort.wait_for(|abort| *abort) => {}
        }
        sweeper.abort();
        Ok(())
    })
}
