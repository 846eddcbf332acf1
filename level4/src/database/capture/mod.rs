//! What requests have changed, row by row, until somebody has been told (change data capture).
//!
//! Whether changes are kept, of which tables, and how far they have been told is part of the replicated
//! state, and so are the changes that wait: every node has the same ones, whoever leads next goes on where
//! the last one had got to, and snapshots carry them. A queue that is full loses its oldest entries, on all
//! nodes alike; writes never wait for it.

mod changes;
mod recorder;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use regex::{Regex, RegexBuilder};
use tokio::sync::Notify;

use crate::codec::{Malformed, Reader, Writer};
use crate::ids::Index;
pub use changes::{Change, Changes, Operation};
pub use recorder::{IS_BUILT, Recorder};

/// First byte of the state in a snapshot.
const VERSION: u8 = 1;
/// A compiled filter takes so many bytes at most.
const FILTER_BYTES: usize = 1 << 20;
/// Charged for a group besides its changes, bytes.
const GROUP_BYTES: usize = 64;

/// What is kept of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Without the rows' values.
    pub row_ids_only: bool,
    /// Only of tables whose names match this regular expression.
    pub table_filter: Option<String>,
    /// So many bytes may wait.
    pub limit: u64,
}

/// A change of what is kept, as a command of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capturing {
    /// Changes are kept from here on, in this way.
    On(Wanted),
    /// They are not, and those that wait are forgotten.
    Off,
    /// Those of the entries up to this one have been told.
    Delivered(Index),
}

impl Capturing {
    /// The bytes for a log entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        match self {
            Self::Off => writer.byte(0),
            Self::On(wanted) => {
                writer.byte(1);
                wanted.encode(&mut writer);
            }
            Self::Delivered(index) => {
                writer.byte(2);
                writer.uint(index.get());
            }
        }
        writer.finish()
    }

    /// Reads [`Capturing::encode`]'s bytes.
    ///
    /// # Errors
    ///
    /// Bytes in another format.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.byte()? {
            0 => Self::Off,
            1 => Self::On(Wanted::decode(&mut reader)?),
            2 => Self::Delivered(Index::new(reader.uint()?)),
            _ => return Err(Malformed { at: 0 }),
        })
    }
}

impl Wanted {
    fn encode(&self, writer: &mut Writer) {
        writer.byte(u8::from(self.row_ids_only) | u8::from(self.table_filter.is_some()) << 1);
        if let Some(filter) = &self.table_filter {
            writer.bytes(filter.as_bytes());
        }
        writer.uint(self.limit);
    }

    fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let flags = reader.byte()?;
        Ok(Self {
            row_ids_only: flags & 1 != 0,
            table_filter: (flags & 2 != 0).then(|| reader.text()).transpose()?,
            limit: reader.uint()?,
        })
    }

    /// What it is for a recorder.
    ///
    /// # Errors
    ///
    /// If the filter is no regular expression, or too large a one.
    pub fn compile(&self) -> Result<Selection, regex::Error> {
        let filter = self.table_filter.as_deref().map(|pattern| {
            let mut builder = RegexBuilder::new(pattern);
            builder.size_limit(FILTER_BYTES).build()
        });
        Ok(Selection {
            row_ids_only: self.row_ids_only,
            filter: filter.transpose()?,
            limit: usize::try_from(self.limit).unwrap_or(usize::MAX),
        })
    }
}

/// What a recorder takes down.
#[derive(Debug, Clone)]
pub struct Selection {
    row_ids_only: bool,
    filter: Option<Regex>,
    limit: usize,
}

impl Selection {
    /// Whether changes of this table are kept. SQLite's own are not.
    fn has(&self, table: &str) -> bool {
        !table.starts_with("sqlite_")
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.is_match(table))
    }
}

/// The changes of one entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The entry.
    pub index: Index,
    /// When it was executed, milliseconds since 1970.
    pub time_ms: u64,
    /// Those of its requests that have changed something.
    pub changes: Vec<Changes>,
}

impl Group {
    fn size(&self) -> usize {
        GROUP_BYTES + self.changes.iter().map(Changes::size).sum::<usize>()
    }
}

/// Where the queue stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What is kept; `None`: nothing.
    pub wanted: Option<Wanted>,
    /// Everything up to this entry has been told.
    pub delivered: Index,
    /// Entries that wait,
    pub entries: usize,
    /// and the bytes of their changes.
    pub bytes: usize,
    /// Entries whose changes were lost, as there was no room.
    pub lost: u64,
    /// The last of these.
    pub last_lost: Index,
}

#[derive(Debug, Default)]
struct Queue {
    standing: Standing,
    groups: VecDeque<Group>,
}

