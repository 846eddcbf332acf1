//! The roots that the master was asked to index; kept in its data folder.
//!
//! Each has its own [`Root`]: requests, jobs and state do not touch those of others. A root that was
//! removed is remembered until every node has been told, since a node that comes back with it would
//! else be taken for one that knows more than the master. Nodes remember it as well, for masters that
//! keep nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::error::MasterError;
use super::requests::{Root, Wanted};
use super::topology::NodeIndex;
use crate::root::RootName;

/// Roots at once. Each costs the nodes some open files and a query some questions.
pub(crate) const MAX_ROOTS: usize = 64;

/// File in the data folder with what was asked for.
const FILE: &str = "roots.json";

/// All roots.
pub(crate) struct Roots {
    all: Mutex<All>,
    /// Told when there is something to index.
    pub(super) wake: Notify,
    /// Told when nodes have to hear of a removal.
    pub(super) removal: Notify,
    /// Number of the last job.
    job: AtomicU64,
    /// Where [`FILE`] lies, if anywhere.
    data: Option<PathBuf>,
}

#[derive(Default)]
struct All {
    roots: BTreeMap<RootName, Arc<Root>>,
    removed: BTreeMap<RootName, Removal>,
}

/// A root that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Removal {
    /// A number for it, as if it were a job: later jobs make the root anew.
    pub job: u64,
    /// The nodes that know of it.
    told: BTreeSet<NodeIndex>,
}

/// What [`FILE`] says.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    roots: Vec<KeptRoot>,
    removed: Vec<KeptRemoval>,
}

#[derive(Serialize, Deserialize)]
struct KeptRoot {
    name: RootName,
    #[serde(flatten)]
    wanted: Wanted,
    /// Whether a request is not done: asking for the same folder again must not be forgotten either,
    /// though all nodes agree on its old state.
    unfinished: bool,
}

#[derive(Serialize, Deserialize)]
struct KeptRemoval {
    name: RootName,
    job: u64,
}

