//! Snapshot files: the whole state at one index, written beside, synced, and renamed into place.
//!
//! `L4SNAP` + version, then CRC32C (u32) and length (u64) of the rest: varint index and term, the
//! configuration (protobuf, with its length), the state.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Snapshot};

use super::segment::foreign_version;
use super::{Disk, LogError};
use crate::codec::{Malformed, Reader, Writer};
use crate::ids::{Index, Term};

const MAGIC: &[u8; 8] = b"L4SNAP\x00\x01";
const HEADER: usize = 20;
/// The end of the name of a snapshot that is being written; never read.
const PARTIAL: &str = ".partial";

/// Tells writers apart: the node's own snapshot and one from the leader may be saved at the same time,
/// and at the same index, and neither may finish the other's half-written file.
static WRITERS: AtomicU64 = AtomicU64::new(0);

/// The file of the snapshot at `index`.
pub(super) fn name(index: Index) -> String {
    format!("snapshot-{:020}", index.get())
}

/// The bytes of a snapshot's file: the beginning, behind which its data follow as they are.
pub fn head(snapshot: &Snapshot) -> Vec<u8> {
    let metadata = snapshot.get_metadata();
    let mut writer = Writer::new();
    writer.uint(metadata.index);
    writer.uint(metadata.term);
    writer.bytes(
        &metadata
            .get_conf_state()
            .write_to_bytes()
            .unwrap_or_default(),
    );
    let about = writer.finish();
    let length = about.len() + snapshot.data.len();
    let sum = crc32c::crc32c_append(crc32c::crc32c(&about), &snapshot.data);
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&sum.to_le_bytes());
    head.extend_from_slice(&(length as u64).to_le_bytes());
    head.extend_from_slice(&about);
    head
}

/// Makes a snapshot durable and removes older ones.
pub fn save(disk: &mut impl Disk, snapshot: &Snapshot) -> Result<(), LogError> {
    let metadata = snapshot.get_metadata();
    let head = head(snapshot);
    let index = Index::new(metadata.index);
    let name = name(index);
    let writer = WRITERS.fetch_add(1, Relaxed);
    let partial = format!("{name}-{writer}{PARTIAL}");
    disk.create(&partial, 0)?;
    disk.write(&partial, 0, &head)?;
    disk.write(&partial, head.len() as u64, &snapshot.data)?;
    disk.sync(&partial)?;
    disk.rename(&partial, &name)?;
    disk.sync_folder()?;
    for (other, file) in list(disk)? {
        if other < index {
            match disk.remove(&file) {
                // One from the leader may be saved at the same time as the node's own.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// Removes what interrupted saving left.
pub fn remove_partial(disk: &mut impl Disk) -> Result<(), LogError> {
    for file in disk.list()?.iter().filter(|file| file.ends_with(PARTIAL)) {
        disk.remove(file)?;
    }
    Ok(())
}

fn list(disk: &impl Disk) -> Result<Vec<(Index, String)>, LogError> {
    let mut found: Vec<(Index, String)> = disk
        .list()?
        .into_iter()
        .filter_map(|file| {
            let index = file.strip_prefix("snapshot-")?.parse().ok()?;
            Some((Index::new(index), file))
        })
        .collect();
    found.sort();
    Ok(found)
}

/// The newest snapshot, if there is one.
///
/// # Errors
///
/// [`LogError::Damaged`] if it cannot be read: what it held is gone from the log.
pub fn load(disk: &impl Disk) -> Result<Option<Snapshot>, LogError> {
    let Some((_, file)) = list(disk)?.pop() else {
        return Ok(None);
    };
    let bytes = disk.read(&file)?;
    if let Some(found) = foreign_version(&bytes, *MAGIC) {
        let known = MAGIC[7];
        return Err(LogError::Version { file, found, known });
    }
    match decode(&bytes) {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(Malformed { at }) => Err(LogError::Damaged { file, offset: at }),
    }
}

/// Reads the bytes of a snapshot's file.
///
/// # Errors
///
/// If they are not in the format, or not whole.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, Malformed> {
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(Malformed { at: 0 })?;
    let intact = header[..8] == MAGIC[..]
        && header[8..12] == crc32c::crc32c(body).to_le_bytes()
        && header[12..] == (body.len() as u64).to_le_bytes();
    if !intact {
        return Err(Malformed { at: 0 });
    }
    let mut reader = Reader::new(body);
    let (index, term) = (Index::new(reader.uint()?), Term::new(reader.uint()?));
    let conf_state =
        ConfState::parse_from_bytes(reader.bytes()?).map_err(|_| Malformed { at: HEADER })?;
    Ok(assemble(
        index,
        term,
        conf_state,
        Bytes::copy_from_slice(reader.rest()),
    ))
}

/// A snapshot as Raft wants it.
pub fn assemble(index: Index, term: Term, conf_state: ConfState, data: Bytes) -> Snapshot {
    let mut snapshot = Snapshot {
        data,
        ..Snapshot::default()
    };
    let metadata = snapshot.mut_metadata();
    metadata.index = index.get();
    metadata.term = term.get();
    metadata.set_conf_state(conf_state);
    snapshot
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Folder;

    /// A disk on which another writer is at work: it does everything just before this one's rename.
    struct Shared<W: FnMut()> {
        folder: Folder,
        other: W,
    }

    impl<W: FnMut()> Disk for Shared<W> {
        fn list(&self) -> io::Result<Vec<String>> {
            self.folder.list()
        }
        fn read(&self, name: &str) -> io::Result<Vec<u8>> {
            self.folder.read(name)
        }
        fn create(&mut self, name: &str, size: u64) -> io::Result<()> {
            self.folder.create(name, size)
        }
        fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.folder.write(name, offset, bytes)
        }
        fn sync(&mut self, name: &str) -> io::Result<()> {
            self.folder.sync(name)
        }
        fn sync_folder(&mut self) -> io::Result<()> {
            self.folder.sync_folder()
        }
        fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
            (self.other)();
            self.folder.rename(from, to)
        }
        fn remove(&mut self, name: &str) -> io::Result<()> {
            self.folder.remove(name)
        }
    }

    #[test]
    fn two_writers_of_one_snapshot_do_not_take_each_others_files() {
        let home = tempfile::tempdir().unwrap();
        let folder = || Folder::open(home.path().to_owned()).unwrap();
        let (index, term) = (Index::new(7), Term::new(1));
        let data = |byte| vec![byte; 100].into();
        let state = |byte| assemble(index, term, ConfState::default(), data(byte));
        let mut disk = Shared {
            folder: folder(),
            other: || save(&mut folder(), &state(1)).unwrap(),
        };
        save(&mut disk, &state(2)).unwrap();
        let found = load(&disk).unwrap().unwrap();
        assert_eq!(found.data, state(2).data);
        assert_eq!(disk.list().unwrap().len(), 1, "nothing is left behind");
    }
}
