//! What a shard has of a tree: the text of a file, and what is in a folder.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::index::{IndexError, Snapshot};

/// A folder, as far as one shard has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Folder {
    /// Sub-folders, and how many files are below each.
    pub folders: BTreeMap<String, u64>,
    /// Files in it.
    pub files: Vec<String>,
}

/// The text of a file, if the shard has it.
pub(crate) fn file(snapshot: &Snapshot, path: &str) -> Result<Option<Vec<u8>>, IndexError> {
    for live in &snapshot.segments {
        let files = live.segment.files();
        let Ok(at) = files.binary_search_by(|row| (*row.path).cmp(path)) else {
            continue;
        };
        let is_dead = live.dead.binary_search(&(at as u32)).is_ok();
        if !is_dead && files[at].reject.is_none() {
            let mut text = Vec::new();
            live.segment.read_file(at, &mut text)?;
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// What is in a folder, whose path ends in a slash unless it is the root's.
pub(crate) fn folder(snapshot: &Snapshot, path: &str) -> Folder {
    let mut folder = Folder::default();
    for live in &snapshot.segments {
        let files = live.segment.files();
        let start = files.partition_point(|row| &*row.path < path);
        for (at, row) in files.iter().enumerate().skip(start) {
            let Some(below) = row.path.strip_prefix(path) else {
                break;
            };
            let is_dead = live.dead.binary_search(&(at as u32)).is_ok();
            if is_dead || row.reject.is_some() {
                continue;
            }
            match below.split_once('/') {
                Some((name, _)) => *folder.folders.entry(name.to_owned()).or_default() += 1,
                None => folder.files.push(below.to_owned()),
            }
        }
    }
    folder
}

impl Folder {
    /// Adds what another shard has of it.
    pub(crate) fn add(&mut self, other: Self) {
        for (name, files) in other.folders {
            *self.folders.entry(name).or_default() += files;
        }
        self.files.extend(other.files);
    }
}
