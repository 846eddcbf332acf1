//! A worker's own state: what its connections share on its one thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::conn::Conn;
use super::handshakes::Handshakes;
use super::multiplexed::Multiplexed;
use super::peers::Peers;
use super::pool::Pool;
use super::retry::RetryBudget;
use super::shared::Shared;
use super::timer::{Millis, Timer};
use crate::config::Config;
use crate::http::response::Date;
use crate::http2::{self, AskedStream};
use crate::net::Stream;
use crate::stats::WorkerStats;
use crate::trust::Peer;

/// How often deadlines are looked at.
pub const SWEEP: Duration = Duration::from_millis(50);

/// A worker's own state, on its own thread.
#[derive(Debug)]
pub struct Worker {
    /// What it shares with the other workers.
    pub shared: Arc<Shared>,
    index: usize,
    /// The settings, as of this generation.
    config: RefCell<(u64, Rc<Config>)>,
    pool: RefCell<Pool>,
    multiplexed: RefCell<Multiplexed>,
    timers: RefCell<Vec<(Weak<Timer>, Option<Peer>)>>,
    clock: Cell<Millis>,
    date: Cell<Date>,
    /// Whether the proxy is closing.
    pub draining: Cell<bool>,
    /// Wakes whoever has to know of that at once.
    pub closing: Notify,
    /// Tasks that serve somebody or wait for a backend: the worker ends with the last of them.
    pub tasks: TaskTracker,
    /// Who has how many connections.
    pub peers: Rc<Peers>,
    /// Handshakes of TLS under way.
    pub handshakes: Rc<Handshakes>,
    /// How many second attempts are allowed now.
    pub retry_budget: RefCell<RetryBudget>,
}

impl Worker {
    /// A worker without connections.
    pub fn new(shared: Arc<Shared>, index: usize) -> Self {
        let config = Config::clone(&shared.config());
        Self {
            index,
            config: RefCell::new((shared.generation(), Rc::new(config))),
            shared,
            pool: RefCell::default(),
            multiplexed: RefCell::default(),
            timers: RefCell::default(),
            clock: Cell::new(0),
            date: Cell::new(Date::new(SystemTime::now())),
            draining: Cell::new(false),
            closing: Notify::new(),
            tasks: TaskTracker::new(),
            peers: Rc::default(),
            handshakes: Rc::default(),
            retry_budget: RefCell::default(),
        }
    }

    /// Its counters.
    pub fn stats(&self) -> &WorkerStats {
        &self.shared.stats[self.index]
    }

    /// The settings as they are now.
    pub fn config(&self) -> Rc<Config> {
        let mut config = self.config.borrow_mut();
        let generation = self.shared.generation();
        if config.0 != generation {
            *config = (generation, Rc::new(Config::clone(&self.shared.config())));
        }
        config.1.clone()
    }

    /// Milliseconds since the start, as of the last sweep.
    pub fn clock(&self) -> Millis {
        self.clock.get()
    }

    /// The time of day, as of the last sweep.
    pub fn date(&self) -> Date {
        self.date.get()
    }

    /// A timer under the sweeper's eyes.
    pub fn timer(&self) -> Rc<Timer> {
        self.timer_of(None)
    }

    /// The timer of a client's connection.
    pub fn client_timer(&self, peer: Peer) -> Rc<Timer> {
        self.timer_of(Some(peer))
    }

    fn timer_of(&self, peer: Option<Peer>) -> Rc<Timer> {
        let timer = Rc::new(Timer::new());
        self.timers.borrow_mut().push((Rc::downgrade(&timer), peer));
        timer
    }

    /// Closes the client's connection that has been idle for longest, of one peer or of all. Returns
    /// whether there was one.
    pub fn close_idlest(&self, of: Option<Peer>) -> bool {
        let timers = self.timers.borrow();
        let clients = timers
            .iter()
            .filter(|(_, peer)| peer.is_some() && (of.is_none() || of == *peer));
        let idlest = clients
            .filter_map(|(timer, _)| timer.upgrade())
            .filter_map(|timer| Some((timer.idle_deadline()?, timer)))
            .min_by_key(|(deadline, _)| *deadline);
        idlest.is_some_and(|(_, timer)| {
            timer.fire();
            true
        })
    }

    /// A connection to a backend that has room for a request, if there is one that still stands.
    pub fn pooled(&self, backend: usize) -> Option<Conn> {
        if self.config.borrow().1.backends[backend].http2 {
            let connection = self.multiplexed.borrow_mut().room(backend)?;
            return Some(Conn::for_one(AskedStream::new(connection).into()));
        }
        self.pool.borrow_mut().take(backend, self.clock())
    }

    /// Keeps a connection for the next request. (One stream of HTTP/2 is for one request; what it is part of
    /// is kept anyway.)
    pub fn keep(&self, backend: usize, conn: Conn) {
        let is_plain = !matches!(conn.stream, Stream::Layered(_));
        if is_plain && !self.config.borrow().1.retired.contains(&backend) {
            self.pool.borrow_mut().keep(backend, conn, self.clock());
        }
    }

    /// Calls a backend.
    pub async fn connect(&self, backend: usize) -> io::Result<Conn> {
        let config = self.config();
        let address = &config.backends[backend];
        let call = || Stream::connect(&address.address);
        let mut called = tokio::time::timeout(config.connect_timeout, call()).await?;
        if called.as_ref().is_err_and(is_shortage) {
            // What is only kept for later is given up for what is needed now.
            self.pool.borrow_mut().clear();
            self.close_idlest(None);
            called = tokio::time::timeout(config.connect_timeout, call()).await?;
        }
        let stream = called?;
        if !address.http2 {
            return Ok(Conn::new(stream));
        }
        let connection =
            tokio::time::timeout(config.connect_timeout, http2::begin(stream)).await??;
        self.multiplexed.borrow_mut().keep(backend, &connection);
        Ok(Conn::for_one(AskedStream::new(connection).into()))
    }

    /// Looks at all deadlines, for ever.
    pub async fn sweep(&self) {
        let mut every = tokio::time::interval(SWEEP);
        loop {
            every.tick().await;
            self.clock
                .set(self.shared.started.elapsed().as_millis() as Millis);
            self.date.set(Date::new(SystemTime::now()));
            self.timers
                .borrow_mut()
                .retain(|(timer, _)| match timer.upgrade() {
                    Some(timer) => {
                        timer.sweep(self.clock(), self.draining.get());
                        true
                    }
                    None => false,
                });
            self.pool.borrow_mut().sweep(self.clock());
            self.multiplexed
                .borrow_mut()
                .sweep(&self.config.borrow().1.retired);
        }
    }
}

/// Whether the proxy itself has run out of something, and the backend is not to blame.
pub fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let own = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
        Errno::AGAIN,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| own.iter().any(|errno| errno.raw_os_error() == code))
}
