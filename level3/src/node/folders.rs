//! Where a node keeps its shards: `shard-N` for the unnamed root, `root-NAME/shard-N` for others.
//!
//! A root that is removed is first renamed to `removed-JOB`, and a shard to `removed-JOB-N`, so that it
//! is gone at once whatever happens while its files are, and queries do not wait for that; what a kill
//! has left of it goes when the folder is opened.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Shards;
use crate::index::{IndexError, Shard};
use crate::root::RootName;

const SHARD: &str = "shard-";
const ROOT: &str = "root-";
const REMOVED: &str = "removed-";

/// The folder of a shard.
pub(super) fn of_shard(dir: &Path, root: &RootName, shard: u32) -> PathBuf {
    of_root(dir, root).join(format!("{SHARD}{shard}"))
}

/// The folder of a root.
pub(super) fn of_root(dir: &Path, root: &RootName) -> PathBuf {
    if root.is_unnamed() {
        dir.to_owned()
    } else {
        dir.join(format!("{ROOT}{}", root.as_str()))
    }
}

/// Opens the shards below `dir`, and removes what is left of removed roots.
pub(super) fn open(dir: &Path) -> Result<Shards, IndexError> {
    let mut shards = Shards::new();
    open_root(dir, &RootName::default(), &mut shards)?;
    for (name, path) in folders(dir)? {
        if name.starts_with(REMOVED) {
            remove(&path)?;
        } else if let Some(Ok(root)) = name.strip_prefix(ROOT).map(str::parse) {
            open_root(&path, &root, &mut shards)?;
        }
    }
    Ok(shards)
}

fn open_root(dir: &Path, root: &RootName, shards: &mut Shards) -> Result<(), IndexError> {
    for (name, path) in folders(dir)? {
        let Some(Ok(number)) = name.strip_prefix(SHARD).map(str::parse) else {
            continue;
        };
        let shard = Shard::open(&path)?;
        if let Some(what) = shard.damage() {
            crate::note!("shard {number} of {root} cannot be used and will be rebuilt: {what}");
        }
        shards.insert((root.clone(), number), Arc::new(shard));
    }
    Ok(())
}

/// Names and paths of what is in a folder.
fn folders(dir: &Path) -> Result<Vec<(String, PathBuf)>, IndexError> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir).map_err(IndexError::io(dir))? {
        let item = item.map_err(IndexError::io(dir))?;
        if let Ok(name) = item.file_name().into_string() {
            found.push((name, item.path()));
        }
    }
    Ok(found)
}

/// Takes the folder `from` away from its name, if it is there, and says where below `dir` it is now.
/// Nothing else is discarded under the same `number`.
pub(super) fn discard(dir: &Path, from: &Path, number: &str) -> Result<PathBuf, IndexError> {
    let to = dir.join(format!("{REMOVED}{number}"));
    match fs::rename(from, &to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(IndexError::io(from)(error)),
        _ => Ok(to),
    }
}

/// Removes a folder, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), IndexError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(IndexError::io(path)(error)),
        _ => Ok(()),
    }
}
