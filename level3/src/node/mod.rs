//! A node: it holds shards in a data folder, indexes what the master assigns, and answers queries.
//!
//! [`Node`] is the state and what can be done with it; [`serve`] puts it behind a socket, with a
//! thread for each connection. A connection's thread also searches: a query costs one wake-up, and
//! a slow reader holds up its own search through the socket, without a queue in between.

mod connection;
mod error;
mod folders;
mod load;
mod removals;
mod server;
mod status;

use std::collections::HashSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::corpus;
use crate::index::{IndexError, Progress, Shard};
use crate::root::RootName;
use crate::wire::{CommitRequest, ForgetRequest, UpdateRequest};
use load::Load;
use removals::Removals;

pub use error::NodeError;
pub use server::{NodeServer, serve};

/// Most threads that one query or update uses. Bounds the memory of their buffers.
const MAX_THREADS: usize = 4;

/// A node's shards and what is being done to them.
pub struct Node {
    id: u32,
    dir: PathBuf,
    threads: usize,
    shards: RwLock<Shards>,
    updates: Mutex<Updates>,
    removals: Mutex<Removals>,
    /// Held by the update at work: two at once would need the memory of two.
    indexing: Mutex<()>,
    load: Load,
    /// Keeps other processes out of the folder for as long as it is open.
    _lock: File,
}

/// Shards by root and number.
type Shards = BTreeMap<(RootName, u32), Arc<Shard>>;

/// The updates that were asked for.
#[derive(Default)]
struct Updates {
    /// The newest job of each root; removing a root counts as one.
    newest: BTreeMap<RootName, u64>,
    current: Option<(RootName, Arc<Progress>)>,
}

impl Updates {
    /// Takes note of a job and ends an earlier one of the same root that is at work.
    fn announce(&mut self, root: &RootName, job: u64) {
        let newest = self.newest.entry(root.clone()).or_default();
        if job <= *newest {
            return;
        }
        *newest = job;
        if let Some((of, current)) = &self.current
            && of == root
        {
            current.cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// Whether there is a later job of the same root.
    fn is_outdated(&self, root: &RootName, job: u64) -> bool {
        self.newest.get(root).is_some_and(|newest| *newest > job)
    }
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
        let removals = Removals::open(dir)?;
        let updates = Updates {
            newest: removals.jobs().clone(),
            current: None,
        };
        let shards = folders::open(dir)?;
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MAX_THREADS);
        Ok(Self {
            id,
            dir: dir.to_owned(),
            threads,
            shards: RwLock::new(shards),
            updates: Mutex::new(updates),
            removals: Mutex::new(removals),
            indexing: Mutex::default(),
            load: Load::new(),
            _lock: lock,
        })
    }

    /// A shard of a root, if the node has it.
    fn shard(&self, root: &RootName, shard: u32) -> Option<Arc<Shard>> {
        self.shards().get(&(root.clone(), shard)).cloned()
    }

