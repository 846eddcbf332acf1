//! The simulated client: 4 × N workers take queries from a queue and post each to its node until
//! it is answered. All of them share one thread, which judging does not slow down. When the run is
//! over and everything that was broken is whole again, the same client [`probe`]s the nodes.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use hyper::StatusCode;
use octopus::{EventLog, NodeId, Nodes, Progress, interrupt};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc as async_mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    TICK,
    http::{Http, Reply},
    judge::{Answer, Disqualified},
    query::{Generator, Query, sql},
    requests::{Outcome, Request, Requests},
};
use crate::report::Failure;

/// Workers for each node.
const WORKERS_PER_NODE: usize = 4;

/// Queries that wait between their maker and the workers.
const QUEUE: usize = 5;

/// How long a worker waits before it sends a query again.
const RETRY: Duration = Duration::from_millis(100);

/// How often the nodes are asked who leads.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

/// What the client tells the judge.
#[derive(Debug)]
pub(super) enum Tidings {
    /// An answer with status 200.
    Answer(Answer),
    /// An answer that disqualifies by itself.
    Bad(Disqualified),
    /// The run's time is over: what follows is checked, and earns no points.
    TimeIsUp,
}

/// What the client shares with everybody while it runs.
#[derive(Debug, Default)]
pub(super) struct Board {
    newest_queued: AtomicU64,
    newest_answered: AtomicU64,
    answered: AtomicU64,
    attempts: AtomicU64,
    booted: AtomicU64,
    requests: Mutex<Requests>,
}

impl Board {
    pub fn progress(&self) -> Progress {
        Progress {
            newest_queued: self.newest_queued.load(Ordering::SeqCst),
            newest_answered: self.newest_answered.load(Ordering::SeqCst),
        }
    }

    /// Answers with status 200 so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Requests sent so far.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Whether the boot query has succeeded.
    pub fn has_booted(&self) -> bool {
        self.booted.load(Ordering::SeqCst) > 0
    }

    /// How the newest request that did not succeed ended.
    pub fn last_trouble(&self) -> Option<(NodeId, String)> {
        let requests = self.requests();
        let (node, why) = requests.last_trouble()?;
        Some((node, why.to_owned()))
    }

    /// When the last answer came, in microseconds of the event log, and from which node.
    pub fn last_answer(&self) -> Option<(u64, NodeId)> {
        let requests = self.requests();
        let request = requests.last_answered()?;
        Some((request.end_us?, request.node))
    }

    /// Takes the record out, when the client has ended.
    pub fn take_requests(&self) -> Requests {
        std::mem::take(&mut *self.requests())
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every worker needs.
#[derive(Debug)]
pub(super) struct Shared {
    queries: Mutex<Generator>,
    http: Http,
    board: Arc<Board>,
    nodes: Arc<Nodes>,
    log: Arc<EventLog>,
    judge: mpsc::Sender<Tidings>,
}

/// A running client.
#[derive(Debug)]
pub(super) struct Client {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Client {
    /// Starts the client on a thread of its own.
    pub fn start(shared: Arc<Shared>) -> Result<Self> {
        let (stop, mut stopped) = watch::channel(false);
        let runtime = runtime()?;
        let thread = thread::Builder::new()
            .name("client".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = work(Arc::clone(&shared)) => {}
                        _ = stopped.wait_for(|stop| *stop) => {}
                    }
                });
                // Requests that are still open end with the runtime, unanswered. So do the
                // connections: another runtime cannot use them.
                shared.http.close();
            })?;
        Ok(Self { stop, thread })
    }

    /// Breaks off whatever is open.
    pub fn stop(self) {
        let _ended_already = self.stop.send(true);
        let _panicked = self.thread.join();
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the client")
}

/// Asks every node something new; whether any of them answers within a time.
pub(super) fn probe(shared: &Arc<Shared>, limit: Duration) -> Result<bool> {
    let answered = async {
        let mut tasks = JoinSet::new();
        for node in 0..shared.nodes.count() {
            let Some(query) = shared.next_query() else {
                break;
            };
            let (shared, query) = (Arc::clone(shared), Query { node, ..query });
            tasks.spawn(async move { shared.ask(&query).await });
        }
        while let Some(answered) = tasks.join_next().await {
            if answered.unwrap_or(false) {
                return true;
            }
        }
        false
    };
    let interrupted = async {
        while !interrupt::requested() {
            sleep(TICK).await;
        }
    };
    let found = runtime()?.block_on(async {
        tokio::select! {
            found = timeout(limit, answered) => found.unwrap_or(false),
            () = interrupted => false,
        }
    });
    shared.http.close();
    Ok(found)
}

