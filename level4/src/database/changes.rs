//! What has changed in the file of pages since the last snapshot, so that a process that starts again finds
//! the database as the one before it left it, and executes nothing a second time.
//!
//! A file `changes-N` begins with a snapshot whose generation is N, or with an empty database, if that is 0.
//! It is written to the page cache and never synced: after a crash of the machine it counts for nothing.
//! Each record stands for some entries of the log, and has everything about them that is not in the log:
//! where changed pages are, and what the requests gave. It is one write, after the pages that it tells of
//! and before the slots of those before them are used again. So whatever a process that was killed left
//! of a record, the records before it are the database as of their last entry.
//!
//! `L4CHNG` + version, then owner, generation, the generation of the file that this one goes on from, the
//! engine (u64 each), the boot's id (36 bytes) and CRC32C; then records: CRC32C (u32) and length (u64) of a payload.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::engine::image::{Changes as Changed, Move};
use super::engine::pages::{Slot, write_at};
use crate::codec::{Malformed, Reader, Writer};
use crate::ids::{Index, NodeId, Term};

const MAGIC: &[u8; 8] = b"L4CHNG\x00\x04";
const BOOT: usize = 36;
const HEADER: usize = 8 + 4 * 8 + BOOT + 4;
const RECORD_HEADER: usize = 12;
const PREFIX: &str = "changes-";
/// Goes on from no other file.
const NOTHING: u64 = u64::MAX;

/// Which boot of the machine this is: nothing that was not synced outlives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot([u8; BOOT]);

impl Boot {
    /// The system's word; `None`: it has none, and nothing can be trusted.
    pub fn now() -> Option<Self> {
        let text = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
        Self::from_text(&text)
    }

    fn from_text(text: &[u8]) -> Option<Self> {
        text.trim_ascii().try_into().ok().map(Self)
    }

    #[cfg(test)]
    pub fn other() -> Self {
        Self([b'0'; BOOT])
    }

    /// The one that was noted in `folder`.
    pub fn noted(folder: &Path) -> Option<Self> {
        Self::from_text(&fs::read(folder.join("boot")).ok()?)
    }

    /// Notes it in `folder`.
    pub fn note(self, folder: &Path) -> io::Result<()> {
        let (path, partial) = (folder.join("boot"), folder.join("boot.partial"));
        fs::write(&partial, self.0)?;
        fs::rename(partial, path)
    }
}

/// What a request gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Tells it from others: the seed of its moment.
    pub seed: u64,
    /// Rows that it changed.
    pub changes: u64,
    /// Its answer.
    pub body: Bytes,
    /// The rows that it changed, if they are taken down; empty: none.
    pub taken_down: Bytes,
}

/// What is known of some entries beside the log.
#[derive(Debug)]
pub struct Record {
    /// The entry before them.
    pub from: Index,
    /// The last one of them.
    pub index: Index,
    /// Of that one.
    pub term: Term,
    /// The machine's own.
    pub note: Bytes,
    /// What is not in the file of pages, as in a snapshot.
    pub head: Bytes,
    /// The database.
    pub database: Moved,
    /// The file that comes in piece by piece.
    pub staged: Moved,
    /// The requests.
    pub ran: Vec<Ran>,
}

/// What has become of a file.
#[derive(Debug)]
pub struct Moved {
    /// Nothing is left of it as it was before.
    is_fresh: bool,
    /// Its length, bytes.
    length: usize,
    /// The pages that are elsewhere.
    moves: Vec<Move>,
}

impl Moved {
    /// As the image takes it over.
    pub fn changes(&self) -> Changed<'_> {
        Changed {
            is_fresh: self.is_fresh,
            length: self.length,
            moves: &self.moves,
        }
    }

    fn encode(changed: &Changed, writer: &mut Writer) {
        writer.byte(u8::from(changed.is_fresh));
        writer.uint(changed.length as u64);
        writer.uint(changed.moves.len() as u64);
        for (number, slot) in changed.moves {
            writer.uint(u64::from(*number));
            writer.uint(u64::from(slot.number));
            writer.raw(&slot.sum.to_le_bytes());
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let mut moved = Self {
            is_fresh: reader.byte()? != 0,
            length: usize::try_from(reader.uint()?).map_err(|_| Malformed { at: 0 })?,
            moves: Vec::new(),
        };
        for _ in 0..reader.uint()? {
            let number = narrow(reader.uint()?)?;
            let slot = Slot {
                number: narrow(reader.uint()?)?,
                sum: u32::from_le_bytes(reader.array()?),
            };
            moved.moves.push((number, slot));
        }
        Ok(moved)
    }
}

