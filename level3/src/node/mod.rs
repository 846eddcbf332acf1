//! A node: it holds shards in a data folder, indexes what the master assigns, and answers queries.
//!
//! [`Node`] is the state and what can be done with it; [`serve`] puts it behind a socket, with a
//! thread for each connection. A connection's thread also searches: a query costs one wake-up, and
//! a slow reader holds up its own search through the socket, without a queue in between.

mod connection;
mod error;
mod load;
mod server;
mod status;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::corpus::Entry;
use crate::index::{IndexError, Progress, Shard};
use crate::wire::{CommitRequest, UpdateRequest};
use load::Load;

pub use error::NodeError;
pub use server::{NodeServer, serve};

/// Most threads that one query or update uses. Bounds the memory of their buffers.
const MAX_THREADS: usize = 4;

/// A node's shards and what is being done to them.
pub struct Node {
    id: u32,
    dir: PathBuf,
    threads: usize,
    shards: RwLock<BTreeMap<u32, Arc<Shard>>>,
    updates: Mutex<Updates>,
    /// Held by the update at work: two at once would need the memory of two.
    indexing: Mutex<()>,
    load: Load,
    /// Keeps other processes out of the folder for as long as it is open.
    _lock: File,
}

/// The updates that were asked for.
#[derive(Default)]
struct Updates {
    newest_job: u64,
    current: Option<Arc<Progress>>,
}

impl Node {
    /// Opens the node's folder, which is created if need be, and the shards in it.
    pub fn open(id: u32, dir: &Path) -> Result<Self, IndexError> {
        fs::create_dir_all(dir).map_err(IndexError::io(dir))?;
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(IndexError::io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(IndexError::Locked {
                    path: dir.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(IndexError::io(&lock_path)(error)),
        }
        let mut shards = BTreeMap::new();
        for item in fs::read_dir(dir).map_err(IndexError::io(dir))? {
            let path = item.map_err(IndexError::io(dir))?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if let Some(shard) = name
                .strip_prefix("shard-")
                .and_then(|number| number.parse().ok())
            {
                let opened = Shard::open(&path)?;
                if let Some(what) = opened.damage() {
                    crate::note!("shard {shard} cannot be used and will be rebuilt: {what}");
                }
                shards.insert(shard, Arc::new(opened));
            }
        }
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MAX_THREADS);
        Ok(Self {
            id,
            dir: dir.to_owned(),
            threads,
            shards: RwLock::new(shards),
            updates: Mutex::default(),
            indexing: Mutex::default(),
            load: Load::new(),
            _lock: lock,
        })
    }

    /// The shard with this number, if the node has it.
    fn shard(&self, shard: u32) -> Option<Arc<Shard>> {
        self.shards
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&shard)
            .cloned()
    }

    fn updates(&self) -> MutexGuard<'_, Updates> {
        self.updates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares a new state of a shard. A request of a later job ends an earlier one that is at work.
    fn update(&self, request: UpdateRequest, entries: Vec<Entry>) -> Result<(), NodeError> {
        let job = request.identity.job;
        {
            let mut updates = self.updates();
            if job > updates.newest_job {
                updates.newest_job = job;
                if let Some(current) = &updates.current {
                    current
                        .cancelled
                        .store(true, std::sync::atomic::Ordering::Relaxed);
                }
            }
        }
        let _only_one = self.indexing.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = Arc::new(Progress::default());
        {
            let mut updates = self.updates();
            if job < updates.newest_job {
                return Err(NodeError::Superseded);
            }
            updates.current = Some(Arc::clone(&progress));
        }
        let outcome = self.prepare(request, entries, &progress);
        self.updates().current = None;
        match outcome {
            Ok(true) => Ok(()),
            Ok(false) => Err(NodeError::Superseded),
            Err(error) => Err(error.into()),
        }
    }

    fn prepare(
        &self,
        request: UpdateRequest,
        entries: Vec<Entry>,
        progress: &Progress,
    ) -> Result<bool, IndexError> {
        let number = request.identity.shard;
        let shard = if let Some(shard) = self.shard(number) {
            shard
        } else {
            let opened = Arc::new(Shard::open(&self.dir.join(format!("shard-{number}")))?);
            let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(shards.entry(number).or_insert(opened))
        };
        shard.prepare(request.identity, entries, self.threads, progress)
    }

    /// Commits what an update has prepared.
    fn commit(&self, request: CommitRequest) -> Result<(), NodeError> {
        let CommitRequest { shard, job, keep } = request;
        let held = self.shard(shard).ok_or(NodeError::NotIndexed(shard))?;
        if !held.commit(job)? {
            return Err(NodeError::NoState { shard, job });
        }
        Ok(self.drop_others(&keep.into_iter().chain([shard]).collect())?)
    }

    /// Removes the shards that are held by other nodes now.
    fn drop_others(&self, keep: &HashSet<u32>) -> Result<(), IndexError> {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        for (_, shard) in shards.extract_if(.., |number, _| !keep.contains(number)) {
            fs::remove_dir_all(shard.dir()).map_err(IndexError::io(shard.dir()))?;
        }
        Ok(())
    }
}
