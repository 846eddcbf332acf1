//! One run: start everything, watch it until its time is over or it is disqualified, take
//! everything down, and put together what came of it.

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
    time::Duration,
};

use anyhow::{Result, anyhow};
use serde_json::json;

use super::{
    TICK,
    args::Args,
    client::{Board, Client, Tidings},
    history::{History, Outcome as Ended, Verdict},
    judge::Judge,
    percentile, replicas,
    score::Score,
};
use crate::{console, live::Screen, report::Failure, solution::Solution};
use octopus::{
    Config, Echo, Endpoint, EventLog, NodeSpec, Octopus, Place, Traffic, Transport, interrupt,
};

/// How often the state is recorded for the report.
const SAMPLE_US: u64 = 250_000;

/// How long a number may be overdue before it counts as lost. The delays of a bad moment add up
/// to about half of it.
const LATE: Duration = Duration::from_secs(2);

/// What to run.
pub(super) struct Setup<'a> {
    pub args: &'a Args,
    pub solution: &'a Solution,
    pub seed: u64,
    pub disk_bytes: Option<u64>,
}

/// What came of a run.
pub(super) struct Outcome {
    pub score: Score,
    pub traffic: Traffic,
    pub duration: Duration,
    pub answered: u64,
    pub requests: u64,
    /// Answers that wait for a lower number, and when the first of them came.
    pub unjudged: (usize, Option<u64>),
    pub disqualified: Option<Failure>,
    pub replicas: Option<Failure>,
    pub verdict: Verdict,
    pub latencies_us: Vec<u64>,
    pub log: Arc<EventLog>,
}

/// What judge and main thread share.
#[derive(Default)]
struct Bench {
    correct: AtomicU64,
    disqualified: Mutex<Option<Failure>>,
}

impl Bench {
    fn disqualify(&self, failure: Failure) {
        self.disqualified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(failure);
    }

    fn disqualified(&self) -> Option<Failure> {
        self.disqualified
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
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
    };
    let mut octopus = Octopus::new(&config, root, |place| spec(setup.solution, place))?;
    let log = Arc::clone(octopus.log());
    log.record(
        "level4",
        json!({
            "seed": (setup.seed as i64).to_string(),
            "solution": setup.solution.shown(),
        }),
    );
    let board = Arc::new(Board::default());
    let bench = Arc::new(Bench::default());
    let (tidings, inbox) = mpsc::channel();
    let judge = {
        let bench = Arc::clone(&bench);
        thread::Builder::new()
            .name("judge".to_owned())
            .spawn(move || preside(&inbox, &bench))?
    };
    octopus.start()?;
    let client = Client::start(
        setup.seed,
        sockets(root, config.nodes),
        Arc::clone(octopus.nodes()),
        Arc::clone(&log),
        Arc::clone(&board),
        tidings,
    )?;
    let watched = watch(setup, &mut octopus, &board, &bench);
    let duration = log.elapsed();
    client.stop();
    let judge = judge
        .join()
        .map_err(|_panic| anyhow!("the judge panicked"))??;
    watched?;
    let traffic = octopus.network().traffic();
    let replicas = if args.check_replicas && bench.disqualified().is_none() {
        octopus.heal();
        replicas::compare(&sockets(root, config.nodes), octopus.nodes())?.err()
    } else {
        None
    };
    octopus.stop()?;
    Ok(Outcome::new(
        &board, &bench, &judge, traffic, duration, replicas, log,
    ))
}

/// How a node is started, as in 2014.
fn spec(solution: &Solution, place: &Place) -> NodeSpec {
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
    arguments.extend(solution.arguments.iter().cloned());
    NodeSpec {
        program: solution.program.clone(),
        arguments,
        folder: place.folder.clone(),
    }
}

/// The sockets that the nodes themselves listen at.
fn sockets(root: &Path, nodes: usize) -> Vec<PathBuf> {
    (0..nodes)
        .map(|node| root.join(format!("node{node}/node{node}.sock")))
        .collect()
}

