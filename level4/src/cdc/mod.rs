//! Tells others what has changed in the database, row by row (change data capture), in rqlite's words.
//!
//! Changes wait in the replicated state ([`crate::database::capture`]). Whoever leads sends them in the order
//! of the log, and has all nodes know from time to time how far they were sent: whoever leads next goes on
//! from there. So each is sent at least once, and one that is sent again has the same index.

mod config;
mod envelope;

use std::error::Error;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use crate::consensus;
use crate::database::Capturing;
use crate::database::capture::{Feed, Group, Standing};
use crate::fetch::{FetchError, Fetcher, Target};
use crate::ids::Index;
use crate::message::Command;
use crate::node::Node;
use crate::notes::note;
pub use config::{Backoff, CdcConfig, CdcError, Sink};
use envelope::Envelope;

/// How often a node looks whether it leads.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// An entry of ours is waited for so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// A batch has no more bytes of changes than this, unless those of one entry are more.
const BATCH_BYTES: usize = 4 << 20;
/// An answer's body is of no interest.
const ANSWER_BYTES: usize = 64 << 10;
/// That changes are lost is said this often.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum SendError {
    /// There is no answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is not the one that is wanted.
    #[error("it answers {0}, where 200 or 202 would mean that it has taken them")]
    Refused(StatusCode),
    /// It takes too long.
    #[error("no answer in {0:?}")]
    Late(Duration),
    /// They cannot be written.
    #[error("{0}")]
    Write(String),
}

/// What was done, since this process started.
#[derive(Debug, Default)]
pub struct Figures {
    /// This node sends.
    pub leads: AtomicBool,
    /// Batches that were taken,
    pub batches: AtomicU64,
    /// the entries in them,
    pub entries: AtomicU64,
    /// tries that failed,
    pub failures: AtomicU64,
    /// and entries that were dropped after as many tries as are wanted.
    pub dropped: AtomicU64,
}

/// Sends changes.
#[derive(Debug)]
pub struct Sender {
    /// As the operator wants it.
    pub config: CdcConfig,
    /// What was done.
    pub figures: Figures,
    fetcher: Fetcher,
    /// The last error, which is said once.
    told: Mutex<Option<String>>,
}

/// A node that leads, and how it is called; `None`: another one, or none does.
async fn leader(node: &Node) -> Option<String> {
    let status = node.status().await.ok()?;
    let is_sound = status.standing == consensus::Standing::Sound;
    (status.role == "leader" && is_sound).then(|| status.called(status.id))
}

/// Has all nodes obey.
async fn propose(node: &Node, command: &Capturing) {
    if let Some(answer) = node.execute(None, Command::Capture(command.encode().into())) {
        // Whether it came to that is seen by the state.
        let _ = timeout(PATIENCE, answer).await;
    }
}

/// For a node that is to send nothing: while it leads, changes wait for one that does, as long as there is
/// room for them, and then no more are kept.
pub async fn forgo(node: Arc<Node>) {
    let feed = node.feed.clone();
    let mut lost = 0;
    loop {
        feed.changed().await;
        let standing = feed.standing();
        if standing.lost > lost && standing.wanted.is_some() && leader(&node).await.is_some() {
            note(format_args!(
                "changes of rows are not kept any more: this node leads, has no --cdc-config, and there is no room for more"
            ));
            propose(&node, &Capturing::Off).await;
        }
        lost = feed.standing().lost;
    }
}

impl Sender {
    /// Nothing is sent yet.
    pub fn new(config: CdcConfig) -> Self {
        Self {
            fetcher: Fetcher::new(config.trust.clone()),
            config,
            figures: Figures::default(),
            told: Mutex::default(),
        }
    }

    /// Sends as long as it is polled, while the node leads.
    pub async fn keep(self: Arc<Self>, node: Arc<Node>) {
        let feed = node.feed.clone();
        // Sent since the node leads.
        let mut sent = Index::START;
        let mut marked = Instant::now();
        let mut losses = Losses::default();
        loop {
            let id = leader(&node).await;
            self.figures.leads.store(id.is_some(), Relaxed);
            let Some(id) = id else {
                sent = Index::START;
                sleep(LOOK_AGAIN).await;
                continue;
            };
            let standing = feed.standing();
            losses.tell(&standing);
            if standing.wanted.as_ref() != Some(&self.config.wanted) {
                propose(&node, &Capturing::On(self.config.wanted.clone())).await;
                sleep(LOOK_AGAIN).await;
                continue;
            }
            let is_due = marked.elapsed() >= self.config.mark_interval;
            if sent > standing.delivered && is_due {
                propose(&node, &Capturing::Delivered(sent)).await;
                marked = Instant::now();
            }
            sent = sent.max(standing.delivered);
            let groups = self.next(&feed, sent).await;
            if let Some(last) = groups.last()
                && self.deliver(&node, &id, &groups).await
            {
                sent = last.index;
            }
        }
    }

