//! The log thread: writes and syncs what the core hands it, many changes at once.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender};

use super::super::Figures;
use super::super::fault::Fault;
use super::super::parcel;
use super::room::retry;
use super::{Input, LogWork};
use crate::consensus::Persist;
use crate::database::Shelf;
use crate::ids::Index;
use crate::log::{Folder, Log, LogError};
use crate::notes::note;

/// Writes that share one record and one sync, at most.
const WRITE_GROUP: usize = 512;
/// And so many bytes, beyond which no more are added.
const WRITE_GROUP_BYTES: usize = 4 * 1024 * 1024;

/// Writes until the core is gone.
pub(in crate::node) fn run(
    mut log: Log<Folder>,
    shelf: Option<&Shelf>,
    works: &Receiver<LogWork>,
    core: &Sender<Input>,
    figures: &Figures,
) -> Result<(), Fault> {
    while let Ok(first) = works.recv() {
        let Group { writes, compact } = Group::gather(first, works.try_iter());
        if let Some(index) = compact
            && let Err(error) = log.compact(index)
        {
            note(format_args!("old log segments stay: {error}"));
        }
        let snapshot = writes
            .iter()
            .rev()
            .find_map(|write| write.snapshot.as_ref());
        if snapshot.is_some() {
            // It only says where its pages are.
            let sync = || parcel::sync(shelf).map_err(LogError::Database);
            retry(core, figures, sync)?;
        }
        flush_writes(&mut log, &writes, core, figures)?;
        if let Some(snapshot) = snapshot {
            parcel::keep(shelf, snapshot);
            let index = snapshot.get_metadata().index;
            figures.saved.fetch_max(index, Relaxed);
        }
    }
    Ok(())
}

/// What shares one record.
#[derive(Debug, Default)]
struct Group {
    writes: Vec<Persist>,
    /// What comes before this may go.
    compact: Option<Index>,
}

impl Group {
    /// Takes `first` and what waits, until it is enough for a record.
    fn gather(first: LogWork, mut more: impl Iterator<Item = LogWork>) -> Self {
        let mut group = Self::default();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(work) = next {
            match work {
                LogWork::Write(persist) => {
                    bytes += persist.size();
                    group.writes.push(persist);
                }
                LogWork::Compact(index) => group.compact = group.compact.max(Some(index)),
            }
            let has_room = group.writes.len() < WRITE_GROUP && bytes < WRITE_GROUP_BYTES;
            next = if has_room { more.next() } else { None };
        }
        group
    }
}

fn flush_writes(
    log: &mut Log<Folder>,
    writes: &[Persist],
    core: &Sender<Input>,
    figures: &Figures,
) -> Result<(), Fault> {
    if let Some(number) = writes.last().map(|persist| persist.number) {
        retry(core, figures, || log.append(writes))?;
        figures.syncs.fetch_add(1, Relaxed);
        let _ = core.send(Input::Persisted(number));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    fn write(bytes: usize) -> LogWork {
        let entry = Entry {
            data: vec![0; bytes].into(),
            ..Entry::default()
        };
        LogWork::Write(Persist {
            entries: vec![entry],
            ..Persist::default()
        })
    }

    #[test]
    fn a_record_is_bounded_in_writes_and_in_bytes() {
        let mut small = (0..2 * WRITE_GROUP).map(|_| write(1));
        let group = Group::gather(write(1), &mut small);
        assert_eq!(group.writes.len(), WRITE_GROUP);
        assert_eq!(small.len(), WRITE_GROUP + 1, "the others stay in line");
        let mut large = (0..10).map(|_| write(WRITE_GROUP_BYTES / 4));
        assert_eq!(Group::gather(write(1), &mut large).writes.len(), 5);
        // One that is larger shares with nobody.
        let alone = Group::gather(write(4 * WRITE_GROUP_BYTES), &mut large);
        assert_eq!(alone.writes.len(), 1);
        let compacts = [
            LogWork::Compact(Index::new(9)),
            write(1),
            LogWork::Compact(Index::new(7)),
        ];
        let group = Group::gather(write(1), compacts.into_iter());
        assert_eq!(
            (group.writes.len(), group.compact),
            (2, Some(Index::new(9)))
        );
    }
}