/// Judges until the client has ended.
fn preside(inbox: &mpsc::Receiver<Tidings>, bench: &Bench) -> Result<Judge> {
    let mut judge = Judge::new()?;
    for tidings in inbox {
        match tidings {
            Tidings::Bad(failure) => bench.disqualify(failure),
            // A run that is over counts nothing more.
            Tidings::Answer(_) if bench.disqualified().is_some() => {}
            Tidings::Answer(answer) => {
                if let Err(failure) = judge.take(answer)? {
                    bench.disqualify(failure);
                }
            }
        }
        bench.correct.store(judge.correct(), Ordering::Relaxed);
    }
    Ok(judge)
}

/// Watches a run until it is over.
fn watch(
    setup: &Setup<'_>,
    octopus: &mut Octopus,
    board: &Arc<Board>,
    bench: &Bench,
) -> Result<()> {
    let log = Arc::clone(octopus.log());
    let mut screen = Screen::new("level 4", setup.args.duration, setup.args.verbose);
    let mut rate = Rate::default();
    let mut monkeys_loose = false;
    let mut next_sample_us = 0;
    while log.elapsed() < setup.args.duration && !interrupt::requested() {
        if !monkeys_loose && board.has_booted() {
            monkeys_loose = true;
            let board = Arc::clone(board);
            octopus.start_monkeys(move || board.progress())?;
        }
        if let Some((node, status)) = octopus.exited()?.first()
            && !interrupt::requested()
        {
            let message = format!("node {node} ended by itself ({status})");
            let failure = Failure::new("unexpected_exit", message).at(format!("node {node}"));
            bench.disqualify(failure);
        }
        if let Some(failure) = bench.disqualified() {
            log.record("disqualified", json!({"text": failure.message}));
            break;
        }
        octopus.check()?;
        if log.now_us() >= next_sample_us {
            next_sample_us += SAMPLE_US;
            octopus.sample(json!({
                "answered": board.answered(),
                "correct": bench.correct.load(Ordering::Relaxed),
            }));
            let per_s = rate.per_s(log.elapsed(), board.answered());
            let facts = [
                format!("{} answered", board.answered()),
                format!("{} correct", bench.correct.load(Ordering::Relaxed)),
                format!("{per_s:.0} queries/s"),
            ];
            screen.show(octopus, facts.to_vec());
        }
        thread::sleep(TICK);
    }
    Ok(())
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

impl Outcome {
    fn new(
        board: &Board,
        bench: &Bench,
        judge: &Judge,
        traffic: Traffic,
        duration: Duration,
        replicas: Option<Failure>,
        log: Arc<EventLog>,
    ) -> Self {
        let history = board.take_history();
        let verdict = history.check();
        record_requests(&history, &log);
        let disqualified = bench.disqualified();
        let reason = disqualified.as_ref().map(|failure| failure.message.clone());
        let latencies = history.latencies();
        let mut latencies_us: Vec<u64> = latencies.iter().map(|(_, latency)| *latency).collect();
        latencies_us.sort_unstable();
        // The 2014 text has whole units: 30s, not 30.002s.
        let whole = Duration::from_millis((duration.as_secs_f64() * 10.0).floor() as u64 * 100);
        let score = Score::new(
            traffic.total(),
            judge.correct(),
            reason,
            whole,
            traffic.nodes,
        );
        log.record(
            "end",
            json!({
                "total": score.total,
                "correct": score.correct_queries,
                "disqualifier": score.disqualifier,
                "links": traffic,
                "history": verdict,
            }),
        );
        Self {
            score,
            traffic,
            duration,
            answered: board.answered(),
            requests: board.attempts(),
            unjudged: judge.unjudged(),
            disqualified,
            replicas,
            verdict,
            latencies_us,
            log,
        }
    }

    /// Why the run is not passed, if it is not.
    pub fn failure(&self) -> Option<Failure> {
        let violation = self.verdict.violation.as_ref().map(|violation| {
            let requests = violation.requests.join("\n");
            Failure::new("history", format!("{}\n{requests}", violation.message))
        });
        self.disqualified
            .clone()
            .or(violation)
            .or_else(|| self.replicas.clone())
    }

    /// The first number that no answer carried while higher ones were, and when that showed.
    ///
    /// A number that may still have been on its way when the run ended is none of these.
    pub fn lost_number(&self) -> Option<(u64, u64)> {
        let (_, since_us) = self.unjudged;
        let since_us = since_us.filter(|_| self.disqualified.is_none())?;
        let waited = self
            .duration
            .saturating_sub(Duration::from_micros(since_us));
        (waited > LATE).then_some((self.score.correct_queries, since_us))
    }

    /// Names and milliseconds.
    pub fn latency_figures(&self) -> Vec<(&'static str, f64)> {
        [
            ("latency_p50_ms", 50.0),
            ("latency_p90_ms", 90.0),
            ("latency_p99_ms", 99.0),
        ]
        .into_iter()
        .filter_map(|(name, percent)| {
            let us = percentile(&self.latencies_us, percent)?;
            Some((name, us as f64 / 1000.0))
        })
        .collect()
    }

    /// The summary of 2014, and what ours adds.
    pub fn summary(&self, reference: Option<f64>) -> String {
        let mut text = self.score.pretty.clone();
        let mut add = |line: String| {
            text.push('\n');
            text.push_str(&line);
        };
        if let Some(reference) = reference {
            add(format!(
                "{:.2} times the reference's {reference:.0} points",
                self.score.total / reference
            ));
        }
        let latencies: Vec<String> = self
            .latency_figures()
            .iter()
            .map(|(name, ms)| format!("{} {ms:.1} ms", &name[8..11]))
            .collect();
        if !latencies.is_empty() {
            add(format!(
                "Latency from first request to answer: {}",
                latencies.join(", ")
            ));
        }
        add(format!(
            "Requests: {}, answered: {}",
            self.requests, self.answered
        ));
        if let Some((number, at_us)) = self.lost_number() {
            add(format!(
                "Number {number} is missing: the count stopped there at {:.3} s, {} answers stay \
                 unjudged",
                at_us as f64 / 1e6,
                self.unjudged.0
            ));
        } else if self.unjudged.0 > 0 {
            add(format!(
                "{} answers waited for a lower number when the run ended",
                self.unjudged.0
            ));
        }
        add(match &self.verdict.violation {
            None => format!(
                "History: {} answers, linearizable, each executed once",
                self.verdict.checked
            ),
            Some(violation) => {
                format!(
                    "History violated: {}\n{}",
                    violation.message,
                    violation.requests.join("\n")
                )
            }
        });
        text
    }
}

/// Puts the requests into the event log, for the report and for other programs.
fn record_requests(history: &History, log: &EventLog) {
    for attempt in history.attempts() {
        let (status, number) = match &attempt.outcome {
            Ended::Answer { number, .. } => ("answered", Some(*number)),
            Ended::Failed(_) => ("bad", None),
            Ended::Lost(_) => ("lost", None),
            Ended::Open => ("open", None),
        };
        let why = match &attempt.outcome {
            Ended::Failed(why) | Ended::Lost(why) => Some(why),
            _ => None,
        };
        let mut fields = json!({
            "query": attempt.query,
            "attempt": attempt.attempt,
            "node": attempt.node,
            "end_us": attempt.end_us,
            "status": status,
            "number": number,
        });
        if let (Some(why), Some(fields)) = (why, fields.as_object_mut()) {
            fields.insert("why".to_owned(), why.as_str().into());
        }
        log.record_at(attempt.start_us, "request", fields);
    }
}
