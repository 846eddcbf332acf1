//! The durable log: append-only segments, snapshots, and recovery from both.
//!
//! Everything goes through a [`Disk`], so that the simulation can crash it between any two operations.

mod disk;
mod segment;
pub mod snapshot;

use std::collections::VecDeque;
use std::io;

use raft::eraftpb::{Entry, EntryType, HardState, Snapshot};

pub use disk::{Disk, Folder};

use crate::codec::{Malformed, Reader, Writer};
use crate::consensus::{MemoryLog, Persist};
use crate::ids::{Index, Term};

/// A segment is closed when the next record would make it longer than this, bytes.
const SEGMENT_SIZE: u64 = 16 * 1024 * 1024;

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk failed, or is full.
    #[error("the log cannot be written or read: {0}")]
    Io(#[from] io::Error),
    /// The same of the database's files.
    #[error("the database's files cannot be written or read: {0}")]
    Database(#[source] io::Error),
    /// What was once written whole is not whole any more.
    #[error(
        "{file} is damaged at offset {offset}; restore the folder from a backup, or empty it and join again"
    )]
    Damaged {
        /// File name within the node's folder.
        file: String,
        /// Bytes from its start.
        offset: usize,
    },
    /// Another release wrote it.
    #[error(
        "{file} is in format {found}, and this release of level4 reads format {known}: start the release that wrote it, or empty the folder and join again"
    )]
    Version {
        /// File name within the node's folder.
        file: String,
        /// As the file says.
        found: u8,
        /// This release's.
        known: u8,
    },
    /// What was once durable is gone.
    #[error("{what}; restore the folder from a backup, or empty it and join again")]
    Missing {
        /// What, by file name.
        what: String,
    },
}

/// What recovery found.
#[derive(Debug)]
pub struct Recovered {
    /// The newest snapshot: the state to start from.
    pub snapshot: Option<Snapshot>,
    /// Entries after the snapshot, and the hard state.
    pub log: MemoryLog,
    /// A torn last write was cut off.
    pub torn: bool,
    /// Nothing was ever made durable here, so nothing was ever promised: whoever starts from this is a
    /// new node, whatever it was called before.
    pub is_new: bool,
    /// There are files of a log, whatever is in them.
    pub has_files: bool,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    /// The highest index of any entry in it.
    last_index: Index,
}

/// The log on disk, open for appending.
#[derive(Debug)]
pub struct Log<D> {
    disk: D,
    /// Oldest first.
    closed: VecDeque<Segment>,
    current: Segment,
    /// Where the next record goes in `current`; 0: the file has not been made yet.
    end: u64,
    /// Where the mark goes in the segment before, which it has not got yet; 0: nothing to mark.
    closed_end: u64,
    next_record: u64,
    /// As written last: every segment starts with it.
    hard_state: HardState,
    /// A snapshot at this index or later is durable, and needed: entries up to it may be gone. Every
    /// segment starts with it, too.
    floor: Index,
    segment_size: u64,
}

/// Marks segment `number`, whose records end at `at`, as one that is not the last.
fn write_mark(disk: &mut impl Disk, number: u64, at: u64) -> Result<(), LogError> {
    let file = file_name(number);
    disk.write(&file, at, &segment::mark())?;
    Ok(disk.sync(&file)?)
}

fn file_name(number: u64) -> String {
    format!("log-{number:020}")
}

impl<D: Disk> Log<D> {
    /// Opens the log in `disk`, which may be empty, and cuts off a torn last write.
    ///
    /// # Errors
    ///
    /// [`LogError::Damaged`] if anything but the last write is not whole.
    pub fn open(disk: D) -> Result<(Self, Recovered), LogError> {
        Self::open_with(disk, SEGMENT_SIZE)
    }

