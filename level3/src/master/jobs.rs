//! Indexing: one job at a time, and the keeper that sees to it that the nodes have what was asked.
//!
//! A job walks the tree, learns from the nodes which shard each known file is in, deals the files
//! out and has every replica of every shard brought up to date. It goes on until all have done so:
//! a node that dies is asked again when it is back. Between jobs the keeper compares what the nodes
//! hold with what was asked for, and starts a job if something lacks; so a node that comes back
//! empty, or a master that was killed in the middle, needs nobody's help.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::Master;
use super::ask::all;
use super::deal::deal;
use crate::corpus::{self, Entry, Reject};
use crate::index::Identity;
use crate::wire::{self, Kind, NodeStatus, UpdateRequest};

/// How often the keeper looks after the nodes.
const KEEPER_PERIOD: Duration = Duration::from_secs(1);

/// How long to wait before asking a node again that could not be reached.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Periods for which the keeper lets a failed job rest.
const FAILURE_REST: u32 = 10;

/// Files in one `Entries` frame.
const ENTRIES: usize = 1000;

/// File in the data folder that names the folder to index.
const WANTED: &str = "wanted";

/// File in the data folder that is there while a request is not done: asking for the same folder
/// again must not be forgotten either, though all nodes agree on its old state.
const UNFINISHED: &str = "unfinished";

/// What was asked for and how far it is done.
pub(crate) struct Jobs {
    state: Mutex<State>,
    wake: Notify,
    /// Where [`WANTED`] lies, if anywhere.
    data: Option<PathBuf>,
}

#[derive(Default)]
struct State {
    /// The folder that is to be indexed.
    wanted: Option<PathBuf>,
    /// Requests so far, and the last of them that is done, successfully or not.
    requested: u64,
    finished: u64,
    /// Why the last job failed, if it did.
    failure: Option<String>,
    /// Number of the last job.
    job: u64,
    /// What the last walk had to leave out.
    rejected: Vec<(String, Reject)>,
}

/// The jobs' part of `/status`.
#[derive(Serialize)]
pub(crate) struct JobsStatus {
    root: Option<PathBuf>,
    indexing: bool,
    error: Option<String>,
    unreadable: Vec<(String, Reject)>,
}