/// What a record says beside the pages.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The entry before.
    pub from: Index,
    /// The last one.
    pub at: (Index, Term),
    /// The machine's own.
    pub note: &'a [u8],
    /// What is not in the file of pages.
    pub head: &'a [u8],
    /// The requests.
    pub ran: &'a [Ran],
}

impl About<'_> {
    fn encode(&self, files: [&Changed; 2]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(&[0; RECORD_HEADER]);
        writer.uint(self.from.get());
        writer.uint(self.at.0.get());
        writer.uint(self.at.1.get());
        writer.bytes(self.note);
        writer.bytes(self.head);
        for changed in files {
            Moved::encode(changed, &mut writer);
        }
        writer.uint(self.ran.len() as u64);
        for ran in self.ran {
            writer.raw(&ran.seed.to_le_bytes());
            writer.uint(ran.changes);
            writer.bytes(&ran.body);
            writer.bytes(&ran.taken_down);
        }
        let mut record = writer.finish();
        let (header, payload) = record.split_at_mut(RECORD_HEADER);
        header[..4].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        header[4..].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        record
    }
}

fn narrow(value: u64) -> Result<u32, Malformed> {
    u32::try_from(value).map_err(|_| Malformed { at: 0 })
}

/// Reads the payload of a record.
pub fn decode(payload: &[u8]) -> Result<Record, Malformed> {
    let mut reader = Reader::new(payload);
    let mut record = Record {
        from: Index::new(reader.uint()?),
        index: Index::new(reader.uint()?),
        term: Term::new(reader.uint()?),
        note: reader.shared()?,
        head: reader.shared()?,
        database: Moved::decode(&mut reader)?,
        staged: Moved::decode(&mut reader)?,
        ran: Vec::new(),
    };
    for _ in 0..reader.uint()? {
        record.ran.push(Ran {
            seed: u64::from_le_bytes(reader.array()?),
            changes: reader.uint()?,
            body: reader.shared()?,
            taken_down: reader.shared()?,
        });
    }
    Ok(record)
}

/// A file of changes, open for appending.
#[derive(Debug)]
pub struct Changes {
    file: File,
    end: u64,
    /// Its number.
    pub generation: u64,
}

fn path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{generation:020}"))
}

/// The files in `folder`, in order.
fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        found.extend(
            name.strip_prefix(PREFIX)
                .and_then(|n| n.parse::<u64>().ok()),
        );
    }
    found.sort_unstable();
    Ok(found)
}

/// Removes the files before `generation`; `None`: all.
pub fn remove(folder: &Path, before: Option<u64>) -> io::Result<()> {
    for generation in list(folder)? {
        if before.is_none_or(|before| generation < before) {
            match fs::remove_file(path(folder, generation)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The next number that no file has.
pub fn next(folder: &Path) -> io::Result<u64> {
    Ok(list(folder)?.last().map_or(1, |last| last + 1))
}

/// Whose changes they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The node: another one's log would not fit.
    pub node: NodeId,
    /// The boot in which they are written.
    pub boot: Boot,
    /// What executes the requests: another one may give other answers.
    pub engine: u64,
}

impl Owner {
    fn header(&self, generation: u64, after: Option<u64>) -> [u8; HEADER] {
        let after = after.unwrap_or(NOTHING);
        let numbers = [self.node.get(), generation, after, self.engine];
        let mut bytes = MAGIC.to_vec();
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.boot.0);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let mut header = [0; HEADER];
        header.copy_from_slice(&bytes);
        header
    }
}

/// Why what is there cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum Doubt {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("{0} is damaged")]
    Damaged(String),
    /// It is another version's.
    #[error("{0} was written by another version")]
    Engine(String),
    /// There is nothing.
    #[error("there are no changes of this boot")]
    Nothing,
}

impl Changes {
    /// A new file, which goes on from the file `after`, if there is one.
    pub fn create(
        folder: &Path,
        owner: &Owner,
        generation: u64,
        after: Option<u64>,
    ) -> io::Result<Self> {
        let path = path(folder, generation);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        if let Err(error) = write_at(&file, &owner.header(generation, after), 0) {
            // An empty one means nothing, also if it stays.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self {
            file,
            end: HEADER as u64,
            generation,
        })
    }

    /// Appends a record; `files`: the database, and the file that comes in.
    pub fn append(&mut self, about: &About, files: [&Changed; 2]) -> io::Result<()> {
        let record = about.encode(files);
        write_at(&self.file, &record, self.end)?;
        self.end += record.len() as u64;
        Ok(())
    }

    /// How much there is, bytes.
    pub fn size(&self) -> u64 {
        self.end
    }

    /// The records after the snapshot of `generation`, and the file to go on with.
    ///
    /// # Errors
    ///
    /// If there are none, or what is there is not whole; what a killed process was writing is cut off.
    pub fn load(
        folder: &Path,
        owner: &Owner,
        generation: u64,
    ) -> Result<(Vec<Record>, Self), Doubt> {
        let files = list(folder)?;
        let mut records = Vec::new();
        let mut after = None;
        let mut last = None;
        for number in files.into_iter().filter(|&number| number >= generation) {
            let name = path(folder, number);
            let bytes = fs::read(&name)?;
            let damaged = || Doubt::Damaged(name.display().to_string());
            if last.is_some() && bytes.len() < HEADER {
                // The process was killed, or had no room, before it came to write anything there; the next file goes on
                // from the one before.
                continue;
            }
            let header = bytes.get(..HEADER).ok_or_else(damaged)?;
            // The first file may go on from one before the snapshot.
            let is_first = last.is_none() && number == generation;
            let known = header == owner.header(number, after);
            if !(known || is_first && is_of(header, owner, number)) {
                let engine = number_at(header, 32);
                let other = Owner { engine, ..*owner };
                if engine != owner.engine && is_of(header, &other, number) {
                    return Err(Doubt::Engine(name.display().to_string()));
                }
                return Err(damaged());
            }
            let end = scan(&bytes, &mut records).map_err(|_| damaged())?;
            after = Some(number);
            last = Some((number, end));
        }
        let (generation, end) = last.ok_or(Doubt::Nothing)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path(folder, generation))?;
        file.set_len(end)?;
        let changes = Self {
            file,
            end,
            generation,
        };
        Ok((records, changes))
    }
}