    /// Like [`Log::open`] with another size of segments, bytes.
    pub fn open_with(mut disk: D, segment_size: u64) -> Result<(Self, Recovered), LogError> {
        snapshot::remove_partial(&mut disk)?;
        let snapshot = snapshot::load(&disk)?;
        let metadata = snapshot
            .as_ref()
            .map(Snapshot::get_metadata)
            .cloned()
            .unwrap_or_default();
        let base = (Index::new(metadata.index), Term::new(metadata.term));
        let mut replay = Replay::new(base);
        let mut files: Vec<u64> = disk
            .list()?
            .iter()
            .filter_map(|file| file.strip_prefix("log-")?.parse().ok())
            .collect();
        files.sort_unstable();
        let mut segments: VecDeque<Segment> = VecDeque::new();
        let (mut next_record, mut end, mut torn, mut closed) = (None, 0, false, false);
        let mut unmarked = None;
        let mut is_new = true;
        for (place, &number) in files.iter().enumerate() {
            let file = file_name(number);
            if segments
                .back()
                .is_some_and(|before| before.number + 1 != number)
            {
                return Err(LogError::Damaged { file, offset: 0 });
            }
            let bytes = disk.read(&file)?;
            let is_last = place + 1 == files.len();
            let scan = segment::scan(&file, &bytes, number, next_record, is_last)?;
            let mut last_index = Index::START;
            is_new &= scan.payloads.is_empty();
            for payload in &scan.payloads {
                last_index = replay
                    .record(payload)
                    .map_err(|_| LogError::Damaged {
                        file: file.clone(),
                        offset: scan.end,
                    })?
                    .max(last_index);
            }
            segments.push_back(Segment { number, last_index });
            // A segment that has no record yet is made anew by the next one.
            let begun = !scan.payloads.is_empty();
            if begun && let Some((before, at)) = unmarked.take() {
                write_mark(&mut disk, before, at)?;
            }
            if is_last && !begun {
                end = 0;
            } else {
                end = scan.end as u64;
                unmarked = (!is_last && !scan.closed).then_some((number, end));
            }
            (next_record, torn) = (Some(scan.next), scan.torn);
            closed = scan.closed || (closed && !begun);
            if torn && end > 0 {
                // What is left of the torn write must not look like damage once more is behind it.
                disk.write(&file, end, &vec![0; bytes.len() - scan.end])?;
                disk.sync(&file)?;
            }
        }
        check_whole(&files, closed, is_new, &replay)?;
        let floor = replay.floor;
        let (entries, hard_state) = replay.finish()?;
        let current = segments.pop_back().unwrap_or(Segment {
            number: 1,
            last_index: Index::START,
        });
        let log = Self {
            disk,
            closed: segments,
            current,
            end,
            closed_end: unmarked.map_or(0, |(_, at)| at),
            next_record: next_record.unwrap_or(1),
            hard_state: hard_state.clone(),
            floor,
            segment_size,
        };
        let memory = MemoryLog::new(base, entries, hard_state, metadata.get_conf_state().clone());
        Ok((
            log,
            Recovered {
                snapshot,
                log: memory,
                torn,
                is_new,
                has_files: !files.is_empty(),
            },
        ))
    }

    /// The first write of a new node that joins a cluster. Only after it the node may use its id: with
    /// nothing on disk, it would be another node at its next start, while the others waited for its vote.
    pub fn begin(&mut self) -> Result<(), LogError> {
        self.append(&[Persist {
            hard_state: Some(HardState::default()),
            ..Persist::default()
        }])
    }

    /// Makes `writes` durable, as one record. If it fails for lack of room, it may be tried again.
    pub fn append(&mut self, writes: &[Persist]) -> Result<(), LogError> {
        let mut hard_state = self.hard_state.clone();
        let (mut last_index, mut floor) = (Index::START, self.floor);
        let mut ops = Writer::new();
        for write in writes {
            if let Some(snapshot) = &write.snapshot {
                snapshot::save(&mut self.disk, snapshot)?;
                let metadata = snapshot.get_metadata();
                ops.byte(op::RESET);
                ops.uint(metadata.index);
                ops.uint(metadata.term);
                last_index = last_index.max(Index::new(metadata.index));
                floor = floor.max(Index::new(metadata.index));
            }
            encode_entries(&write.entries, &mut ops);
            if let Some(last) = write.entries.last() {
                last_index = last_index.max(Index::new(last.index));
            }
            if let Some(state) = &write.hard_state {
                hard_state = state.clone();
                encode_hard_state(state, &mut ops);
            }
        }
        self.write_ops(&ops.finish())?;
        self.hard_state = hard_state;
        self.floor = floor;
        self.current.last_index = self.current.last_index.max(last_index);
        Ok(())
    }

    /// Appends a record, in a new segment if the present one has no room for it.
    fn write_ops(&mut self, ops: &[u8]) -> Result<(), LogError> {
        let fresh = self.end == 0;
        let room = self.segment_size.saturating_sub(self.end);
        if !fresh && (ops.len() + segment::RECORD_HEADER) as u64 > room {
            let number = self.current.number + 1;
            let closed = std::mem::replace(
                &mut self.current,
                Segment {
                    number,
                    last_index: Index::START,
                },
            );
            self.closed.push_back(closed);
            self.closed_end = std::mem::take(&mut self.end);
        }
        self.write_record(ops)
    }