impl Jobs {
    /// Continues with what `data` says was asked for before.
    pub(crate) fn new(data: Option<&Path>) -> io::Result<Self> {
        let mut state = State::default();
        if let Some(data) = data {
            std::fs::create_dir_all(data)?;
            match std::fs::read(data.join(WANTED)) {
                Ok(bytes) => {
                    use std::os::unix::ffi::OsStringExt as _;
                    state.wanted = Some(std::ffi::OsString::from_vec(bytes).into());
                    state.requested = u64::from(data.join(UNFINISHED).try_exists()?);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let data = data.map(Path::to_owned);
        Ok(Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            data,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder that is to be indexed.
    pub(crate) fn wanted(&self) -> Option<PathBuf> {
        self.state().wanted.clone()
    }

    /// Asks for `root` to be indexed, now or after the job at work.
    pub(crate) fn request(&self, root: PathBuf) -> io::Result<()> {
        // Held to the end, so that a job that is just done does not take the note away.
        let mut state = self.state();
        if let Some(data) = &self.data {
            use std::os::unix::ffi::OsStrExt as _;
            let draft = data.join("wanted.new");
            std::fs::write(&draft, root.as_os_str().as_bytes())?;
            std::fs::write(data.join(UNFINISHED), "")?;
            std::fs::rename(&draft, data.join(WANTED))?;
        }
        state.wanted = Some(root);
        state.requested += 1;
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Removes the note that a request is not done; the caller holds the state.
    fn forget_request(&self) {
        let Some(note) = self.data.as_ref().map(|data| data.join(UNFINISHED)) else {
            return;
        };
        match std::fs::remove_file(&note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                // It stays, and the next master indexes once more than it needs to.
                eprintln!("cannot remove {}: {error}", note.display());
            }
            _ => {}
        }
    }

    /// Why the index is not ready for queries, judging by the jobs alone.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let state = self.state();
        if state.requested > state.finished {
            return Some("indexing".to_owned());
        }
        state
            .failure
            .as_ref()
            .map(|failure| format!("indexing failed: {failure}"))
    }

    pub(crate) fn status(&self) -> JobsStatus {
        let state = self.state();
        JobsStatus {
            root: state.wanted.clone(),
            indexing: state.requested > state.finished,
            error: state.failure.clone(),
            unreadable: state.rejected.clone(),
        }
    }
}

/// The keeper: runs jobs as they are asked for, and those that it finds necessary.
pub(crate) async fn run(master: Arc<Master>) {
    let jobs = &master.jobs;
    let mut rest = 0_u32;
    loop {
        let woken = timeout(KEEPER_PERIOD, jobs.wake.notified()).await.is_ok();
        rest = if woken { 0 } else { rest.saturating_sub(1) };
        let (asked, serial) = {
            let state = jobs.state();
            (state.requested > state.finished, state.requested)
        };
        if !asked && (rest > 0 || !lacking(&master).await) {
            continue;
        }
        let Some(root) = jobs.wanted() else { continue };
        // Seen from outside, a job that the keeper starts is no different from a requested one.
        let serial = if asked {
            serial
        } else {
            let mut state = jobs.state();
            state.requested += 1;
            state.requested
        };
        let outcome = job(&master, &root, serial).await;
        let mut state = jobs.state();
        state.finished = state.finished.max(serial);
        if outcome.is_ok() && state.finished == state.requested {
            jobs.forget_request();
        }
        if let Err(failure) = &outcome {
            crate::note!("indexing {} failed: {failure}", root.display());
            rest = FAILURE_REST;
        }
        state.failure = outcome.err();
    }
}

/// Whether the nodes lack something of what was asked for, and could be given it now.
async fn lacking(master: &Master) -> bool {
    let statuses: Vec<Option<NodeStatus>> = master
        .statuses()
        .await
        .into_iter()
        .map(Result::ok)
        .collect();
    let identities = || statuses.iter().flatten().flat_map(|status| &status.shards);
    let newest = identities()
        .filter_map(|shard| shard.identity.as_ref())
        .max_by_key(|id| id.job);
    {
        let mut state = master.jobs.state();
        if let Some(newest) = newest {
            state.job = state.job.max(newest.job);
        }
        if state.wanted.is_none() {
            // A master without a data folder learns from its nodes what it was serving.
            state.wanted = newest.map(|identity| PathBuf::from(&identity.root));
        }
    }
    let Some(wanted) = master.jobs.wanted() else {
        return false;
    };
    // A node that cannot be reached is looked after when it is back.
    (1..=master.shards()).any(|shard| {
        master
            .replicas(shard)
            .filter_map(|node| statuses[node].as_ref())
            .any(|status| {
                let held = status.shards.iter().find(|held| held.shard == shard);
                let identity = held.and_then(|held| held.identity.as_ref());
                !identity.is_some_and(|identity| {
                    Path::new(&identity.root) == wanted
                        && identity.of == master.shards()
                        && newest.is_none_or(|newest| newest.job == identity.job)
                })
            })
    })
}

/// Has all nodes index `root`.
async fn job(master: &Arc<Master>, root: &Path, serial: u64) -> Result<(), String> {
    let walked = {
        let root = root.to_owned();
        tokio::task::spawn_blocking(move || corpus::walk(&root)).await
    };
    let listing = walked
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("{}: {error}", root.display()))?;
    master.jobs.state().rejected = listing.rejected;
    let root_text = root
        .to_str()
        .ok_or("the path of the folder is not valid UTF-8")?;
    let known = known_files(master, root_text).await;
    let parts = deal(listing.entries, &known, master.shards());
    let number = {
        let mut state = master.jobs.state();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |t| t.as_millis() as u64);
        state.job = now.max(state.job + 1);
        state.job
    };
    let mut work = Vec::new();
    for (shard, part) in (1..).zip(&parts) {
        let identity = Identity {
            root: root_text.to_owned(),
            job: number,
            shard,
            of: master.shards(),
        };
        for node in master.replicas(shard) {
            work.push(update(master, node, identity.clone(), part, serial));
        }
    }
    all(work).await.into_iter().collect()
}

/// Which shard each file is in, as far as the nodes say.
async fn known_files(master: &Master, root: &str) -> HashMap<String, u32> {
    let statuses = master.statuses().await;
    let mut known = HashMap::new();
    for shard in 1..=master.shards() {
        let holder = master.replicas(shard).find(|&node| {
            statuses[node].as_ref().is_ok_and(|status| {
                status
                    .shards
                    .iter()
                    .filter(|held| held.shard == shard)
                    .any(|held| {
                        held.identity.as_ref().is_some_and(|identity| {
                            identity.root == root && identity.of == master.shards()
                        })
                    })
            })
        });
        let Some(node) = holder else { continue };
        match list(master, node, shard).await {
            Ok(files) => known.extend(files.into_iter().map(|entry| (entry.path, shard))),
            // Without the list the files are dealt anew: slower, not wrong.
            Err(error) => crate::note!("cannot list shard {shard}: {error}"),
        }
    }
    known
}

/// The files of a shard.
async fn list(master: &Master, node: usize, shard: u32) -> io::Result<Vec<Entry>> {
    let pool = &master.nodes[node];
    let request = wire::frame(Kind::List, &shard.to_le_bytes());
    let (mut connection, mut kind, mut payload) =
        pool.request(&request, master.config.node_timeout).await?;
    let mut files = Vec::new();
    while kind == Kind::Entries && !payload.is_empty() {
        let part = wire::decode_entries(&payload);
        files.extend(part.ok_or(io::ErrorKind::InvalidData)?);
        (kind, payload) = timeout(master.config.node_timeout, connection.receive()).await??;
    }
    pool.give_back(connection);
    Ok(files)
}

/// Brings one replica of a shard up to date, however often the node has to be asked.
async fn update(
    master: &Arc<Master>,
    node: usize,
    identity: Identity,
    part: &[Entry],
    serial: u64,
) -> Result<(), String> {
    let keep = (1..=master.shards())
        .filter(|&shard| master.replicas(shard).any(|replica| replica == node))
        .collect();
    let request = UpdateRequest { identity, keep };
    let json = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
    loop {
        match try_update(master, node, &json, part).await {
            Ok((Kind::Last, _)) => return Ok(()),
            Ok((_, message)) => {
                let what = String::from_utf8_lossy(&message).into_owned();
                return Err(format!("node {}: {what}", master.nodes[node].endpoint));
            }
            Err(error) => {
                if master.jobs.state().requested > serial {
                    return Err(format!("node {}: {error}", master.nodes[node].endpoint));
                }
                sleep(RETRY_AFTER).await;
            }
        }
    }
}

async fn try_update(
    master: &Master,
    node: usize,
    json: &[u8],
    part: &[Entry],
) -> io::Result<(Kind, bytes::Bytes)> {
    // A new connection, since a kept one may be dead, and this is no time to save a round trip.
    let mut connection = master.nodes[node].connect().await?;
    connection.send(&wire::frame(Kind::Update, json)).await?;
    for entries in part.chunks(ENTRIES) {
        let entries = entries
            .iter()
            .map(|entry| (entry.path.as_str(), entry.stamp));
        connection
            .send(&wire::frame(Kind::Entries, &wire::encode_entries(entries)))
            .await?;
    }
    connection.send(&wire::frame(Kind::Entries, &[])).await?;
    let outcome = connection.receive().await?;
    master.nodes[node].give_back(connection);
    Ok(outcome)
}

impl Master {
    /// What each node says about itself, or why it says nothing.
    pub(crate) async fn statuses(&self) -> Vec<Result<NodeStatus, String>> {
        let request = wire::frame(Kind::Status, &[]);
        let ask = async |node: usize| {
            let pool = &self.nodes[node];
            let told = |what: &dyn std::fmt::Display| format!("node {}: {what}", pool.endpoint);
            let answer = pool.request(&request, self.config.node_timeout).await;
            let (connection, kind, payload) = answer.map_err(|error| told(&error))?;
            if kind != Kind::Last {
                return Err(told(&"unexpected answer"));
            }
            pool.give_back(connection);
            serde_json::from_slice(&payload).map_err(|error| told(&error))
        };
        all((0..self.nodes.len()).map(ask)).await
    }

    /// Why queries cannot be answered in full, if so.
    pub(crate) async fn obstacle(&self) -> Option<String> {
        if let Some(obstacle) = self.jobs.obstacle() {
            return Some(obstacle);
        }
        let statuses = self.statuses().await;
        let mut problems: Vec<String> = Vec::new();
        for shard in 1..=self.shards() {
            let ready = |node: usize| {
                let status = statuses[node].as_ref().ok()?;
                let held = status.shards.iter().find(|held| held.shard == shard)?;
                held.identity
                    .as_ref()
                    .filter(|identity| identity.of == self.shards())
            };
            if !self.replicas(shard).any(|node| ready(node).is_some()) {
                let reasons = self
                    .replicas(shard)
                    .filter_map(|node| statuses[node].as_ref().err());
                let reasons: Vec<&str> = reasons.map(String::as_str).collect();
                let why = if reasons.is_empty() {
                    "not indexed".into()
                } else {
                    reasons.join("; ")
                };
                problems.push(format!("shard {shard}: {why}"));
            }
        }
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}
