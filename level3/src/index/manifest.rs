//! The manifest: the one file that says which segments make up a shard.
//!
//! A new manifest replaces the old one by renaming, after its segments are durable, so that a
//! kill at any moment leaves either the old state or the new one. It is a line with a checksum
//! and then JSON, since it is small and worth reading with one's own eyes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::format::IndexError;

const NAME: &str = "manifest";
const VERSION: u32 = 1;

/// What a shard is a part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The indexed folder, absolute.
    pub root: String,
    /// The indexing job; a later job has a greater number. Shards of one job fit together.
    pub job: u64,
    /// Which part of the corpus this is, counting from 1.
    pub shard: u32,
    /// Into how many parts the corpus was split.
    pub of: u32,
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
        let path = dir.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(IndexError::io(&path)(error)),
        };
        let damaged = |what| IndexError::damaged(&path, what);
        let newline = memchr::memchr(b'\n', &bytes).ok_or_else(|| damaged("no first line"))?;
        let (line, json) = (&bytes[..newline], &bytes[newline + 1..]);
        if !line.starts_with(b"level3 manifest ") {
            return Err(damaged("not a manifest of level3"));
        }
        if line != first_line(json).trim_end().as_bytes() {
            return Err(damaged("checksum or format version differs"));
        }
        serde_json::from_slice(json)
            .map(Some)
            .map_err(|_| damaged("not the expected JSON"))
    }

    /// Replaces the manifest in `dir`, durably.
    pub(crate) fn store(&self, dir: &Path) -> Result<(), IndexError> {
        let (path, draft) = (dir.join(NAME), dir.join("manifest.new"));
        let json = serde_json::to_vec_pretty(self).map_err(io::Error::other);
        let json = json.map_err(IndexError::io(&draft))?;
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(first_line(&json).as_bytes())?;
            file.write_all(&json)?;
            file.sync_all()
        };
        write().map_err(IndexError::io(&draft))?;
        let swap = || {
            fs::rename(&draft, &path)?;
            File::open(dir)?.sync_all()
        };
        swap().map_err(IndexError::io(&path))
    }
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
        manifest.store(dir.path()).unwrap();
        manifest.identity.job = 8;
        manifest.store(dir.path()).unwrap();
        assert_eq!(Manifest::load(dir.path()).unwrap(), Some(manifest));
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        example().store(dir.path()).unwrap();
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