async fn work(shared: Arc<Shared>) {
    let nodes = shared.nodes.count();
    let mut tasks = JoinSet::new();
    tasks.spawn(watch_leader(nodes, Arc::clone(&shared)));
    let Some(boot) = shared.next_query() else {
        return;
    };
    // Without a table there is nothing to ask; such an answer disqualifies.
    if !shared.ask(&boot).await {
        return;
    }
    shared.board.booted.store(1, Ordering::SeqCst);
    let (queue, inbox) = async_mpsc::channel::<Query>(QUEUE);
    let inbox = Arc::new(AsyncMutex::new(inbox));
    for _ in 0..WORKERS_PER_NODE * nodes {
        let (shared, inbox) = (Arc::clone(&shared), Arc::clone(&inbox));
        tasks.spawn(async move {
            loop {
                let query = inbox.lock().await.recv().await;
                let Some(query) = query else { return };
                shared.ask(&query).await;
            }
        });
    }
    while let Some(query) = shared.next_query() {
        // Before it is: its answer might come before this task goes on.
        shared.board.newest_queued.store(query.id, Ordering::SeqCst);
        if queue.send(query).await.is_err() {
            break;
        }
    }
}

impl Shared {
    /// What a client of the nodes behind these sockets needs.
    pub fn new(
        seed: u64,
        sockets: Vec<PathBuf>,
        nodes: Arc<Nodes>,
        log: Arc<EventLog>,
        board: Arc<Board>,
        judge: mpsc::Sender<Tidings>,
    ) -> Self {
        Self {
            queries: Mutex::new(Generator::new(seed, sockets.len())),
            http: Http::new(sockets),
            board,
            nodes,
            log,
            judge,
        }
    }

    fn next_query(&self) -> Option<Query> {
        self.queries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    }

    /// Posts a query until it is answered with status 200; whether that answer could be read.
    async fn ask(&self, query: &Query) -> bool {
        let sql = sql(&query.what);
        for attempt in 1.. {
            match self.attempt(query, attempt, sql.clone()).await {
                Outcome::Answer { .. } => return true,
                Outcome::Unreadable(_) => return false,
                Outcome::Lost(_) | Outcome::Unsent(_) | Outcome::Open => sleep(RETRY).await,
            }
        }
        false
    }

    /// One request.
    async fn attempt(&self, query: &Query, attempt: u32, sql: String) -> Outcome {
        let node = query.node;
        let killed_before = self.nodes.killed(node);
        self.board.attempts.fetch_add(1, Ordering::Relaxed);
        let place = self.board.requests().begin(Request {
            query: query.id,
            attempt,
            node,
            what: query.what.clone(),
            start_us: self.log.now_us(),
            end_us: None,
            outcome: Outcome::Open,
        });
        let reply = self.http.post(node, "/sql", sql).await;
        let at_us = self.log.now_us();
        if let Reply::NotItsOwn(why) = &reply {
            let message = format!("node {node}, query {}: {why}", query.id);
            let failure = Failure::new("not_its_own_socket", message).at(format!("node {node}"));
            self.tell(Tidings::Bad(Disqualified { node, failure }));
        }
        let outcome = outcome(reply, self.nodes.killed(node) != killed_before);
        self.board.requests().end(place, at_us, outcome.clone());
        match &outcome {
            Outcome::Answer { number, output } => {
                self.board.answered.fetch_add(1, Ordering::Relaxed);
                self.board
                    .newest_answered
                    .fetch_max(query.id, Ordering::SeqCst);
                self.tell(Tidings::Answer(Answer {
                    query: query.id,
                    what: query.what.clone(),
                    node,
                    at_us,
                    number: *number,
                    output: output.clone(),
                }));
            }
            Outcome::Unreadable(why) => {
                let message = format!("node {node}, query {}: {why}", query.id);
                let failure = Failure::new("bad_answer", message).at(format!("node {node}"));
                self.tell(Tidings::Bad(Disqualified { node, failure }));
            }
            Outcome::Lost(_) | Outcome::Unsent(_) | Outcome::Open => {}
        }
        outcome
    }

