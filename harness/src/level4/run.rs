//! One run: start everything, watch it until its time is over or it is disqualified, see whether
//! the cluster gets on, and take everything down.

use std::{
    collections::VecDeque,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use octopus::sandbox::Folder;
use octopus::trace::Header;
use octopus::{
    ActEvent, Config, Echo, Endpoint, Event, EventLog, NodeId, NodeLimits, NodeSpec, Octopus,
    Place, Traffic, Transport, interrupt,
};
use serde_json::json;

use super::{
    TICK,
    args::Args,
    client::{Board, Client, Shared, Tidings, probe},
    judge::{Disqualified, Judge},
    outcome::Outcome,
    replicas,
};
use crate::{
    console,
    live::Screen,
    noise::{Noise, Watch},
    report::Failure,
    solution::Solution,
    solution_log,
    traced::{self, Traced},
};

/// How often the state is recorded for the report.
const SAMPLE_US: u64 = 250_000;

/// How long after the run's time a cluster may take that the spof monkey has in its hands, until it
/// answers without the node that is cut off. Elections take a second or two.
const SPOF_PATIENCE: Duration = Duration::from_secs(10);

/// How long a cluster may take that nobody disturbs any more, until it answers.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);

/// What to run.
pub(super) struct Setup<'a> {
    pub args: &'a Args,
    pub solution: &'a Solution,
    pub seed: u64,
    pub disk_bytes: Option<u64>,
    /// The folder for a trace.
    pub trace: Option<PathBuf>,
}

/// What the judge has found when the run's time is over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Judged {
    /// Answers judged right.
    pub correct: u64,
    /// Answers that wait for a lower number, and when the first of them came.
    pub unjudged: (usize, Option<u64>),
}

impl Judged {
    fn of(judge: &Judge) -> Self {
        Self {
            correct: judge.correct(),
            unjudged: judge.unjudged(),
        }
    }
}

/// What was seen of a run; [`Outcome`] is what comes of it.
pub(super) struct Seen {
    pub board: Arc<Board>,
    pub judged: Judged,
    pub disqualified: Option<Disqualified>,
    /// Why the cluster did not get on, if it did not.
    pub stuck: Option<Failure>,
    pub replicas: Option<Failure>,
    /// Answers and requests until the run's time was over.
    pub answered: u64,
    pub requests: u64,
    pub traffic: Traffic,
    pub duration: Duration,
    pub noise: Noise,
    /// The last lines that each node said.
    pub said: Vec<Vec<String>>,
    pub log: Arc<EventLog>,
}

/// What judge and main thread share.
#[derive(Default)]
struct Bench {
    correct: AtomicU64,
    disqualified: Mutex<Option<Disqualified>>,
}

impl Bench {
    fn disqualify(&self, why: Disqualified) {
        self.disqualified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(why);
    }

    fn disqualified(&self) -> Option<Disqualified> {
        self.disqualified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A run under way.
struct Run<'a> {
    setup: &'a Setup<'a>,
    octopus: Octopus,
    log: Arc<EventLog>,
    board: Arc<Board>,
    bench: Arc<Bench>,
}

/// Runs a solution in a folder.
pub(super) fn play(setup: &Setup<'_>, root: &Path) -> Result<Outcome> {
    let args = setup.args;
    let config = Config {
        nodes: usize::from(args.nodes),
        seed: setup.seed,
        duration: args.duration,
        monkeys: args.monkeys.settings().clone(),
        transport: Transport::Unix,
        disk_bytes: setup.disk_bytes,
        echo: args.verbose.then(|| Echo::new(console::log_node)),
        scripts: args.monkeys.scripts().to_vec(),
        limits: NodeLimits::default(),
    };
    let share = |place: &Place| {
        let is_traced = setup.trace.is_some();
        is_traced.then(|| traced::share(root, place.node))
    };
    let octopus = Octopus::new(&config, root, |place| {
        spec(setup.solution, place, share(place).as_deref())
    })?;
    let log = Arc::clone(octopus.log());
    let trace = setup.trace.as_deref();
    let trace = trace.map(|folder| Traced::begin(folder, &octopus));
    log.record(
        "level4",
        json!({
            "seed": (setup.seed as i64).to_string(),
            "solution": setup.solution.shown(),
        }),
    );
    let bench = Arc::new(Bench::default());
    let (tidings, inbox) = mpsc::channel();
    let judge = {
        let bench = Arc::clone(&bench);
        thread::Builder::new()
            .name("judge".to_owned())
            .spawn(move || preside(&inbox, &bench))?
    };
    let run = Run {
        setup,
        octopus,
        log,
        board: Arc::new(Board::default()),
        bench: Arc::clone(&bench),
    };
    let (mut seen, noise) = run.go(root, tidings)?;
    seen.judged = judge
        .join()
        .map_err(|_panic| anyhow!("the judge panicked"))??;
    seen.disqualified = bench.disqualified();
    seen.noise = noise.stop();
    if let Some(trace) = trace {
        let (seed, nodes) = (setup.seed as i64, args.nodes);
        let header = Header {
            title: Some(format!("Level 4, seed {seed}, {nodes} nodes")),
            replay: Some(format!(
                "harness level4 --seed {seed} -c {nodes} --trace run"
            )),
            ..Header::default()
        };
        trace.write(header, root, &seen.log)?;
    }
    Ok(Outcome::new(seen))
}

impl Run<'_> {
    /// From the start of the nodes to their end. The judge may still be at work then.
    fn go(mut self, root: &Path, tidings: mpsc::Sender<Tidings>) -> Result<(Seen, Watch)> {
        let nodes = self.octopus.nodes().count();
        let noise = Watch::start();
        self.octopus.start()?;
        let shared = Arc::new(Shared::new(
            self.setup.seed,
            sockets(root, nodes),
            Arc::clone(self.octopus.nodes()),
            Arc::clone(&self.log),
            Arc::clone(&self.board),
            tidings,
        ));
        let client = Client::start(Arc::clone(&shared))?;
        let watched = self.watch();
        shared.time_is_up();
        let duration = self.log.elapsed();
        let (answered, requests) = (self.board.answered(), self.board.attempts());
        let traffic = self.octopus.network().traffic();
        let held = watched.and_then(|()| self.wait_for_spof());
        client.stop();
        let stuck = match held? {
            None if self.goes_on() => self.probe(&shared)?,
            stuck => stuck,
        };
        let replicas = if self.setup.args.check_replicas && self.goes_on() {
            self.octopus.heal();
            replicas::compare(&sockets(root, nodes), self.octopus.nodes())?.err()
        } else {
            None
        };
        self.octopus.stop()?;
        let log_of = |node: NodeId| root.join(format!("node{node}.log"));
        let said = (0..nodes).map(|node| solution_log::last_lines(&log_of(node)));
        let seen = Seen {
            board: self.board,
            judged: Judged::default(),
            disqualified: None,
            stuck,
            replicas,
            answered,
            requests,
            traffic,
            duration,
            noise: Noise::default(),
            said: said.collect(),
            log: self.log,
        };
        Ok((seen, noise))
    }

