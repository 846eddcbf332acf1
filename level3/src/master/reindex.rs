//! One indexing job, from the walk of the tree to the last shard.
//!
//! A job walks the tree, learns from the nodes which shard each known file is in, deals the files
//! out and has every replica of every shard brought up to date. It goes on until all have done so:
//! a node that dies is asked again when it is back, unless a newer job waits.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::Master;
use super::deal::deal;
use super::error::{Cause, MasterError};
use super::pool::Pool;
use super::requests::{Root, Seen, Wanted};
use super::served::State;
use super::topology::{NodeIndex, Statuses};
use crate::corpus::{self, Entry, FolderId, Listing, Rules};
use crate::index::Identity;
use crate::root::RootName;
use crate::wire::{self, CommitRequest, Kind, UpdateRequest};

/// How long to wait before asking a node again that could not be reached.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Files in one `Entries` frame.
const ENTRIES: usize = 1000;

/// Has all nodes index what is `wanted` of a root, for the request with this serial number.
pub(super) async fn run(
    master: &Arc<Master>,
    root: &Root,
    wanted: &Wanted,
    serial: u64,
) -> Result<Seen, MasterError> {
    let statuses = master.statuses().await;
    let listing = walk_beside(wanted, data_folders(master, &statuses)).await?;
    let seen = Seen::of(wanted, &listing);
    root.set_rejected(listing.rejected);
    let path = wanted.path.to_str().ok_or_else(|| MasterError::Name {
        root: wanted.path.clone(),
    })?;
    let topology = &master.topology;
    let identity = Identity {
        name: root.name().clone(),
        root: path.to_owned(),
        ignore: wanted.ignore,
        revision: listing.revision,
        of: topology.shards(),
        ..Identity::default()
    };
    let known = known_files(master, &identity, &statuses).await;
    let parts = deal(listing.entries, &known, topology.shards());
    let job = master.roots.next_job();
    let identity = Identity { job, ..identity };
    let mut work = Vec::new();
    for (shard, part) in (1..).zip(&parts) {
        for node in topology.replicas(shard) {
            let identity = Identity {
                shard,
                ..identity.clone()
            };
            let is_outdated = || root.is_outdated(serial);
            work.push(update(master, node, identity, part, is_outdated));
        }
    }
    join_all(work)
        .await
        .into_iter()
        .collect::<Result<(), _>>()?;
    // Every shard has the new state: queries ask for it from now on, and the one before can go.
    root.serve(State::of(&identity));
    let commits = (1..=topology.shards()).flat_map(|shard| {
        let nodes = topology.replicas(shard);
        nodes.map(move |node| commit(master, node, root.name(), shard, job))
    });
    join_all(commits).await;
    Ok(seen)
}

/// Lists the tree as a job would.
pub(super) async fn walk(master: &Master, wanted: &Wanted) -> Result<Listing, MasterError> {
    let folders = data_folders(master, &master.statuses().await);
    walk_beside(wanted, folders).await
}

/// Lists the tree without these folders. A node on another host may name one that is not there.
async fn walk_beside(wanted: &Wanted, folders: Vec<PathBuf>) -> Result<Listing, MasterError> {
    let walked = {
        let Wanted { path, ignore } = wanted.clone();
        tokio::task::spawn_blocking(move || {
            let metas = folders
                .iter()
                .filter_map(|path| std::fs::metadata(path).ok());
            let excluded = metas.map(|meta| FolderId::of(&meta)).collect();
            corpus::walk_with(&path, &Rules { excluded, ignore })
        })
    };
    let walk_error = |error| MasterError::Walk {
        root: wanted.path.clone(),
        error,
    };
    walked
        .await
        .map_err(|_| MasterError::Worker)?
        .map_err(walk_error)
}

/// Has a node make its prepared state of a shard the committed one. If that fails, the keeper will
/// do it again.
pub(super) async fn commit(
    master: &Master,
    node: NodeIndex,
    root: &RootName,
    shard: u32,
    job: u64,
) {
    let request = CommitRequest {
        root: root.clone(),
        shard,
        job,
        keep: master.topology.shards_of(node),
    };
    let (pool, patience) = (master.topology.pool(node), master.config.node_timeout);
    if let Err(cause) = pool.order(Kind::Commit, &request, patience).await {
        let fault = master.topology.fault(node, cause);
        crate::note!("cannot commit shard {shard} of {root}: {fault}");
    }
}