    /// Says that what follows earns no points.
    pub fn time_is_up(&self) {
        self.tell(Tidings::TimeIsUp);
    }

    fn tell(&self, tidings: Tidings) {
        // A judge who has disqualified listens no more.
        let _gone = self.judge.send(tidings);
    }
}

/// What a reply means; `killed` says that the node was killed meanwhile.
fn outcome(reply: Reply, killed: bool) -> Outcome {
    match reply {
        Reply::Whole(StatusCode::OK, body) => match parse(&body) {
            Some((number, output)) => Outcome::Answer {
                number,
                output: output.to_vec(),
            },
            None => Outcome::Unreadable(format!(
                "the answer does not begin with `SequenceNumber: N`: {}",
                String::from_utf8_lossy(&body[..body.len().min(200)])
            )),
        },
        // We killed it in the middle of its answer.
        Reply::BrokenOff(StatusCode::OK, _) if killed => {
            Outcome::Lost("killed while it answered".to_owned())
        }
        Reply::BrokenOff(StatusCode::OK, error) => {
            Outcome::Unreadable(format!("the answer broke off: {error}"))
        }
        Reply::Whole(status, _) | Reply::BrokenOff(status, _) => {
            Outcome::Lost(format!("status {}", status.as_u16()))
        }
        Reply::Nothing(error) => Outcome::Lost(error),
        Reply::Unsent(why) | Reply::NotItsOwn(why) => Outcome::Unsent(why),
    }
}

/// Asks the nodes who leads, as long as any of them can tell, and records each change.
async fn watch_leader(nodes: usize, shared: Arc<Shared>) {
    let mut known = None;
    loop {
        sleep(STATUS_INTERVAL).await;
        if !shared.board.has_booted() {
            continue;
        }
        let mut any_tells = false;
        for node in 0..nodes {
            let ask = shared.http.get(node, "/cluster/status");
            // A frozen node answers later or never; the others are asked meanwhile.
            let Ok(reply) = timeout(STATUS_INTERVAL / 5, ask).await else {
                any_tells = true;
                continue;
            };
            let Reply::Whole(StatusCode::OK, body) = reply else {
                continue;
            };
            let Ok(status) = serde_json::from_slice::<Value>(&body) else {
                continue;
            };
            any_tells |= status.get("role").is_some();
            let term = status["term"].as_u64();
            if status["role"]
                .as_str()
                .is_some_and(|role| role.eq_ignore_ascii_case("leader"))
                && known.is_none_or(|(_, known_term)| term > known_term)
            {
                known = Some((node, term));
                shared
                    .log
                    .record("leader", json!({"node": node, "term": term}));
            }
        }
        if !any_tells {
            return;
        }
    }
}

/// The number and the output of an answer.
pub(super) fn parse(body: &[u8]) -> Option<(u64, &[u8])> {
    let rest = body.strip_prefix(b"SequenceNumber: ")?;
    let end = rest.iter().position(|&byte| byte == b'\n')?;
    let digits = std::str::from_utf8(&rest[..end]).ok()?;
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = if all_digits {
        digits.parse().ok()?
    } else {
        return None;
    };
    Some((number, &rest[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_a_number_and_an_output() {
        assert_eq!(
            parse(b"SequenceNumber: 12\na|b\n"),
            Some((12, &b"a|b\n"[..]))
        );
        assert_eq!(parse(b"SequenceNumber: 0\n"), Some((0, &b""[..])));
        let broken: [&[u8]; 6] = [
            b"",
            b"a|b\n",
            b"SequenceNumber: 12",
            b"SequenceNumber: +1\n",
            b"SequenceNumber: \n",
            b"SequenceNumber: 99999999999999999999\n",
        ];
        for body in broken {
            assert_eq!(parse(body), None, "{}", String::from_utf8_lossy(body));
        }
    }
}