fn number_at(header: &[u8], at: usize) -> u64 {
    let bytes = header.get(at..at + 8).and_then(|b| b.try_into().ok());
    bytes.map_or(NOTHING, u64::from_le_bytes)
}

/// Whether a header is that of file `number`, whatever it goes on from.
fn is_of(header: &[u8], owner: &Owner, number: u64) -> bool {
    let after = number_at(header, 24);
    header == owner.header(number, (after != NOTHING).then_some(after))
}

/// Reads the records of a file; gives where they end.
fn scan(bytes: &[u8], records: &mut Vec<Record>) -> Result<u64, Malformed> {
    let mut at = HEADER;
    while let Some(header) = bytes.get(at..at + RECORD_HEADER) {
        let (sum, length) = header.split_at(4);
        let length = length.try_into().map(u64::from_le_bytes);
        let length = length.map_err(|_| Malformed { at })?;
        let start = at + RECORD_HEADER;
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| start.checked_add(length));
        let Some(payload) = end.and_then(|end| bytes.get(start..end)) else {
            // A process that is killed leaves the beginning of what it was writing.
            break;
        };
        if sum != crc32c::crc32c(payload).to_le_bytes() {
            return Err(Malformed { at });
        }
        records.push(decode(payload)?);
        at = start + payload.len();
    }
    Ok(at as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_never_begun_does_not_hide_those_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner {
            node: NodeId::new(7),
            boot: Boot::other(),
            engine: 3,
        };
        let create = |generation, after| Changes::create(folder.path(), &owner, generation, after);
        let load = || Changes::load(folder.path(), &owner, 1);
        create(1, None).unwrap();
        fs::write(path(folder.path(), 2), "").unwrap();
        assert_eq!(load().unwrap().1.generation, 1);
        create(3, Some(1)).unwrap();
        assert_eq!(load().unwrap().1.generation, 3);
        // One that goes on from what is not there is another matter.
        create(4, Some(2)).unwrap();
        assert!(matches!(load(), Err(Doubt::Damaged(_))));
    }

    #[test]
    fn what_another_version_gave_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner {
            node: NodeId::new(7),
            boot: Boot::other(),
            engine: 3,
        };
        Changes::create(folder.path(), &owner, 5, Some(4)).unwrap();
        let load = |owner| Changes::load(folder.path(), owner, 5);
        assert!(load(&owner).is_ok());
        let newer = Owner { engine: 4, ..owner };
        assert!(matches!(load(&newer), Err(Doubt::Engine(_))));
        let other = Owner {
            node: NodeId::new(8),
            ..newer
        };
        assert!(matches!(load(&other), Err(Doubt::Damaged(_))));
    }
}
