//! The solution's servers: started, waited for, told to index.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::client::{Client, encoded};
use super::feed::{Feed, Phase};
use super::nodes::PeakMemory;
use crate::console;
use crate::http::Answer;
use crate::report::Failure;
use crate::solution::{Solution, cannot_run};
use crate::solution_log::SolutionLog;
use octopus::ProcessGroup;
use octopus::interrupt;

/// The port of the master in 2014.
pub const BASE_PORT: u16 = 9090;
/// A master and three nodes.
const SERVERS: u16 = 4;
/// How long the servers may take to answer `/healthcheck`.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a solution may index before the queries come, ready or not.
const INDEX_LIMIT: Duration = Duration::from_secs(240);
/// Time between two questions whether something is ready.
const PAUSE: Duration = Duration::from_millis(10);
/// How often memory is looked at during indexing, and progress is told.
const GLANCE: Duration = Duration::from_millis(500);
const TELL: Duration = Duration::from_secs(10);
/// A request is given up after so much silence.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the servers may take to end when they are asked to.
const GRACE: Duration = Duration::from_secs(3);

/// What every answer of the contract has.
#[derive(Debug, Default, Deserialize)]
pub struct Body {
    /// Whether the request was carried out.
    #[serde(default)]
    pub success: bool,
    /// Whether shards are missing from the results.
    #[serde(default)]
    pub partial: bool,
    /// The results of a query.
    #[serde(default)]
    pub results: Option<Vec<String>>,
    /// What went wrong.
    #[serde(default)]
    pub error: Option<String>,
}

impl Body {
    /// The body of an answer; none if it is not the contract's JSON.
    pub fn read(answer: &Answer) -> Option<Self> {
        serde_json::from_slice(&answer.body).ok()
    }
}

/// The running servers of a solution.
pub struct Servers {
    started: Instant,
    time_limit: Duration,
    process: ProcessGroup,
    log: SolutionLog,
    /// A client of the master.
    pub client: Client,
    /// Memory of the nodes, as far as it was looked at.
    pub memory: PeakMemory,
    /// Tells those who look on.
    pub feed: Feed,
}

impl Servers {
    /// Runs `SOLUTION start-servers` in a folder; all that is asked of it, so many queries among it,
    /// has to be done within the time limit.
    pub fn start(
        solution: &Solution,
        folder: &Path,
        base_port: u16,
        time_limit: Duration,
        queries: usize,
    ) -> Result<Self> {
        let port = choose_port(base_port)?;
        let mut arguments = vec!["start-servers".to_owned()];
        if solution.ours || port != BASE_PORT {
            arguments.extend(["--base-port".to_owned(), port.to_string()]);
        }
        let log = SolutionLog::create(folder)?;
        let mut command = solution.command(arguments);
        command.current_dir(folder);
        log.attach(&mut command)?;
        let started = Instant::now();
        let process = ProcessGroup::spawn(&mut command)
            .map_err(|error| cannot_run(&solution.program, &error))?;
        let client = Client::new(port, PATIENCE);
        let feed = Feed::new(process.id(), queries);
        Ok(Self {
            feed,
            started,
            time_limit,
            process,
            log,
            client,
            memory: PeakMemory::default(),
        })
    }

    /// The process that was started, from which the nodes descend.
    pub fn leader(&self) -> u32 {
        self.process.id()
    }

    /// The failure of a solution whose time is over; the last request before that gets no more
    /// patience than is left.
    pub fn out_of_time(&mut self) -> Option<Failure> {
        let left = self.time_limit.saturating_sub(self.started.elapsed());
        if left.is_zero() {
            let limit = humantime::format_duration(self.time_limit);
            let message = format!("not done after {limit} (--time-limit)");
            return Some(Failure::slow("time_limit", message));
        }
        self.client.be_patient_for(left.min(PATIENCE));
        None
    }

    /// The last lines that the servers said.
    pub fn last_lines(&self) -> Vec<String> {
        self.log.last_lines()
    }

    /// Looks at the memory of the nodes.
    pub fn look_at_memory(&mut self) {
        self.memory.look(self.process.id());
    }