impl Queue {
    fn remove_up_to(&mut self, index: Index) {
        while let Some(group) = self.groups.front()
            && group.index <= index
        {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) -> Option<Index> {
        let group = self.groups.pop_front()?;
        self.standing.bytes -= group.size();
        self.standing.entries -= 1;
        Some(group.index)
    }

    fn push(&mut self, group: Group) {
        self.standing.bytes += group.size();
        self.standing.entries += 1;
        self.groups.push_back(group);
        while self.standing.bytes > self.limit() {
            match self.remove_first() {
                Some(index) => self.lose(index),
                None => break,
            }
        }
    }

    fn limit(&self) -> usize {
        let limit = self.standing.wanted.as_ref().map_or(0, |found| found.limit);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    fn lose(&mut self, index: Index) {
        self.standing.lost += 1;
        self.standing.last_lost = index;
    }
}

/// The queue, for whoever tells others of changes.
#[derive(Debug, Clone, Default)]
pub struct Feed(Arc<(Mutex<Queue>, Notify)>);

impl Feed {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        self.queue().standing.clone()
    }

    /// The changes of up to `count` entries after `index`, of about so many bytes, but at least of one, if
    /// there is any.
    pub fn after(&self, index: Index, count: usize, bytes: usize) -> Vec<Group> {
        let queue = self.queue();
        let first = queue.groups.partition_point(|group| group.index <= index);
        let (mut groups, mut size) = (Vec::new(), 0);
        for group in queue.groups.range(first..).take(count) {
            size += group.size();
            if size > bytes && !groups.is_empty() {
                break;
            }
            groups.push(group.clone());
        }
        groups
    }

    /// Waits until something has changed since this was last waited for.
    pub async fn changed(&self) {
        self.0.1.notified().await;
    }
}

/// The part of the replicated state that is about changes.
#[derive(Debug, Default)]
pub struct Capture {
    feed: Feed,
    /// Those of the entry that is being executed.
    group: Vec<Changes>,
    /// It was switched on in this entry.
    is_new: bool,
}

impl Capture {
    /// The queue.
    pub fn feed(&self) -> Feed {
        self.feed.clone()
    }

    /// What a recorder has to take down; `None`: there is none needed.
    pub fn selection(&self) -> Option<Selection> {
        // It was compiled before it came in here.
        let wanted = self.feed.queue().standing.wanted.clone()?;
        wanted.compile().ok()
    }

    /// Obeys a command.
    ///
    /// # Errors
    ///
    /// If it cannot be obeyed, on no node alike.
    pub fn obey(&mut self, command: Capturing) -> Result<(), regex::Error> {
        if let Capturing::On(wanted) = &command {
            wanted.compile()?;
        }
        let mut queue = self.feed.queue();
        match command {
            Capturing::On(wanted) => {
                self.is_new |= queue.standing.wanted.is_none();
                queue.standing.wanted = Some(wanted);
            }
            Capturing::Off => {
                *queue = Queue::default();
                self.group.clear();
            }
            Capturing::Delivered(index) => {
                queue.standing.delivered = queue.standing.delivered.max(index);
                queue.remove_up_to(index);
            }
        }
        drop(queue);
        self.feed.0.1.notify_one();
        Ok(())
    }

    /// A request has changed something.
    pub fn add(&mut self, changes: Changes) {
        self.group.push(changes);
    }

    /// An entry is executed.
    pub fn end_entry(&mut self, index: Index, time_ms: u64) {
        if self.is_new {
            self.feed.queue().standing.delivered = index;
            self.is_new = false;
        }
        if self.group.is_empty() {
            return;
        }
        let changes = std::mem::take(&mut self.group);
        let mut queue = self.feed.queue();
        if queue.standing.wanted.is_none() {
            return;
        }
        if changes.iter().any(Changes::are_lost) {
            queue.lose(index);
        } else {
            queue.push(Group {
                index,
                time_ms,
                changes,
            });
        }
        drop(queue);
        self.feed.0.1.notify_one();
    }

    /// For a snapshot; `None`: nothing is kept.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let queue = self.feed.queue();
        let standing = &queue.standing;
        let wanted = standing.wanted.as_ref()?;
        let mut writer = Writer::new();
        writer.byte(VERSION);
        wanted.encode(&mut writer);
        writer.uint(standing.delivered.get());
        writer.uint(standing.lost);
        writer.uint(standing.last_lost.get());
        writer.uint(queue.groups.len() as u64);
        for group in &queue.groups {
            writer.uint(group.index.get());
            writer.uint(group.time_ms);
            writer.uint(group.changes.len() as u64);
            for changes in &group.changes {
                writer.bytes(changes.bytes());
            }
        }
        Some(writer.finish())
    }

    /// Takes over what [`Capture::encode`] gave.
    ///
    /// # Errors
    ///
    /// If it is not in the format.
    pub fn decode(&mut self, bytes: Option<&[u8]>) -> Result<(), Malformed> {
        let queue = bytes.map(decode).transpose()?.unwrap_or_default();
        *self.feed.queue() = queue;
        self.group.clear();
        self.is_new = false;
        self.feed.0.1.notify_one();
        Ok(())
    }
}

fn decode(bytes: &[u8]) -> Result<Queue, Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != VERSION {
        return Err(Malformed { at: 0 });
    }
    let wanted = Wanted::decode(&mut reader)?;
    wanted.compile().map_err(|_| Malformed { at: 1 })?;
    let mut queue = Queue {
        standing: Standing {
            wanted: Some(wanted),
            delivered: Index::new(reader.uint()?),
            lost: reader.uint()?,
            last_lost: Index::new(reader.uint()?),
            ..Standing::default()
        },
        groups: VecDeque::new(),
    };
    for _ in 0..reader.uint()? {
        let (index, time_ms) = (Index::new(reader.uint()?), reader.uint()?);
        let mut changes = Vec::new();
        for _ in 0..reader.uint()? {
            changes.push(Changes::new(Bytes::copy_from_slice(reader.bytes()?)));
        }
        queue.push(Group {
            index,
            time_ms,
            changes,
        });
    }
    Ok(queue)
}

#[cfg(test)]
mod tests;
