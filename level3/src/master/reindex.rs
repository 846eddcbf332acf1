//! One indexing job, from the walk of the tree to the last shard.
//!
//! A job walks the tree, learns from the nodes which shard each known file is in, deals the files
//! out and has every replica of every shard brought up to date. It goes on until all have done so:
//! a node that dies is asked again when it is back, unless a newer job waits.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::Master;
use super::deal::deal;
use super::error::{Cause, MasterError};
use super::topology::NodeIndex;
use crate::corpus::{self, Entry};
use crate::index::Identity;
use crate::wire::{self, Kind, UpdateRequest};

/// How long to wait before asking a node again that could not be reached.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Files in one `Entries` frame.
const ENTRIES: usize = 1000;

/// Has all nodes index `root`, for the request with this serial number.
pub(crate) async fn run(master: &Arc<Master>, root: &Path, serial: u64) -> Result<(), MasterError> {
    let walk_error = |error| MasterError::Walk {
        root: root.to_owned(),
        error,
    };
    let walked = {
        let root = root.to_owned();
        tokio::task::spawn_blocking(move || corpus::walk(&root)).await
    };
    let listing = walked
        .map_err(|_| MasterError::Worker)?
        .map_err(walk_error)?;
    master.requests.state().rejected = listing.rejected;
    let root_text = root.to_str().ok_or_else(|| MasterError::Name {
        root: root.to_owned(),
    })?;
    let known = known_files(master, root_text).await;
    let topology = &master.topology;
    let parts = deal(listing.entries, &known, topology.shards());
    let number = next_number(master);
    let mut work = Vec::new();
    for (shard, part) in (1..).zip(&parts) {
        let identity = Identity {
            root: root_text.to_owned(),
            job: number,
            shard,
            of: topology.shards(),
        };
        for node in topology.replicas(shard) {
            work.push(update(master, node, identity.clone(), part, serial));
        }
    }
    join_all(work).await.into_iter().collect()
}

/// A number for a new job, greater than all before it, those of a forgetful master included.
fn next_number(master: &Master) -> u64 {
    let mut state = master.requests.state();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |t| t.as_millis() as u64);
    state.job = now.max(state.job + 1);
    state.job
}

/// Which shard each file is in, as far as the nodes say.
async fn known_files(master: &Master, root: &str) -> HashMap<String, u32> {
    let topology = &master.topology;
    let statuses = master.statuses().await;
    let mut known = HashMap::new();
    for shard in 1..=topology.shards() {
        let holds = |identity: &Identity| {
            identity.shard == shard && identity.root == root && identity.of == topology.shards()
        };
        let holder = topology.replicas(shard).find(|&node| {
            statuses.of(node).is_ok_and(|status| {
                let mut identities = status.shards.iter().flat_map(|held| &held.identity);
                identities.any(holds)
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
async fn list(master: &Master, node: NodeIndex, shard: u32) -> io::Result<Vec<Entry>> {
    let pool = master.topology.pool(node);
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
    node: NodeIndex,
    identity: Identity,
    part: &[Entry],
    serial: u64,
) -> Result<(), MasterError> {
    let fault = |cause| MasterError::Node(master.topology.fault(node, cause));
    let request = UpdateRequest {
        identity,
        keep: master.topology.shards_of(node),
    };
    let json = serde_json::to_vec(&request).map_err(|_| fault(Cause::Unexpected))?;
    loop {
        match try_update(master, node, &json, part).await {
            Ok((Kind::Last, _)) => return Ok(()),
            Ok((_, message)) => {
                let said = String::from_utf8_lossy(&message).into_owned();
                return Err(fault(Cause::Refused(said)));
            }
            Err(error) => {
                if master.requests.state().requested > serial {
                    return Err(fault(error.into()));
                }
                sleep(RETRY_AFTER).await;
            }
        }
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