    /// Waits until `/healthcheck` says that every node answers.
    pub fn wait_until_up(&mut self) -> Result<Option<Failure>> {
        let limit = Instant::now() + START_LIMIT;
        loop {
            interrupt::check()?;
            if let Some(failure) = self.ended()?.or_else(|| self.out_of_time()) {
                return Ok(Some(failure));
            }
            self.feed.tell(Phase::Starting);
            let asked = self.ask("/healthcheck");
            if asked.is_ok() {
                return Ok(None);
            }
            if Instant::now() >= limit {
                let seconds = START_LIMIT.as_secs();
                let last = asked.err().unwrap_or_default();
                let message =
                    format!("/healthcheck was not answered with success for {seconds} s: {last}");
                let port = self.client.port();
                let failure = Failure::slow("not_up", message).hint(format!(
                    "start it by hand with `start-servers`: the master has to listen on port \
                     {port} and to answer when every node does."
                ));
                return Ok(Some(failure));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Asks for a tree to be indexed and waits until it is, at most four minutes. Gives the time it
    /// took; none if it was not ready in time, which is no failure yet.
    pub fn index(&mut self, tree: &Path) -> Result<Result<Option<Duration>, Failure>> {
        let Some(path) = tree.to_str() else {
            bail!("the tree's path {} is not valid UTF-8", tree.display());
        };
        let started = Instant::now();
        if let Err(message) = self.ask(&format!("/index?path={}", encoded(path))) {
            return Ok(Err(Failure::new(
                "index_refused",
                format!("/index failed: {message}"),
            )));
        }
        let mut next_glance = started + GLANCE;
        let mut next_tell = started + TELL;
        while started.elapsed() < INDEX_LIMIT {
            interrupt::check()?;
            if let Some(failure) = self.ended()?.or_else(|| self.out_of_time()) {
                return Ok(Err(failure));
            }
            self.feed.tell(Phase::Indexing);
            if self.ask("/isIndexed").is_ok() {
                return Ok(Ok(Some(started.elapsed())));
            }
            let now = Instant::now();
            if now >= next_glance {
                self.look_at_memory();
                next_glance = now + GLANCE;
            }
            if now >= next_tell {
                let seconds = started.elapsed().as_secs();
                console::log(&format!("level 3: indexing for {seconds} s"));
                next_tell = now + TELL;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(Ok(None))
    }

    /// Asks the master; the error says why the answer is not a success.
    fn ask(&mut self, target: &str) -> Result<(), String> {
        let (answer, _) = self.client.get(target).map_err(|error| error.to_string())?;
        let body = Body::read(&answer);
        if answer.status == 200 && body.as_ref().is_some_and(|body| body.success) {
            return Ok(());
        }
        let error = body
            .and_then(|body| body.error)
            .unwrap_or_else(|| "no reason given".into());
        Err(format!("status {}, {error}", answer.status))
    }

    /// A failure if the solution has ended by itself.
    pub fn ended(&mut self) -> Result<Option<Failure>> {
        let status = self
            .process
            .try_wait()
            .context("cannot watch the solution")?;
        Ok(status.map(|status| self.log.ended(status)))
    }

    /// Ends the servers.
    pub fn stop(mut self) -> Result<()> {
        self.process
            .terminate(GRACE)
            .context("cannot stop the solution")?;
        Ok(())
    }
}

/// Where ports are looked for: below those that systems give to whoever asks for any port. The port
/// of a node that was killed is free, and whoever got it from the system would be asked in its place.
const OWN_PORTS: Range<u16> = 10_000..32_000;

/// Checks that the ports are free, or looks for such.
fn choose_port(base_port: u16) -> Result<u16> {
    if base_port != 0 {
        let taken = ports(base_port).find(|&port| !is_free(port));
        if let Some(port) = taken {
            bail!("port {port} is taken: name others with --base-port");
        }
        ensure!(
            ports(base_port).count() == usize::from(SERVERS),
            "--base-port is too high"
        );
        return Ok(base_port);
    }
    let tries = u16::try_from(OWN_PORTS.len()).unwrap_or(u16::MAX) / SERVERS;
    // Harnesses that start at the same moment should not all try the same ones first.
    let first = RandomState::new().hash_one(std::process::id()) % u64::from(tries);
    let first = u16::try_from(first).unwrap_or_default();
    let steps = (0..tries).map(|step| (first + step) % tries);
    let mut bases = steps.map(|step| OWN_PORTS.start + step * SERVERS);
    bases
        .find(|&base| ports(base).all(is_free))
        .context("cannot find four free ports in a row: name them with --base-port")
}

/// The ports of the four servers, as far as there are such.
fn ports(base_port: u16) -> impl Iterator<Item = u16> {
    (0..SERVERS).map_while(move |offset| base_port.checked_add(offset))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