/// The folders that must not be indexed: the servers write to them, so that each job would find
/// something new.
fn data_folders(master: &Master, statuses: &Statuses) -> Vec<PathBuf> {
    let nodes = statuses
        .answers()
        .map(|status| PathBuf::from(&status.folder));
    nodes.chain(master.config.data.clone()).collect()
}

/// Which shard each file is in, as far as the nodes say.
async fn known_files(
    master: &Master,
    wanted: &Identity,
    statuses: &Statuses,
) -> HashMap<String, u32> {
    let topology = &master.topology;
    let mut known = HashMap::new();
    for shard in 1..=topology.shards() {
        // The list is that of the newest state.
        let holds = |&node: &NodeIndex| {
            let newest = statuses.states(node, &wanted.name, shard).next();
            newest.is_some_and(|held| held.root == wanted.root && held.of == wanted.of)
        };
        let holder = topology.replicas(shard).find(holds);
        let Some(node) = holder else { continue };
        match list(master, node, &wanted.name, shard).await {
            Ok(files) => known.extend(files.into_iter().map(|entry| (entry.path, shard))),
            // Without the list the files are dealt anew: slower, not wrong.
            Err(error) => crate::note!("cannot list shard {shard}: {error}"),
        }
    }
    known
}

/// The files of a shard.
async fn list(
    master: &Master,
    node: NodeIndex,
    root: &RootName,
    shard: u32,
) -> Result<Vec<Entry>, Cause> {
    let pool = master.topology.pool(node);
    let request = wire::frame(Kind::List, &wire::encode_list(root, shard));
    let (mut connection, mut kind, mut payload) =
        pool.request(&request, master.config.node_timeout).await?;
    let mut files = Vec::new();
    while kind == Kind::Entries && !payload.is_empty() {
        let part = wire::decode_entries(&payload);
        files.extend(part.ok_or(Cause::Unexpected)?);
        let next = timeout(master.config.node_timeout, connection.receive()).await;
        (kind, payload) = next.map_err(|_| Cause::Silent)??;
    }
    pool.give_back(connection);
    Ok(files)
}

/// Brings one replica of a shard up to date, however often the node has to be asked.
async fn update(
    master: &Arc<Master>,
    node: NodeIndex,
    identity: Identity,
    part: &[Entry],
    is_outdated: impl Fn() -> bool,
) -> Result<(), MasterError> {
    let fault = |cause| MasterError::Node(master.topology.fault(node, cause));
    let request = UpdateRequest { identity };
    let json = serde_json::to_vec(&request).map_err(|_| fault(Cause::Unexpected))?;
    let pool = master.topology.pool(node);
    loop {
        let attempt = tokio::select! {
            attempt = try_update(master, node, &json, part) => attempt,
            // A node that is frozen would hold up the job, and every one after it, for ever.
            () = outdated_and_silent(&is_outdated, pool) => return Err(fault(Cause::Down)),
        };
        match attempt {
            Ok((Kind::Last, _)) => return Ok(()),
            Ok((Kind::Error, message)) => return Err(fault(Cause::of_error(&message))),
            Ok(_) => return Err(fault(Cause::Unexpected)),
            Err(error) if is_outdated() => return Err(fault(error.into())),
            Err(_) => sleep(RETRY_AFTER).await,
        }
    }
}

/// Resolves when there is a newer request and the node is known to be silent.
async fn outdated_and_silent(is_outdated: &impl Fn() -> bool, pool: &Pool) {
    while !(is_outdated() && pool.is_down()) {
        sleep(RETRY_AFTER).await;
    }
}

async fn try_update(
    master: &Master,
    node: NodeIndex,
    json: &[u8],
    part: &[Entry],
) -> io::Result<(Kind, bytes::Bytes)> {
    let pool = master.topology.pool(node);
    // A new connection, since a kept one may be dead, and this is no time to save a round trip.
    let mut connection = pool.connect().await?;
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
    pool.give_back(connection);
    Ok(outcome)
}
