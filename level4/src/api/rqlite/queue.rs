//! Queued writes (`/db/execute?queue`): answered at once, and executed soon, many in one entry of the log.
//!
//! What waits is in memory: a node that dies loses it, as its clients accepted by asking for this. The
//! requests of one node are executed in the order in which it took them, each statement for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::super::cluster::json_reply_as;
use super::super::params::{Parameters, flag};
use super::super::{Api, ApiError};
use super::counters::Counters;
use super::params::Options;
use super::statements;
use crate::message::Command;
use crate::node::Node;
use crate::settings::QueueSettings;
use crate::statement::{Statement, Statements};

/// Of the bodies of requests that wait, KiB.
const CAPACITY_KIB: usize = 64 * 1024;
/// The bodies of those that are executed together; a longer one is executed alone.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// When the node takes no more, it is asked again after this.
const RETRY: Duration = Duration::from_secs(1);
/// Without `?timeout=`, a client that waits for the execution waits so long.
const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// One request.
struct Queued {
    list: Vec<Statement>,
    bytes: usize,
    budget: u64,
    done: oneshot::Sender<()>,
    /// Room that it takes.
    _room: Option<OwnedSemaphorePermit>,
}

/// The writes that wait at this node.
#[derive(Debug, Clone)]
pub struct Queue {
    sender: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    numbers: Arc<AtomicU64>,
    pending: Arc<AtomicUsize>,
    settings: QueueSettings,
}

impl Queue {
    /// An empty queue, whose writes `node` executes.
    pub fn start(node: Arc<Node>, counters: Arc<Counters>, settings: QueueSettings) -> Self {
        let (sender, requests) = mpsc::channel(settings.capacity);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let pending = Arc::new(AtomicUsize::new(0));
        let executing = execute_all(node, requests, pending.clone(), counters, settings);
        tokio::spawn(executing);
        Self {
            sender,
            room: Arc::new(Semaphore::new(CAPACITY_KIB)),
            // Rising through restarts, as long as the clock does.
            numbers: Arc::new(AtomicU64::new(now.map_or(0, |now| now.as_nanos() as u64))),
            pending,
            settings,
        }
    }

    /// Requests that have not been executed.
    pub fn pending(&self) -> usize {
        self.pending.load(Relaxed)
    }
}

/// For `/status`.
pub fn describe(queue: &Queue) -> Json {
    json!({
        "max_size": queue.settings.capacity,
        "batch_size": queue.settings.batch,
        "timeout": format!("{}ms", queue.settings.flush_after.as_millis()),
        "length": queue.pending(),
        "sequence_number": queue.numbers.load(Relaxed),
    })
}

/// Takes a request into the queue. With `?wait` the answer comes when it has been executed, and a body of
/// no statements waits for all before it.
pub async fn take(
    api: &Api,
    parameters: &Parameters,
    options: &Options,
    body: &[u8],
) -> Result<Response, ApiError> {
    api.is_open()?;
    let waits = flag(parameters, "wait");
    let list = match statements::parse(body) {
        Err(ApiError::BadRequest(reason)) if waits && reason == statements::NO_STATEMENTS => {
            Vec::new()
        }
        list => list?,
    };
    if !flag(parameters, "noleader") && api.status().await?.leader.is_none() {
        return Err(api.no_leader());
    }
    api.counters.queued.fetch_add(1, Relaxed);
    let queue = &api.queue;
    let kib = body.len().div_ceil(1024).min(CAPACITY_KIB) as u32;
    // Closed never.
    let room = queue.room.clone().acquire_many_owned(kib).await.ok();
    // A client that goes while it waits for room has asked for nothing.
    let place = queue.sender.reserve().await;
    let place = place.map_err(|_| ApiError::unavailable("the node is ending"))?;
    let (done, executed) = oneshot::channel();
    queue.pending.fetch_add(1, Relaxed);
    let number = queue.numbers.fetch_add(1, Relaxed) + 1;
    place.send(Queued {
        list,
        bytes: body.len(),
        budget: options.budget,
        done,
        _room: room,
    });
    if waits {
        let limit = options.timeout.unwrap_or(WAIT_LIMIT);
        match timeout(limit, executed).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(ApiError::unavailable("the node is ending")),
            Err(_) => return Err(ApiError::RequestTimeout("queue wait timeout".into())),
        }
    }
    let answer = json!({ "results": [], "sequence_number": number });
    Ok(json_reply_as(&answer, options.style.pretty).into_response())
}

/// Executes what comes, batch by batch, until nobody can bring more.
async fn execute_all(
    node: Arc<Node>,
    mut requests: mpsc::Receiver<Queued>,
    pending: Arc<AtomicUsize>,
    counters: Arc<Counters>,
    settings: QueueSettings,
) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(queued) => queued,
            None => match requests.recv().await {
                Some(queued) => queued,
                None => return,
            },
        };
        let mut batch = vec![first];
        next = gather(&mut requests, &mut batch, &settings).await;
        execute(&node, &mut batch, &settings).await;
        counters.queued_ok.fetch_add(batch.len() as u64, Relaxed);
        pending.fetch_sub(batch.len(), Relaxed);
        for queued in batch {
            // Mostly nobody waits.
            let _ = queued.done.send(());
        }
    }
}

/// Adds to a batch what comes in time and has room; gives what came and has none. What says that somebody
/// waits for all before it ends the batch.
async fn gather(
    requests: &mut mpsc::Receiver<Queued>,
    batch: &mut Vec<Queued>,
    settings: &QueueSettings,
) -> Option<Queued> {
    let deadline = Instant::now() + settings.flush_after;
    let mut bytes = batch[0].bytes;
    while batch.len() < settings.batch && batch.last().is_some_and(|last| !last.list.is_empty()) {
        let Ok(Some(queued)) = timeout_at(deadline, requests.recv()).await else {
            return None;
        };
        bytes += queued.bytes;
        if bytes > BATCH_BYTES {
            return Some(queued);
        }
        batch.push(queued);
    }
    None
}

/// Executes a batch once, however long that takes. What comes of its statements nobody will know.
async fn execute(node: &Node, batch: &mut [Queued], settings: &QueueSettings) {
    let list: Vec<Statement> = batch
        .iter_mut()
        .flat_map(|queued| std::mem::take(&mut queued.list))
        .collect();
    if list.is_empty() {
        return;
    }
    let statements = Statements {
        list,
        transaction: settings.transaction,
        rows: false,
        qualified: false,
        foreign_keys: settings.foreign_keys,
    };
    let budget = batch.iter().map(|queued| queued.budget).max();
    let command = Command::Statements(statements.encode().into());
    let command = command.with_budget(budget.unwrap_or(1));
    loop {
        if let Some(answer) = node.execute(None, command.clone()) {
            // Nobody answers any more only when the node is removed or rebuilt.
            let _ = answer.await;
            return;
        }
        sleep(RETRY).await;
    }
}
