//! Tells others what has changed in the database, row by row (change data capture), in rqlite's words.
//!
//! Changes wait in the replicated state ([`crate::database::capture`]). Whoever leads sends them in the order
//! of the log, and has all nodes know from time to time how far they were sent: whoever leads next goes on
//! from there. So each is sent at least once, and one that is sent again has the same index.

mod config;
mod envelope;

use std::error::Error;
use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::consensus;
use crate::database::Capturing;
use crate::database::capture::{Changes, Feed, Group, Standing};
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
/// A batch that has so many bytes of changes is full.
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

/// What a group's changes take.
fn bytes(group: &Group) -> usize {
    group.changes.iter().map(Changes::size).sum()
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
        let mut groups = feed.after(sent, size, BATCH_BYTES);
        if groups.is_empty() {
            let pause = LOOK_AGAIN.min(self.config.mark_interval);
            let _ = timeout(pause, feed.changed()).await;
            groups = feed.after(sent, size, BATCH_BYTES);
        }
        let deadline = Instant::now() + self.config.batch_delay;
        // What has come until then is sent.
        while let Some(last) = groups.last() {
            let bytes: usize = groups.iter().map(bytes).sum();
            if groups.len() >= size || bytes >= BATCH_BYTES {
                break;
            }
            let more = feed.after(last.index, size - groups.len(), BATCH_BYTES - bytes);
            if more.is_empty() && timeout_at(deadline, feed.changed()).await.is_err() {
                break;
            }
            groups.extend(more);
        }
        groups
    }

    /// Sends a batch, until it is taken or dropped; `false`: the node does not lead any more.
    async fn deliver(&self, node: &Node, id: &str, groups: &[Group]) -> bool {
        let config = &self.config;
        let Some(text) = self.written(id, groups) else {
            return true;
        };
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
                self.drop_all(groups, &format_args!("after {retries} more tries"));
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

    /// A batch as it is sent; `None`: it cannot be written, and will be no better the next time.
    fn written(&self, id: &str, groups: &[Group]) -> Option<Bytes> {
        let envelope = Envelope {
            service_id: self.config.service_id.as_deref(),
            node_id: id,
            groups,
        };
        match serde_json::to_vec(&envelope) {
            Ok(text) => Some(text.into()),
            Err(error) => {
                self.drop_all(groups, &format_args!("as they cannot be written: {error}"));
                None
            }
        }
    }

    /// Nobody will be told of these.
    fn drop_all(&self, groups: &[Group], why: &dyn fmt::Display) {
        self.figures.dropped.fetch_add(groups.len() as u64, Relaxed);
        note(format_args!(
            "the changes of {} entries, from {} on, are dropped {why}",
            groups.len(),
            groups.first().map_or(Index::START, |group| group.index)
        ));
    }

    async fn send(&self, text: &Bytes) -> Result<(), SendError> {
        let failed = |error: &dyn Error| SendError::Write(error.to_string());
        let text = text.clone();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::capture::{Capture, Wanted};

    fn sender(batch_size: usize) -> Sender {
        let mut config = CdcConfig::load("http://127.0.0.1:1").unwrap();
        config.batch_size = batch_size;
        // Longer than any test waits.
        config.batch_delay = Duration::from_secs(3600);
        Sender::new(config)
    }

    /// A queue with an entry of so many bytes for each.
    fn queue(sizes: &[usize]) -> Capture {
        let mut capture = Capture::default();
        let wanted = Wanted {
            row_ids_only: false,
            table_filter: None,
            limit: 1 << 30,
        };
        capture.obey(Capturing::On(wanted)).unwrap();
        for (&size, index) in sizes.iter().zip(1..) {
            capture.add(Changes::new(vec![1; size].into()));
            capture.end_entry(Index::new(index), 0);
        }
        capture
    }

    #[tokio::test]
    async fn a_batch_is_sent_as_soon_as_it_is_full_by_number_or_by_bytes() {
        let half = BATCH_BYTES / 2;
        for (size, sizes, lengths) in [
            (2, &[1, 1, 1, 1, 1][..], &[2, 2][..]),
            (10, &[half, half, 1], &[2]),
            (10, &[1, BATCH_BYTES, 1], &[2]),
            (10, &[BATCH_BYTES + 1, 1], &[1]),
        ] {
            let (sender, capture) = (sender(size), queue(sizes));
            let mut sent = Index::START;
            for &length in lengths {
                let next = sender.next(&capture.feed(), sent).await;
                let indices: Vec<u64> = next.iter().map(|group| group.index.get()).collect();
                let first = sent.get() + 1;
                assert_eq!(indices, (first..first + length).collect::<Vec<u64>>());
                sent = next.last().unwrap().index;
            }
        }
    }

    #[tokio::test]
    async fn a_batch_takes_what_comes_until_it_is_full() {
        let (sender, mut capture) = (sender(3), queue(&[1]));
        let feed = capture.feed();
        let come = async {
            for index in [2, 3] {
                tokio::task::yield_now().await;
                capture.add(Changes::new(vec![1].into()));
                capture.end_entry(Index::new(index), 0);
            }
        };
        let (next, ()) = tokio::join!(sender.next(&feed, Index::START), come);
        assert_eq!(next.len(), 3);
    }

    #[test]
    fn what_cannot_be_written_is_dropped_and_counted() {
        let sender = sender(1);
        let group = Group {
            index: Index::new(7),
            time_ms: 0,
            changes: vec![Changes::new(b"nonsense"[..].into())],
        };
        assert!(sender.written("n1", &[group]).is_none());
        assert_eq!(sender.figures.dropped.load(Relaxed), 1);
        assert!(sender.written("n1", &[]).is_some());
    }
}
