//! The roots that a node was told to remove, kept in its folder.
//!
//! A master without a data folder learns what there is from its nodes. A node that was away when a
//! root was removed still has it, and the others are the only ones who know better. What a later job
//! makes of a root is not affected by its removal, so a removal may be remembered for as long as
//! there is room.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::index::IndexError;
use crate::root::RootName;

/// Removals that are remembered: the latest ones.
const MAX_REMOVALS: usize = 1000;

/// File in the node's folder.
const FILE: &str = "removals.json";

/// Names of removed roots and the numbers of their removals, which count as jobs.
pub(super) struct Removals {
    dir: PathBuf,
    jobs: BTreeMap<RootName, u64>,
}

impl Removals {
    /// Those that are remembered in `dir`.
    pub(super) fn open(dir: &Path) -> Result<Self, IndexError> {
        let path = dir.join(FILE);
        let jobs = match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).unwrap_or_else(|error| {
                // Nothing is lost with it but knowledge that others mostly have.
                crate::note!("{} cannot be used: {error}", path.display());
                BTreeMap::new()
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(IndexError::io(&path)(error)),
        };
        Ok(Self {
            dir: dir.to_owned(),
            jobs,
        })
    }

    /// All of them.
    pub(super) fn jobs(&self) -> &BTreeMap<RootName, u64> {
        &self.jobs
    }

    /// Remembers one, durably.
    pub(super) fn add(&mut self, root: &RootName, job: u64) -> Result<(), IndexError> {
        if self.jobs.get(root).is_some_and(|known| *known >= job) {
            return Ok(());
        }
        let mut jobs = self.jobs.clone();
        jobs.insert(root.clone(), job);
        while jobs.len() > MAX_REMOVALS {
            let oldest = jobs.iter().min_by_key(|(_, job)| **job);
            let Some((oldest, _)) = oldest.map(|(root, job)| (root.clone(), *job)) else {
                break;
            };
            jobs.remove(&oldest);
        }
        let path = self.dir.join(FILE);
        write(&self.dir, &path, &jobs).map_err(IndexError::io(&path))?;
        self.jobs = jobs;
        Ok(())
    }
}

fn write(dir: &Path, path: &Path, jobs: &BTreeMap<RootName, u64>) -> io::Result<()> {
    let draft = dir.join("removals.new");
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec_pretty(jobs)?)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u64) -> RootName {
        format!("root-{number}").parse().unwrap()
    }

    #[test]
    fn removals_are_remembered_and_the_latest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut removals = Removals::open(dir.path()).unwrap();
        for (number, job) in [(1, 5), (2, 7), (1, 9), (1, 6)] {
            removals.add(&name(number), job).unwrap();
        }
        let expected = BTreeMap::from([(name(1), 9), (name(2), 7)]);
        assert_eq!(*removals.jobs(), expected);
        let mut again = Removals::open(dir.path()).unwrap();
        assert_eq!(*again.jobs(), expected);
        // As many as there is room for, put there at once: each is made durable.
        let many = (0..MAX_REMOVALS as u64).map(|at| (name(at), 100 + at));
        again.jobs = many.collect();
        again.add(&name(5000), 50).unwrap();
        assert!(!again.jobs().contains_key(&name(5000)));
        again.add(&name(5000), 5000).unwrap();
        assert!(again.jobs().contains_key(&name(5000)) && !again.jobs().contains_key(&name(0)));
        assert_eq!(again.jobs().len(), MAX_REMOVALS);
    }

    #[test]
    fn a_damaged_file_is_not_the_end_of_the_node() {
        let dir = tempfile::tempdir().unwrap();
        for damage in ["", "[]", "{\"../x\": 1}", "{\"a\": -1}"] {
            fs::write(dir.path().join(FILE), damage).unwrap();
            assert!(Removals::open(dir.path()).unwrap().jobs().is_empty());
        }
    }
}