    /// The next batch after `sent`; empty if there is none for a while.
    async fn next(&self, feed: &Feed, sent: Index) -> Vec<Group> {
        let size = self.config.batch_size;
        let groups = || feed.after(sent, size, BATCH_BYTES);
        if groups().is_empty() {
            let pause = LOOK_AGAIN.min(self.config.mark_interval);
            let _ = timeout(pause, feed.changed()).await;
            if groups().is_empty() {
                return Vec::new();
            }
        }
        let filled = async {
            while groups().len() < size {
                feed.changed().await;
            }
        };
        // What has come until then is sent.
        let _ = timeout(self.config.batch_delay, filled).await;
        groups()
    }

    /// Sends a batch, until it is taken or dropped; `false`: the node does not lead any more.
    async fn deliver(&self, node: &Node, id: &str, groups: &[Group]) -> bool {
        let config = &self.config;
        let envelope = Envelope {
            service_id: config.service_id.as_deref(),
            node_id: id,
            groups,
        };
        let text = serde_json::to_vec(&envelope).map(Bytes::from);
        let mut pause = config.min_backoff;
        for retries in 0u64.. {
            let Err(error) = self.send(&text).await else {
                self.tell(None);
                self.figures.batches.fetch_add(1, Relaxed);
                self.figures.entries.fetch_add(groups.len() as u64, Relaxed);
                return true;
            };
            self.figures.failures.fetch_add(1, Relaxed);
            self.tell(Some(error.to_string()));
            if config.max_retries.is_some_and(|most| retries >= most) {
                self.figures.dropped.fetch_add(groups.len() as u64, Relaxed);
                note(format_args!(
                    "the changes of {} entries, from {} on, are dropped after {retries} more tries",
                    groups.len(),
                    groups.first().map_or(Index::START, |group| group.index)
                ));
                return true;
            }
            sleep(pause).await;
            if config.backoff == Backoff::Exponential {
                pause = (2 * pause).min(config.max_backoff);
            }
            if leader(node).await.is_none() {
                return false;
            }
        }
        false
    }

    async fn send(&self, text: &serde_json::Result<Bytes>) -> Result<(), SendError> {
        let failed = |error: &dyn Error| SendError::Write(error.to_string());
        let text = text.as_ref().map_err(|error| failed(error))?.clone();
        match &self.config.sink {
            Sink::Http(target) => {
                let late = |_| SendError::Late(self.config.timeout);
                let posted = timeout(self.config.timeout, self.post(target, text)).await;
                posted.map_err(late)?
            }
            Sink::Stdout => {
                // As long as nobody reads it, nothing more is sent.
                let write = move || {
                    let mut out = std::io::stdout().lock();
                    let written = out.write_all(&text).and_then(|()| out.write_all(b"\n"));
                    written.and_then(|()| out.flush())
                };
                let written = tokio::task::spawn_blocking(write).await;
                let written = written.map_err(|error| failed(&error))?;
                written.map_err(|error| failed(&error))
            }
        }
    }

    async fn post(&self, target: &Target, text: Bytes) -> Result<(), SendError> {
        let kind = [("Content-Type", "application/json")];
        let body = Body::from(text);
        let answer = self.fetcher.send(target, Method::POST, "", &kind, body);
        let answer = answer.await?;
        let status = answer.status;
        // What it says besides makes no difference.
        let _ = answer.bytes(ANSWER_BYTES).await;
        match status {
            StatusCode::OK | StatusCode::ACCEPTED => Ok(()),
            other => Err(SendError::Refused(other)),
        }
    }

    /// Says an error, unless it was the last one; `None`: all is well.
    fn tell(&self, error: Option<String>) {
        // Nothing panics while it is held.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == error {
            return;
        }
        let sink = &self.config.sink;
        match &error {
            Some(error) => note(format_args!(
                "changes are not sent to {sink}: {error}; trying on"
            )),
            None => note(format_args!("changes are sent to {sink} again")),
        }
        *told = error;
    }
}

/// What has been said of changes that were lost.
#[derive(Debug, Default)]
struct Losses {
    lost: u64,
    told: Option<Instant>,
}

impl Losses {
    fn tell(&mut self, standing: &Standing) {
        let is_late = self.told.is_none_or(|told| told.elapsed() >= SAY_AGAIN);
        if standing.lost > self.lost && is_late {
            note(format_args!(
                "the changes of {} entries, up to {}, were lost: there is no room for more that wait (max_queue_bytes)",
                standing.lost, standing.last_lost
            ));
            (self.lost, self.told) = (standing.lost, Some(Instant::now()));
        }
    }
}