    fn write_record(&mut self, ops: &[u8]) -> Result<(), LogError> {
        let file = file_name(self.current.number);
        if self.end > 0 {
            let record = segment::record(self.next_record, ops);
            self.disk.write(&file, self.end, &record)?;
            self.disk.sync(&file)?;
            self.end += record.len() as u64;
        } else {
            let mut state = Writer::new();
            encode_hard_state(&self.hard_state, &mut state);
            encode_floor(self.floor, &mut state);
            state.raw(ops);
            let record = segment::record(self.next_record, &state.finish());
            let length = (segment::HEADER + record.len()) as u64;
            let size = self.segment_size.max(length);
            let bounded = u32::try_from(size).unwrap_or(u32::MAX);
            let header = segment::header(self.current.number, self.next_record, bounded);
            self.disk.create(&file, size)?;
            self.disk
                .write(&file, 0, &[&header[..], &record].concat())?;
            self.disk.sync(&file)?;
            self.disk.sync_folder()?;
            if self.closed_end > 0 {
                // Before anybody hears of the new segment's content, which could be lost unnoticed else.
                write_mark(&mut self.disk, self.current.number - 1, self.closed_end)?;
                self.closed_end = 0;
            }
            self.end = length;
        }
        self.next_record += 1;
        Ok(())
    }

    /// Makes a snapshot durable that this node took of its own state.
    pub fn save_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), LogError> {
        snapshot::save(&mut self.disk, snapshot)
    }

    /// The newest durable snapshot.
    pub fn saved_snapshot(&self) -> Result<Option<Snapshot>, LogError> {
        snapshot::load(&self.disk)
    }

    /// Removes segments that hold nothing after `index`. A snapshot at `index` or later is durable.
    pub fn compact(&mut self, index: Index) -> Result<(), LogError> {
        let goes = |segment: &Segment| segment.last_index <= index;
        if self.floor < index && self.closed.front().is_some_and(goes) {
            // From now on the log is nothing without that snapshot, and says so.
            let mut ops = Writer::new();
            encode_floor(index, &mut ops);
            self.write_ops(&ops.finish())?;
            self.floor = index;
        }
        while self
            .closed
            .front()
            .is_some_and(|segment| segment.last_index <= index)
        {
            if let Some(segment) = self.closed.pop_front() {
                self.disk.remove(&file_name(segment.number))?;
                // One after the other, for a hole between segments would count as damage.
                self.disk.sync_folder()?;
            }
        }
        Ok(())
    }

    /// Gives the disk back.
    pub fn into_disk(self) -> D {
        self.disk
    }
}

/// Reads a segment and the records in it; for what it is worth, without an order between segments.
pub fn read_segment(bytes: &[u8]) {
    let number = bytes.get(8..16).and_then(|n| n.try_into().ok());
    let number = number.map_or(1, u64::from_le_bytes);
    let mut replay = Replay::new((Index::START, Term::default()));
    // As a payload by itself, too: a CRC is hard to come by at random.
    let _ = replay.record(bytes);
    if let Ok(scan) = segment::scan("", bytes, number, None, true) {
        for payload in scan.payloads {
            let _ = replay.record(payload);
        }
    }
    let _ = replay.finish();
}

/// A segment with two records, for tests of what reads it.
#[cfg(test)]
pub fn example_segment() -> Vec<u8> {
    let mut ops = Writer::new();
    encode_hard_state(&HardState::default(), &mut ops);
    encode_floor(Index::new(3), &mut ops);
    let entry = Entry {
        index: 1,
        term: 1,
        data: vec![1; 20].into(),
        ..Entry::default()
    };
    encode_entries(&[entry], &mut ops);
    let ops = ops.finish();
    let records = [segment::record(1, &ops), segment::record(2, &ops)].concat();
    [&segment::header(1, 1, 0)[..], &records, &segment::mark()].concat()
}

/// What a record's payload consists of.
mod op {
    /// Term, vote, commit.
    pub const HARD_STATE: u8 = 0;
    /// Count, then entries; they replace everything from the first one's index on.
    pub const ENTRIES: u8 = 1;
    /// Index and term of a snapshot that replaces the log.
    pub const RESET: u8 = 2;
    /// Index of a snapshot without which this log is not whole.
    pub const FLOOR: u8 = 3;
}

fn encode_floor(floor: Index, ops: &mut Writer) {
    ops.byte(op::FLOOR);
    ops.uint(floor.get());
}

/// Whether all that was ever made durable can be here: segments `files`, of which the last with a record
/// in it is `closed` or not.
fn check_whole(files: &[u64], closed: bool, is_new: bool, replay: &Replay) -> Result<(), LogError> {
    let missing = |what| Err(LogError::Missing { what });
    let after = files.last().copied().unwrap_or_default();
    if closed {
        return missing(format!(
            "{} or what was in it is missing",
            file_name(after + 1)
        ));
    }
    if is_new && replay.base.0 > Index::START {
        let snapshot = snapshot::name(replay.base.0);
        return missing(format!("{snapshot} is there, but not the log behind it"));
    }
    if replay.base.0 < replay.floor {
        return missing(format!(
            "the log needs a snapshot at index {} or later, and the newest is at {}",
            replay.floor, replay.base.0
        ));
    }
    Ok(())
}