    fn shards(&self) -> RwLockReadGuard<'_, Shards> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn shards_mut(&self) -> RwLockWriteGuard<'_, Shards> {
        self.shards.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn removals(&self) -> MutexGuard<'_, Removals> {
        self.removals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn updates(&self) -> MutexGuard<'_, Updates> {
        self.updates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prepares a new state of a shard. A request of a later job of the same root ends an earlier
    /// one that is at work.
    fn update(&self, request: UpdateRequest, entries: Vec<corpus::Entry>) -> Result<(), NodeError> {
        let (root, job) = (request.identity.name.clone(), request.identity.job);
        self.updates().announce(&root, job);
        let _only_one = self.indexing.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = Arc::new(Progress::default());
        {
            let mut updates = self.updates();
            if updates.is_outdated(&root, job) {
                return Err(NodeError::Superseded);
            }
            updates.current = Some((root, Arc::clone(&progress)));
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
        entries: Vec<corpus::Entry>,
        progress: &Progress,
    ) -> Result<bool, IndexError> {
        let (root, number) = (&request.identity.name, request.identity.shard);
        let shard = {
            let mut shards = self.shards_mut();
            // Looked at again under the lock: a root that was removed does not come back.
            if self.updates().is_outdated(root, request.identity.job) {
                return Ok(false);
            }
            match shards.entry((root.clone(), number)) {
                Entry::Occupied(held) => Arc::clone(held.get()),
                Entry::Vacant(place) => {
                    let folder = folders::of_shard(&self.dir, root, number);
                    Arc::clone(place.insert(Arc::new(Shard::open(&folder)?)))
                }
            }
        };
        shard.prepare(request.identity, entries, self.threads, progress)
    }

    /// Commits what an update has prepared.
    fn commit(&self, request: CommitRequest) -> Result<(), NodeError> {
        let CommitRequest {
            root,
            shard,
            job,
            keep,
        } = request;
        let held = self.shard(&root, shard);
        if !held.ok_or(NodeError::NotIndexed(shard))?.commit(job)? {
            return Err(NodeError::NoState { shard, job });
        }
        let keep = keep.into_iter().chain([shard]).collect();
        Ok(self.drop_others(&root, job, &keep)?)
    }

    /// Removes the shards of a root that a job has dealt to other nodes.
    fn drop_others(
        &self,
        root: &RootName,
        job: u64,
        keep: &HashSet<u32>,
    ) -> Result<(), IndexError> {
        let is_other = |(of, number): &(RootName, u32)| of == root && !keep.contains(number);
        let discard = |((_, number), shard): (_, Arc<Shard>)| {
            folders::discard(&self.dir, shard.dir(), &format!("{job}-{number}"))
        };
        let discarded: Vec<_> = self
            .shards_mut()
            .extract_if(.., |key, _| is_other(key))
            .map(discard)
            .collect();
        discarded
            .into_iter()
            .try_for_each(|folder| folders::remove(&folder?))
    }

    /// Removes a root, unless a later job has made it anew.
    fn forget(&self, request: &ForgetRequest) -> Result<(), NodeError> {
        let ForgetRequest { root, job } = request;
        if root.is_unnamed() {
            return Err(NodeError::Unnamed);
        }
        self.updates().announce(root, *job);
        let of_root = |(of, _): &(RootName, u32)| of == root;
        let held: Vec<Arc<Shard>> = {
            let shards = self.shards();
            let held = shards.iter().filter(|(key, _)| of_root(key));
            held.map(|(_, shard)| Arc::clone(shard)).collect()
        };
        // An update at work has been told to end, and ends at the next file.
        let _quiet: Vec<_> = held.iter().map(|shard| shard.rest()).collect();
        // First, or a kill in between would leave a root that is neither held nor removed; and while
        // queries go on, since the disk takes its time. A later job is not affected by it.
        self.removals().add(root, *job)?;
        let mut shards = self.shards_mut();
        if self.updates().is_outdated(root, *job) {
            return Ok(());
        }
        shards.retain(|key, _| !of_root(key));
        let folder = folders::of_root(&self.dir, root);
        let discarded = folders::discard(&self.dir, &folder, &job.to_string())?;
        drop(shards);
        Ok(folders::remove(&discarded)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Identity;

    fn update(node: &Node, tree: &Path, name: &str, job: u64) -> Result<(), NodeError> {
        update_shard(node, tree, name, 1, job)
    }

    fn update_shard(
        node: &Node,
        tree: &Path,
        name: &str,
        shard: u32,
        job: u64,
    ) -> Result<(), NodeError> {
        let identity = Identity {
            name: RootName::try_from(name.to_owned()).unwrap(),
            root: tree.to_str().unwrap().to_owned(),
            job,
            shard,
            of: shard,
            ..Identity::default()
        };
        let entries = corpus::walk(tree).unwrap().entries;
        node.update(UpdateRequest { identity }, entries)
    }

    fn names(dir: &Path) -> Vec<String> {
        let items = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = items
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_shard_that_another_node_has_now_leaves_nothing() {
        let (dir, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(tree.path().join("file"), "text").unwrap();
        let node = Node::open(1, dir.path()).unwrap();
        let root = RootName::default();
        for (shard, job) in [(1, 5), (2, 5), (1, 6)] {
            update_shard(&node, tree.path(), "", shard, job).unwrap();
            node.commit(CommitRequest {
                root: root.clone(),
                shard,
                job,
                keep: if job == 5 { vec![1, 2] } else { Vec::new() },
            })
            .unwrap();
        }
        assert!(node.shard(&root, 1).is_some() && node.shard(&root, 2).is_none());
        assert_eq!(names(dir.path()), ["lock", "shard-1"]);
        // What a kill has left of another goes when the node starts.
        drop(node);
        fs::create_dir_all(dir.path().join("removed-7-3/inner")).unwrap();
        Node::open(1, dir.path()).unwrap();
        assert_eq!(names(dir.path()), ["lock", "shard-1"]);
    }

    #[test]
    fn a_removed_root_leaves_nothing_and_does_not_come_back() {
        let (dir, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(tree.path().join("file"), "text").unwrap();
        let node = Node::open(1, dir.path()).unwrap();
        for name in ["", "a", "b"] {
            update(&node, tree.path(), name, 5).unwrap();
        }
        let root: RootName = "a".parse().unwrap();
        let forget = |node: &Node, root: &RootName, job| {
            let root = root.clone();
            node.forget(&ForgetRequest { root, job })
        };
        // A job that is later than the removal has made it anew.
        forget(&node, &root, 4).unwrap();
        assert!(node.shard(&root, 1).is_some());
        forget(&node, &root, 6).unwrap();
        assert!(node.shard(&root, 1).is_none());
        drop(node);
        let node = Node::open(1, dir.path()).unwrap();
        assert_eq!(node.status().removed.get(&root), Some(&6));
        // An update that was on its way.
        let late = update(&node, tree.path(), "a", 5);
        assert!(matches!(late, Err(NodeError::Superseded)), "{late:?}");
        assert_eq!(
            names(dir.path()),
            ["lock", "removals.json", "root-b", "shard-1"]
        );
        update(&node, tree.path(), "a", 7).unwrap();
        assert!(node.shard(&root, 1).is_some());
        assert!(forget(&node, &RootName::default(), 9).is_err());
        drop(node);
        let node = Node::open(1, dir.path()).unwrap();
        let roots: Vec<_> = node.shards().keys().map(|(root, _)| root.clone()).collect();
        let roots: Vec<_> = roots.iter().map(RootName::as_str).collect();
        assert_eq!(roots, ["", "a", "b"]);
    }
}
