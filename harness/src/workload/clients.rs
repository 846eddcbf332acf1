//! The clients of a built-in workload: threads on the clients' machine, each at home at one of the nodes, and
//! asking one thing at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use octopus::{Machine, interrupt};

use super::{
    drivers::{Driver, DriverKind, Manner, Trouble},
    generate::{Generator, Kind},
    operation::{Operation, Reply},
    record::{End, Recorder},
};

/// How long the first operation of all may take to succeed.
const FIRST_WITHIN: Duration = Duration::from_secs(60);

/// How long a client rests when it could not even ask.
const REST: Duration = Duration::from_millis(20);

/// The most elements that are taken from a queue to empty it.
const MOST_TAKES: usize = 200_000;

/// How clients ask.
#[derive(Clone, Copy, Debug)]
pub struct ClientSettings {
    /// In which protocol.
    pub driver: DriverKind,
    /// What they ask.
    pub kind: Kind,
    /// How many there are; client I is at home at node I modulo the number of nodes.
    pub clients: usize,
    /// How many operations all of them begin in a second at most.
    pub rate: f64,
    /// How long an answer may take; after that nobody knows.
    pub timeout: Duration,
    /// Whether reads may be answered by a node's own copy.
    pub stale_reads: bool,
    /// The seed.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
}

/// Clients at work. Dropping them ends them.
#[derive(Debug)]
pub struct Clients {
    settings: ClientSettings,
    machine: Arc<Machine>,
    recorder: Arc<Recorder>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Makes what the workload needs, waits until that works, and lets the clients begin.
    ///
    /// # Errors
    /// Nothing works within a minute.
    pub fn start(
        settings: ClientSettings,
        machine: &Arc<Machine>,
        recorder: &Arc<Recorder>,
    ) -> Result<Self> {
        let mut clients = Self {
            settings,
            machine: Arc::clone(machine),
            recorder: Arc::clone(recorder),
            over: Arc::default(),
            threads: Vec::new(),
        };
        clients.prepare()?;
        for client in 0..settings.clients {
            let (recorder, over) = (Arc::clone(recorder), Arc::clone(&clients.over));
            let work = move |mut driver: Box<dyn Driver>| {
                work(&settings, client, driver.as_mut(), &recorder, &over);
            };
            clients.threads.push(clients.on_machine(client, work)?);
        }
        Ok(clients)
    }

    fn prepare(&self) -> Result<()> {
        let kind = self.settings.kind;
        let prepare = move |mut driver: Box<dyn Driver>| {
            let start = Instant::now();
            loop {
                let error = match driver.prepare(kind) {
                    Ok(()) => return Ok(()),
                    Err(Trouble::NotDone(why) | Trouble::Unknown(why)) => why,
                };
                interrupt::check()?;
                if start.elapsed() > FIRST_WITHIN {
                    bail!("the system does not take its first operation: {error}");
                }
                thread::sleep(REST);
            }
        };
        let thread = self.on_machine(0, prepare)?;
        thread.join().unwrap_or_else(|_| bail!("a client panicked"))
    }

    /// A thread on the clients' machine, with a client of its own.
    fn on_machine<T: Send + 'static>(
        &self,
        client: usize,
        work: impl FnOnce(Box<dyn Driver>) -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        let machine = Arc::clone(&self.machine);
        let settings = self.settings;
        let (told, tells) = std::sync::mpsc::channel();
        let thread = thread::Builder::new()
            .name(format!("client {client}"))
            .spawn(move || {
                // Without the machine's network it would ask somebody else, or nobody.
                let entered = machine.enter_network();
                let manner = Manner {
                    home: client % settings.nodes,
                    nodes: settings.nodes,
                    timeout: settings.timeout,
                    stale_reads: settings.stale_reads,
                };
                let _told = told.send(entered);
                work(settings.driver.client(manner))
            });
        let thread = thread.context("cannot start a client")?;
        tells
            .recv()
            .context("a client has gone")?
            .context("a client cannot enter its machine")?;
        Ok(thread)
    }

    /// Ends the clients and, when all is healed, asks for what decides about the rest, each until it is answered.
    ///
    /// # Errors
    /// What was not answered in time: there was no progress.
    pub fn finish(mut self, within: Duration) -> Result<(), String> {
        self.end();
        let start = Instant::now();
        let mut last = self.settings.kind.last(self.settings.clients);
        last.reverse();
        let mut takes = 0;
        let mut home = 0;
        while let Some(operation) = last.pop() {
            loop {
                if interrupt::requested() {
                    return Ok(());
                }
                let asked = self.ask_once(home, operation.clone());
                home += 1;
                match asked {
                    Ok(Reply::Value(Some(_)))
                        if operation == Operation::Take && takes < MOST_TAKES =>
                    {
                        takes += 1;
                        last.push(Operation::Take);
                        break;
                    }
                    Ok(_) => break,
                    Err(why) if start.elapsed() > within => {
                        return Err(format!(
                            "{} was not answered within {within:?} after everything was healed: {why}",
                            operation.told()
                        ));
                    }
                    Err(_) => thread::sleep(REST),
                }
            }
        }
        Ok(())
    }

    /// Asks once, as a process of its own.
    fn ask_once(&self, home: usize, operation: Operation) -> Result<Reply, String> {
        let recorder = Arc::clone(&self.recorder);
        let process = self.settings.clients + home;
        let nodes = self.settings.nodes;
        let ask = move |mut driver: Box<dyn Driver>| {
            ask(
                driver.as_mut(),
                (process, home % nodes),
                &operation,
                &recorder,
            )
        };
        let thread = self
            .on_machine(home, ask)
            .map_err(|error| format!("{error:#}"))?;
        match thread.join() {
            Ok(Some(End::Ok(reply))) => Ok(reply),
            Ok(Some(End::Fail(why) | End::Info(why))) => Err(why),
            Ok(_) | Err(_) => Err("it was not asked".to_owned()),
        }
    }

    fn end(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks until it is over, at a pace.
fn work(
    settings: &ClientSettings,
    client: usize,
    driver: &mut dyn Driver,
    recorder: &Recorder,
    over: &AtomicBool,
) {
    let mut generator = Generator::new(settings.kind, settings.seed, client, settings.clients);
    let pause = Duration::from_secs_f64(settings.clients as f64 / settings.rate);
    let start = Instant::now();
    // Clients that ask in turn rather than all at once.
    let mut next = pause.mul_f64(client as f64 / settings.clients as f64);
    while !over.load(Ordering::Relaxed) {
        let now = start.elapsed();
        if let Some(rest) = next.checked_sub(now) {
            thread::sleep(rest.min(Duration::from_millis(50)));
            continue;
        }
        // Who was held up does not hurry afterwards.
        next = now.max(next) + pause;
        let place = (client, client % settings.nodes);
        match ask(driver, place, &generator.next(), recorder) {
            None => return,
            Some(End::Fail(_)) => thread::sleep(REST),
            Some(_) => {}
        }
    }
}

/// Asks once and records it; how it ended, none if there is no room to record it.
fn ask(
    driver: &mut dyn Driver,
    (process, node): (usize, usize),
    operation: &Operation,
    recorder: &Recorder,
) -> Option<End> {
    let number = recorder.begin(process, node, operation.clone())?;
    let end = match driver.ask(operation) {
        Ok(reply) => End::Ok(reply),
        Err(Trouble::NotDone(why)) => End::Fail(why),
        Err(Trouble::Unknown(why)) => End::Info(why),
    };
    recorder.end(number, end.clone());
    Some(end)
}