fn encode_hard_state(state: &HardState, ops: &mut Writer) {
    ops.byte(op::HARD_STATE);
    ops.uint(state.term);
    ops.uint(state.vote);
    ops.uint(state.commit);
}

fn encode_entries(entries: &[Entry], ops: &mut Writer) {
    if entries.is_empty() {
        return;
    }
    ops.byte(op::ENTRIES);
    ops.uint(entries.len() as u64);
    for entry in entries {
        ops.byte(entry.entry_type as u8);
        ops.uint(entry.index);
        ops.uint(entry.term);
        ops.bytes(&entry.data);
        ops.bytes(&entry.context);
    }
}

fn decode_entry(reader: &mut Reader) -> Result<Entry, Malformed> {
    let entry_type = match reader.byte()? {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => return Err(Malformed { at: 0 }),
    };
    Ok(Entry {
        entry_type,
        index: reader.uint()?,
        term: reader.uint()?,
        data: reader.shared()?,
        context: reader.shared()?,
        ..Entry::default()
    })
}

/// Rebuilds the end of the log from its records.
#[derive(Debug)]
struct Replay {
    /// The snapshot.
    base: (Index, Term),
    /// Entries after the base, as the records left them.
    entries: Vec<Entry>,
    /// The term of the log's own entry at the base, if it has one.
    term_at_base: Option<Term>,
    hard_state: HardState,
    /// The log needs a snapshot at this index or later.
    floor: Index,
}

impl Replay {
    fn new(base: (Index, Term)) -> Self {
        Self {
            base,
            entries: Vec::new(),
            term_at_base: None,
            hard_state: HardState::default(),
            floor: Index::START,
        }
    }

    /// Takes one record; returns the highest index in it.
    fn record(&mut self, payload: &[u8]) -> Result<Index, Malformed> {
        let mut reader = Reader::new(payload);
        let mut highest = Index::START;
        while !reader.is_empty() {
            match reader.byte()? {
                op::HARD_STATE => {
                    self.hard_state.term = reader.uint()?;
                    self.hard_state.vote = reader.uint()?;
                    self.hard_state.commit = reader.uint()?;
                }
                op::ENTRIES => {
                    for _ in 0..reader.uint()? {
                        let entry = decode_entry(&mut reader)?;
                        highest = highest.max(Index::new(entry.index));
                        self.entry(entry);
                    }
                }
                op::RESET => {
                    let at = (Index::new(reader.uint()?), Term::new(reader.uint()?));
                    highest = highest.max(at.0);
                    self.entries.clear();
                    self.term_at_base = (at.0 == self.base.0).then_some(at.1);
                    self.floor = self.floor.max(at.0);
                }
                op::FLOOR => self.floor = self.floor.max(Index::new(reader.uint()?)),
                _ => return Err(Malformed { at: 0 }),
            }
        }
        Ok(highest)
    }

    fn entry(&mut self, entry: Entry) {
        self.entries.truncate(
            self.entries
                .partition_point(|known| known.index < entry.index),
        );
        let index = Index::new(entry.index);
        if index <= self.base.0 {
            self.term_at_base = (index == self.base.0).then_some(Term::new(entry.term));
        } else {
            self.entries.push(entry);
        }
    }

    /// The entries after the base, and the hard state, in the form that Raft starts from.
    fn finish(mut self) -> Result<(Vec<Entry>, HardState), LogError> {
        // A snapshot from the leader was saved, but not the mark that it replaces this log.
        let older = self
            .entries
            .first()
            .is_some_and(|entry| Term::new(entry.term) < self.base.1);
        if older || self.term_at_base.is_some_and(|term| term != self.base.1) {
            self.entries.clear();
        }
        let contiguous = self
            .entries
            .iter()
            .zip(self.base.0.next().onwards())
            .all(|(entry, index)| Index::new(entry.index) == index);
        let last = self.base.0 + self.entries.len() as u64;
        let state = &mut self.hard_state;
        if !contiguous || state.commit > last.get() {
            let what = format!(
                "entries after {} are missing, which were written once",
                self.base.0
            );
            return Err(LogError::Missing { what });
        }
        state.term = state.term.max(self.base.1.get());
        state.commit = state.commit.clamp(self.base.0.get(), last.get());
        Ok((self.entries, self.hard_state))
    }
}