    fn goes_on(&self) -> bool {
        self.bench.disqualified().is_none() && !interrupt::requested()
    }

    /// Watches the run until its time is over.
    fn watch(&mut self) -> Result<()> {
        let args = self.setup.args;
        let mut screen = Screen::new("level 4", args.duration, args.verbose);
        let mut rate = Rate::default();
        let mut monkeys_loose = false;
        let mut next_sample_us = 0;
        while self.log.elapsed() < args.duration && self.goes_on() {
            if !monkeys_loose && self.board.has_booted() {
                monkeys_loose = true;
                let board = Arc::clone(&self.board);
                self.octopus.start_monkeys(move || board.progress())?;
            }
            self.look()?;
            if self.log.now_us() >= next_sample_us {
                next_sample_us += SAMPLE_US;
                self.sample(&mut screen, &mut rate);
            }
            thread::sleep(TICK);
        }
        // The last state stays on the screen.
        self.sample(&mut screen, &mut rate);
        if let Some(why) = self.bench.disqualified() {
            self.log
                .record("disqualified", json!({"text": why.failure.message}));
        }
        Ok(())
    }

    /// Records how everything stands, and shows it.
    fn sample(&self, screen: &mut Screen, rate: &mut Rate) {
        let answered = self.board.answered();
        let correct = self.bench.correct.load(Ordering::Relaxed);
        self.octopus
            .sample(json!({"answered": answered, "correct": correct}));
        let per_s = rate.per_s(self.log.elapsed(), answered);
        let facts = [
            format!("{answered} answered"),
            format!("{correct} correct"),
            format!("{per_s:.0} queries/s"),
        ];
        screen.show(&self.octopus, facts.to_vec());
    }

    /// Looks for nodes that have ended and for errors of the simulation's.
    fn look(&self) -> Result<()> {
        if let Some((node, status)) = self.octopus.exited()?.first()
            && !interrupt::requested()
        {
            let message = format!("node {node} ended by itself ({status})");
            let failure = Failure::new("unexpected_exit", message).at(format!("node {node}"));
            self.bench.disqualify(Disqualified {
                node: *node,
                failure,
            });
        }
        let limit = self.setup.args.time_limit;
        if let Some(limit) = limit.filter(|&limit| self.log.elapsed() >= limit) {
            let limit = humantime::format_duration(limit);
            let message = format!("not over after {limit} (--time-limit)");
            self.bench.disqualify(Disqualified {
                node: 0,
                failure: Failure::slow("time_limit", message),
            });
        }
        self.octopus.check()?;
        Ok(())
    }