impl Roots {
    /// Continues with what `data` says was asked for before.
    pub(crate) fn new(data: Option<&Path>) -> Result<Self, MasterError> {
        let mut all = All::default();
        let mut last = 0;
        if let Some(data) = data {
            std::fs::create_dir_all(data).map_err(MasterError::data(data))?;
            let kept = read(&data.join(FILE))?;
            for KeptRoot {
                name,
                wanted,
                unfinished,
            } in kept.roots
            {
                let root = Arc::new(Root::new(name.clone(), wanted, unfinished));
                all.roots.insert(name, root);
            }
            for KeptRemoval { name, job } in kept.removed {
                last = last.max(job);
                all.removed.insert(name, Removal::new(job));
            }
        }
        Ok(Self {
            all: Mutex::new(all),
            wake: Notify::new(),
            removal: Notify::new(),
            job: AtomicU64::new(last),
            data: data.map(Path::to_owned),
        })
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The root of this name.
    pub(crate) fn get(&self, name: &RootName) -> Option<Arc<Root>> {
        self.all().roots.get(name).cloned()
    }

    /// The root without a name.
    pub(crate) fn unnamed(&self) -> Option<Arc<Root>> {
        self.get(&RootName::default())
    }

    /// All roots, in the order of their names, the unnamed one first.
    pub(crate) fn list(&self) -> Vec<Arc<Root>> {
        self.all().roots.values().cloned().collect()
    }

    /// Asks for a folder to be indexed as the root of this name, now or after the job at work.
    pub(crate) fn request(&self, name: &RootName, wanted: Wanted) -> Result<(), MasterError> {
        let mut all = self.all();
        match all.roots.get(name) {
            // What is remembered first is not forgotten by a kill in between.
            Some(root) => {
                let before = root.ask(wanted);
                self.keep(&all).inspect_err(|_| root.take_back(before))?;
                root.own();
            }
            None if all.roots.len() >= MAX_ROOTS => return Err(MasterError::TooManyRoots),
            None => {
                let root = Arc::new(Root::new(name.clone(), wanted, true));
                let removal = all.removed.remove(name);
                all.roots.insert(name.clone(), root);
                if let Err(error) = self.keep(&all) {
                    all.roots.remove(name);
                    all.removed.extend(removal.map(|it| (name.clone(), it)));
                    return Err(error);
                }
            }
        }
        drop(all);
        self.wake.notify_one();
        Ok(())
    }

    /// Asks for a root to be indexed again, unless it was removed meanwhile.
    pub(super) fn request_again(&self, root: &Root) -> Result<(), MasterError> {
        let all = self.all();
        if root.is_over() {
            return Ok(());
        }
        let before = root.ask(root.wanted());
        self.keep(&all).inspect_err(|_| root.take_back(before))?;
        drop(all);
        self.wake.notify_one();
        Ok(())
    }

    /// Removes a root; `false` if there is none of this name.
    pub(crate) fn remove(&self, name: &RootName) -> Result<bool, MasterError> {
        let job = self.next_job();
        let mut all = self.all();
        let Some(root) = all.roots.remove(name) else {
            return Ok(false);
        };
        all.removed.insert(name.clone(), Removal::new(job));
        if let Err(error) = self.keep(&all) {
            all.removed.remove(name);
            all.roots.insert(name.clone(), root);
            return Err(error);
        }
        root.end();
        drop(all);
        self.removal.notify_one();
        Ok(true)
    }

    /// Takes a root over from nodes that have it, unless the master knows better.
    pub(super) fn adopt(&self, name: &RootName, wanted: impl FnOnce() -> Wanted) {
        let mut all = self.all();
        if all.removed.contains_key(name)
            || all.roots.contains_key(name)
            || all.roots.len() >= MAX_ROOTS
        {
            return;
        }
        let root = Arc::new(Root::adopted(name.clone(), wanted()));
        all.roots.insert(name.clone(), root);
    }

    /// Takes note of a removal that only some nodes know of, unless the root was asked for since.
    pub(super) fn learn_removal(
        &self,
        name: &RootName,
        job: u64,
        told: BTreeSet<NodeIndex>,
        nodes: usize,
    ) {
        let mut all = self.all();
        match all.roots.get(name) {
            Some(root) if root.is_adopted() => root.end(),
            Some(_) => return,
            None => {}
        }
        let was_here = all.roots.remove(name).is_some();
        let is_known = all
            .removed
            .get(name)
            .is_some_and(|removal| removal.job >= job);
        let is_to_be_told = !is_known && told.len() < nodes;
        if is_to_be_told {
            all.removed.insert(name.clone(), Removal { job, told });
        }
        // Nodes know it in any case.
        if (was_here || is_to_be_told)
            && let Err(error) = self.keep(&all)
        {
            crate::note!("{error}");
        }
    }

    /// The removals of which a node does not know.
    pub(super) fn removals(&self, node: NodeIndex) -> Vec<(RootName, u64)> {
        let all = self.all();
        let untold = |removal: &Removal| !removal.told.contains(&node);
        let untold = all.removed.iter().filter(|(_, removal)| untold(removal));
        untold
            .map(|(name, removal)| (name.clone(), removal.job))
            .collect()
    }

    /// Takes note that a node knows of a removal, which is forgotten when all `nodes` do.
    pub(super) fn told(&self, name: &RootName, job: u64, node: NodeIndex, nodes: usize) {
        let mut all = self.all();
        let Some(removal) = all.removed.get_mut(name) else {
            return;
        };
        if removal.job == job {
            removal.told.insert(node);
            if removal.told.len() == nodes {
                all.removed.remove(name);
                // If it is remembered for longer, the nodes are told once more.
                if let Err(error) = self.keep(&all) {
                    crate::note!("{error}");
                }
            }
        }
    }

    /// Takes note that a job of a root is done.
    pub(super) fn finished(&self) {
        // If it is not, the next master indexes once more than it needs to.
        if let Err(error) = self.keep(&self.all()) {
            crate::note!("{error}");
        }
    }

    /// A number for a new job, greater than all before it, those of a forgetful master included.
    pub(super) fn next_job(&self) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |t| t.as_millis() as u64);
        // Relaxed: the number is all that counts.
        let next = |last: u64| Some(now.max(last + 1));
        let last = self
            .job
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        now.max(last.unwrap_or_else(|last| last) + 1)
    }

    /// Takes note of a job that was done before this master started.
    pub(super) fn saw_job(&self, job: u64) {
        self.job.fetch_max(job, Ordering::Relaxed);
    }

    /// Writes down what is asked for.
    fn keep(&self, all: &All) -> Result<(), MasterError> {
        let Some(data) = &self.data else {
            return Ok(());
        };
        let kept = Kept {
            roots: all
                .roots
                .values()
                .map(|root| KeptRoot {
                    name: root.name().clone(),
                    wanted: root.wanted(),
                    unfinished: root.is_indexing(),
                })
                .collect(),
            removed: all
                .removed
                .iter()
                .map(|(name, removal)| KeptRemoval {
                    name: name.clone(),
                    job: removal.job,
                })
                .collect(),
        };
        let (path, draft) = (data.join(FILE), data.join("roots.new"));
        let write = || {
            std::fs::write(&draft, serde_json::to_vec_pretty(&kept)?)?;
            std::fs::rename(&draft, &path)
        };
        write().map_err(MasterError::data(&path))
    }
}

