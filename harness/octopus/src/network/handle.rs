//! A running network as its users see it: start it, change its links, read its counters, stop it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use mio::Waker;

use super::config::{NetworkConfig, Route};
use super::counters::{Counters, Traffic};
use super::engine::{Engine, Order};
use super::link::{Change, LinkState, Pair, pairs};
use super::packets::{Switch, SwitchConfig};
use super::passage::Passages;

/// A running network. Dropping it stops it.
#[derive(Debug)]
pub struct Network {
    nodes: usize,
    routes: Vec<Route>,
    /// The links as they are when all orders sent so far are carried out.
    links: Mutex<Vec<LinkState>>,
    orders: mpsc::Sender<Order>,
    waker: Arc<Waker>,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

impl Network {
    /// Listens everywhere and starts the network's thread.
    pub fn start(config: NetworkConfig) -> io::Result<Self> {
        if config.links.len() != pairs(config.nodes).len() {
            return Err(io::Error::other("a network needs the state of every link"));
        }
        let counters = Arc::new(Counters::new(config.nodes));
        let (orders, inbox) = mpsc::channel();
        let links = config.links.clone();
        let (engine, routes, waker) = Engine::new(config, Arc::clone(&counters), inbox)?;
        Self::on_thread(
            move || engine.run(),
            links,
            routes,
            (orders, waker, counters),
        )
    }

    /// Starts the thread of a network that carries IP packets between devices. It has no routes.
    pub fn start_switch(config: SwitchConfig) -> io::Result<Self> {
        if config.links.len() != pairs(config.nodes).len() || config.devices.len() < config.nodes {
            return Err(io::Error::other(
                "a network needs the state of every link and all devices",
            ));
        }
        let counters = Arc::new(Counters::new(config.nodes));
        let (orders, inbox) = mpsc::channel();
        let links = config.links.clone();
        let (switch, waker) = Switch::new(config, Arc::clone(&counters), inbox)?;
        Self::on_thread(
            move || switch.run(),
            links,
            Vec::new(),
            (orders, waker, counters),
        )
    }

    fn on_thread(
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
        links: Vec<LinkState>,
        routes: Vec<Route>,
        (orders, waker, counters): (mpsc::Sender<Order>, Waker, Arc<Counters>),
    ) -> io::Result<Self> {
        let thread = std::thread::Builder::new()
            .name("network".to_owned())
            .spawn(run)?;
        Ok(Self {
            nodes: counters.nodes(),
            routes,
            links: Mutex::new(links),
            orders,
            waker: Arc::new(waker),
            counters,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// How many nodes it joins.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The routes, with the ports that were found free.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Changes the link of a pair. Changes are carried out in the order of the calls.
    pub fn change(&self, pair: Pair, change: Change) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links[pair.index(self.nodes)].apply(pair, change);
        self.send(Order::Change(pair, change));
    }

    /// The states of the links, in the order of [`pairs`].
    pub fn links(&self) -> Vec<LinkState> {
        self.links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The state of the link of a pair.
    pub fn link(&self, pair: Pair) -> LinkState {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links[pair.index(self.nodes)].clone()
    }

    /// From now on, what passes on each new connection is written down, byte by byte in time.
    pub fn passages(&self) -> Passages {
        self.counters
            .passages
            .get_or_init(Passages::default)
            .clone()
    }

    /// What it has carried so far.
    pub fn traffic(&self) -> Traffic {
        self.counters.snapshot()
    }

    /// Closes everything and returns what was carried, or the error that ended the network's
    /// thread before its time.
    pub fn stop(&self) -> io::Result<Traffic> {
        self.join()?;
        Ok(self.traffic())
    }

    /// Whether the network's thread still works; if not, [`Self::stop`] says why.
    pub fn is_running(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    fn send(&self, order: Order) {
        // A thread that ended early reports its error from `stop`.
        if self.orders.send(order).is_ok() {
            let _woken = self.waker.wake();
        }
    }

    fn join(&self) -> io::Result<()> {
        self.send(Order::Stop);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match thread.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_panic)) => Err(io::Error::other("the network's thread panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _reported_by_stop = self.join();
    }
}
