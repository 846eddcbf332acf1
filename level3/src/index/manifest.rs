//! The manifest: the one file that says which segments make up a shard.
//!
//! A new manifest replaces the old one by renaming, after its segments are durable, so that a
//! kill at any moment leaves either the old state or the new one. It is a line with a checksum
//! and then JSON, since it is small and worth reading with one's own eyes. A second one, of the
//! same form, holds the state that an update has prepared and that is not committed yet.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::format::IndexError;
use crate::root::{Ignore, Revision, RootName};

/// The state that is committed.
const NAME: &str = "manifest";
/// The state that is complete and waits for the other shards.
const PREPARED: &str = "manifest.next";
const VERSION: u32 = 2;

/// What a shard is a part of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What the indexed folder is called.
    #[serde(default, skip_serializing_if = "RootName::is_unnamed")]
    pub name: RootName,
    /// The indexed folder, absolute.
    pub root: String,
    /// The indexing job; a later job has a greater number. Shards of one job fit together.
    pub job: u64,
    /// Which part of the corpus this is, counting from 1.
    pub shard: u32,
    /// Into how many parts the corpus was split.
    pub of: u32,
    /// What was left out of it on request.
    #[serde(default, skip_serializing_if = "Ignore::is_nothing")]
    pub ignore: Ignore,
    /// What git had checked out, if the folder is part of a work tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
}

/// The contents of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    #[serde(flatten)]
    pub identity: Identity,
    pub segments: Vec<SegmentEntry>,
}

/// A segment in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentEntry {
    pub number: u64,
    /// Positions of files that changed or vanished since the segment was written.
    pub dead: Vec<u32>,
}

impl Manifest {
    /// The manifest in `dir`, or `None` if there is none yet.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>, IndexError> {
        Self::read(&dir.join(NAME))
    }

    /// The manifest of a prepared state in `dir`, or `None` if there is none.
    pub(crate) fn load_prepared(dir: &Path) -> Result<Option<Self>, IndexError> {
        Self::read(&dir.join(PREPARED))
    }

    fn read(path: &Path) -> Result<Option<Self>, IndexError> {
        match fs::read(path) {
            Ok(bytes) => Self::decode(&bytes)
                .map(Some)
                .map_err(|what| IndexError::damaged(path, what)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IndexError::io(path)(error)),
        }
    }

    /// Reads the bytes of a manifest, or says what is wrong with them.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let newline = memchr::memchr(b'\n', bytes).ok_or("no first line")?;
        let (line, json) = (&bytes[..newline], &bytes[newline + 1..]);
        if !line.starts_with(b"level3 manifest ") {
            return Err("not a manifest of level3");
        }
        if line != first_line(json).trim_end().as_bytes() {
            return Err("checksum or format version differs");
        }
        serde_json::from_slice(json).map_err(|_| "not the expected JSON")
    }

    /// JSON behind the line that belongs to it.
    pub(crate) fn sealed(json: &[u8]) -> Vec<u8> {
        [first_line(json).as_bytes(), json].concat()
    }

    /// Makes this the prepared state in `dir`, durably.
    pub(crate) fn prepare(&self, dir: &Path) -> Result<(), IndexError> {
        let (path, draft) = (dir.join(PREPARED), dir.join("manifest.new"));
        let json = serde_json::to_vec_pretty(self).map_err(io::Error::other);
        let json = json.map_err(IndexError::io(&draft))?;
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(&Self::sealed(&json))?;
            file.sync_all()
        };
        write().map_err(|error| {
            // What is there of it takes room that may be wanted; the error is told either way.
            let _ = fs::remove_file(&draft);
            IndexError::io(&draft)(error)
        })?;
        rename(&draft, &path, dir)
    }

    /// Makes the prepared state in `dir` the committed one, durably.
    pub(crate) fn commit(dir: &Path) -> Result<(), IndexError> {
        rename(&dir.join(PREPARED), &dir.join(NAME), dir)
    }

    /// Removes the manifest of a prepared state that turned out to be of no use.
    pub(crate) fn drop_prepared(dir: &Path) -> Result<(), IndexError> {
        let path = dir.join(PREPARED);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(IndexError::io(&path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn rename(from: &Path, to: &Path, dir: &Path) -> Result<(), IndexError> {
    let swap = || {
        fs::rename(from, to)?;
        File::open(dir)?.sync_all()
    };
    swap().map_err(IndexError::io(to))
}

fn first_line(json: &[u8]) -> String {
    format!("level3 manifest {VERSION} {:08x}\n", crc32c::crc32c(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Manifest {
        let identity = Identity {
            root: "/src".to_owned(),
            job: 7,
            shard: 2,
            of: 3,
            ..Identity::default()
        };
        Manifest {
            identity,
            segments: vec![SegmentEntry {
                number: 4,
                dead: vec![1, 5],
            }],
        }
    }

    #[test]
    fn manifests_survive_and_replace_each_other() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::load(dir.path()).unwrap(), None);
        let mut manifest = example();
        manifest.prepare(dir.path()).unwrap();
        assert_eq!(Manifest::load(dir.path()).unwrap(), None);
        Manifest::commit(dir.path()).unwrap();
        manifest.identity.job = 8;
        manifest.prepare(dir.path()).unwrap();
        assert_eq!(Manifest::load(dir.path()).unwrap(), Some(example()));
        let prepared = Manifest::load_prepared(dir.path()).unwrap();
        assert_eq!(prepared.as_ref(), Some(&manifest));
        Manifest::commit(dir.path()).unwrap();
        assert_eq!(Manifest::load(dir.path()).unwrap(), Some(manifest));
        assert_eq!(Manifest::load_prepared(dir.path()).unwrap(), None);
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        example().prepare(dir.path()).unwrap();
        Manifest::commit(dir.path()).unwrap();
        let path = dir.path().join(NAME);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(Manifest::load(dir.path()).is_err(), "byte {at}");
        }
    }
}