impl Removal {
    fn new(job: u64) -> Self {
        Self {
            job,
            told: BTreeSet::new(),
        }
    }
}

fn read(path: &Path) -> Result<Kept, MasterError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(std::io::Error::from)
            .map_err(MasterError::data(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Kept::default()),
        Err(error) => Err(MasterError::data(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(path: &str) -> Wanted {
        Wanted {
            path: path.into(),
            ..Wanted::default()
        }
    }

    fn names(roots: &Roots) -> Vec<String> {
        let roots = roots.list().into_iter();
        roots.map(|root| root.name().as_str().to_owned()).collect()
    }

    #[test]
    fn what_was_asked_for_outlives_the_master() {
        let data = tempfile::tempdir().unwrap();
        let (unnamed, linux) = (RootName::default(), "linux".parse().unwrap());
        let roots = Roots::new(Some(data.path())).unwrap();
        roots.request(&linux, wanted("/linux")).unwrap();
        roots.request(&unnamed, wanted("/src")).unwrap();
        let again = Roots::new(Some(data.path())).unwrap();
        assert_eq!(names(&again), ["", "linux"]);
        assert!(again.get(&linux).unwrap().is_indexing());
        assert!(again.remove(&linux).unwrap() && !again.remove(&linux).unwrap());
        let again = Roots::new(Some(data.path())).unwrap();
        assert_eq!(names(&again), [""]);
        // Nodes that still have it do not bring it back, until all have been told.
        again.adopt(&linux, || wanted("/old"));
        assert_eq!(names(&again), [""]);
        let (one, two) = (NodeIndex(0), NodeIndex(1));
        let job = again.removals(one)[0].1;
        again.told(&linux, job, one, 2);
        assert_eq!(
            (again.removals(one).len(), again.removals(two).len()),
            (0, 1)
        );
        again.told(&linux, job, two, 2);
        assert!(again.removals(two).is_empty());
        assert!(again.next_job() > job);
    }

    #[test]
    fn nodes_know_of_removals_and_who_asks_knows_better() {
        let (one, two) = (NodeIndex(0), NodeIndex(1));
        let linux = "linux".parse().unwrap();
        let learn = |roots: &Roots, job| {
            roots.learn_removal(&linux, job, BTreeSet::from([one]), 2);
        };
        // Taken over from a node that was away, before another one says that it was removed.
        let roots = Roots::new(None).unwrap();
        roots.adopt(&linux, || wanted("/linux"));
        let root = roots.get(&linux).unwrap();
        learn(&roots, 7);
        assert!(names(&roots).is_empty() && root.is_over());
        assert_eq!(roots.removals(two), [(linux.clone(), 7)]);
        assert!(roots.removals(one).is_empty());
        roots.adopt(&linux, || wanted("/linux"));
        assert!(names(&roots).is_empty());
        // All know of it: there is nobody to tell.
        roots.told(&linux, 7, two, 2);
        roots.learn_removal(&linux, 7, BTreeSet::from([one, two]), 2);
        assert!(roots.removals(two).is_empty());
        // Asked for, here or of a node's root: then it stays.
        for is_adopted in [false, true] {
            let roots = Roots::new(None).unwrap();
            if is_adopted {
                roots.adopt(&linux, || wanted("/linux"));
            }
            roots.request(&linux, wanted("/linux")).unwrap();
            learn(&roots, 7);
            assert_eq!(names(&roots), ["linux"]);
            assert!(roots.removals(two).is_empty());
        }
    }

    #[test]
    fn a_data_folder_that_cannot_be_written_changes_nothing() {
        let data = tempfile::tempdir().unwrap();
        let linux = "linux".parse().unwrap();
        let roots = Roots::new(Some(data.path())).unwrap();
        roots.request(&linux, wanted("/linux")).unwrap();
        std::fs::create_dir(data.path().join("roots.new")).unwrap();
        assert!(roots.request(&RootName::default(), wanted("/src")).is_err());
        assert!(roots.request(&linux, wanted("/other")).is_err());
        assert!(roots.remove(&linux).is_err());
        assert_eq!(names(&roots), ["linux"]);
        assert_eq!(roots.get(&linux).unwrap().wanted(), wanted("/linux"));
    }

    #[test]
    fn there_are_only_so_many_roots() {
        let roots = Roots::new(None).unwrap();
        for number in 0..MAX_ROOTS {
            let name = format!("root-{number}").parse().unwrap();
            roots.request(&name, wanted("/src")).unwrap();
        }
        let more = roots.request(&"more".parse().unwrap(), wanted("/src"));
        assert!(matches!(more, Err(MasterError::TooManyRoots)));
        let known = roots.request(&"root-0".parse().unwrap(), wanted("/src"));
        assert!(known.is_ok());
    }
}