    /// Waits until the spof monkey has let its last node go, at most for a while; why it has not.
    fn wait_for_spof(&self) -> Result<Option<Failure>> {
        let since = Instant::now();
        let mut held = held_by_spof(&self.log);
        while let Some((node, at_us)) = held
            && self.goes_on()
        {
            if since.elapsed() > SPOF_PATIENCE {
                let message = format!(
                    "the spof monkey stopped node {node} at {:.3} s and cut it off; from then on, \
                     and until {} s after the end of the run, no answer came to a query that was \
                     asked later: the cluster does not get on without this node",
                    at_us as f64 / 1e6,
                    SPOF_PATIENCE.as_secs()
                );
                let failure = Failure::slow("no_progress", message).at(format!("node {node}"));
                return Ok(Some(failure));
            }
            thread::sleep(10 * TICK);
            self.look()?;
            held = held_by_spof(&self.log);
        }
        Ok(None)
    }

    /// Lets everything heal, and demands an answer.
    fn probe(&mut self, shared: &Arc<Shared>) -> Result<Option<Failure>> {
        if !self.board.has_booted() {
            let trouble = self.board.last_trouble().map_or_else(
                || "the run was over before it was asked".to_owned(),
                |(node, why)| format!("the last time node {node} was asked: {why}"),
            );
            let message = format!(
                "the first query, which makes the table, was not answered within {}: {trouble}",
                humantime::format_duration(self.setup.args.duration)
            );
            return Ok(Some(Failure::slow("no_boot", message)));
        }
        self.octopus.heal();
        self.log.record("probe", json!({}));
        let last = self
            .board
            .last_answer()
            .map_or_else(String::new, |(at_us, node)| {
                let at = at_us as f64 / 1e6;
                format!("; the last answer of the run came from node {node} at {at:.3} s")
            });
        let answered = probe(shared, PROBE_PATIENCE)?;
        self.look()?;
        let message = format!(
            "when the run was over, all links and nodes were made well again and every node was \
             asked once more; none answered within {} s{last}",
            PROBE_PATIENCE.as_secs()
        );
        Ok((!answered && self.goes_on()).then(|| Failure::slow("no_progress", message)))
    }
}

/// The node that the spof monkey has in its hands, and since when, if it has one.
fn held_by_spof(log: &EventLog) -> Option<(NodeId, u64)> {
    let last = log.last(1, |record| match &record.event {
        Event::Act(ActEvent::Holds { node, .. }) => Some(Some((*node, record.t_us))),
        Event::Act(ActEvent::Releases { .. }) => Some(None),
        _ => None,
    });
    last.into_iter().next().flatten()
}

/// How many queries a second were answered in the last five samples.
#[derive(Default)]
struct Rate(VecDeque<(Duration, u64)>);

impl Rate {
    fn per_s(&mut self, now: Duration, answered: u64) -> f64 {
        self.0.push_back((now, answered));
        if self.0.len() > 5 {
            self.0.pop_front();
        }
        let (then, before) = self.0[0];
        let seconds = now.saturating_sub(then).as_secs_f64();
        if seconds > 0.0 {
            (answered - before) as f64 / seconds
        } else {
            0.0
        }
    }
}

/// How a node is started, as in 2014; told where to write its share of a trace, if it is to.
fn spec(solution: &Solution, place: &Place, share: Option<&Path>) -> NodeSpec {
    let node = place.node;
    let listen = match &place.listen {
        // Relative to the node's folder, as the solutions of 2014 expect.
        Endpoint::Unix(_) => format!("./node{node}.sock"),
        Endpoint::Tcp(address) => address.to_string(),
    };
    let mut arguments: Vec<OsString> = Vec::new();
    arguments.extend(["-l".into(), listen.into(), "-d".into()]);
    arguments.push(place.folder.clone().into_os_string());
    if node > 0 {
        arguments.push("--join=./node0.sock".into());
    }
    // Its socket is what the others reach it by.
    let told = share.into_iter().flat_map(traced::told);
    let words = solution.words(arguments, Folder::Shared);
    let mut words = told.chain(words);
    NodeSpec {
        program: words.next().unwrap_or_default().into(),
        arguments: words.collect(),
        folder: place.folder.clone(),
    }
}

/// The sockets that the nodes themselves listen at.
fn sockets(root: &Path, nodes: usize) -> Vec<PathBuf> {
    (0..nodes)
        .map(|node| root.join(format!("node{node}/node{node}.sock")))
        .collect()
}

/// Judges until the client has ended; what was found when the run's time was over.
fn preside(inbox: &mpsc::Receiver<Tidings>, bench: &Bench) -> Result<Judged> {
    let mut judge = Judge::new()?;
    let mut when_time_was_up = None;
    for tidings in inbox {
        match tidings {
            Tidings::Bad(why) => bench.disqualify(why),
            Tidings::TimeIsUp => when_time_was_up = Some(Judged::of(&judge)),
            // A run that is over counts nothing more.
            Tidings::Answer(_) if bench.disqualified().is_some() => {}
            Tidings::Answer(answer) => {
                if let Err(why) = judge.take(answer)? {
                    bench.disqualify(why);
                }
            }
        }
        bench.correct.store(judge.correct(), Ordering::Relaxed);
    }
    Ok(when_time_was_up.unwrap_or_else(|| Judged::of(&judge)))
}
