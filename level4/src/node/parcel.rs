//! Snapshots on their way between the files of two nodes: read from one as they are pulled, and written to
//! the other as they come, so that none is in memory as a whole.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use raft::eraftpb::Snapshot;

use super::threads::parcels::ParcelWork;
use crate::consensus::{At, Intake, Intakes, Offered, Source};
use crate::database::{Content, Landing, Shelf, View};
use crate::machine::{Draft, state_begins, with_state};
use crate::notes::note;

/// So much is received before the system is to write it, bytes.
const WRITE_OUT: usize = 32 * 1024 * 1024;

/// A snapshot that is read as it is sent.
#[derive(Debug)]
struct Parcel {
    /// Everything before the database's file.
    head: Bytes,
    /// The database.
    view: View,
}

impl Source for Parcel {
    fn size(&self) -> u64 {
        (self.head.len() + self.view.size()) as u64
    }

    fn read(&self, offset: u64, length: u64) -> io::Result<Bytes> {
        let length = length.min(self.size().saturating_sub(offset));
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        let head = self.head.get(from..).unwrap_or_default();
        let in_head = head.len().min(bytes.len());
        let (first, rest) = bytes.split_at_mut(in_head);
        first.copy_from_slice(&head[..in_head]);
        let at = (from + in_head).saturating_sub(self.head.len());
        let read = self.view.read(at, rest).inspect_err(|error| {
            note(format_args!("no snapshot for a follower: {error}"));
        })?;
        if read < rest.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.into())
    }
}

/// A draft for followers.
pub fn offer(draft: &Draft<Content>) -> Offered {
    let (head, view) = draft.state().parts();
    let snapshot = draft.finish_head(head);
    let head = snapshot.data.clone();
    let source = Arc::new(Parcel { head, view });
    Offered { snapshot, source }
}

/// A saved snapshot for followers.
///
/// # Errors
///
/// If its pages are not there.
pub fn offer_saved(snapshot: Snapshot, shelf: Option<&Shelf>) -> io::Result<Offered> {
    let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let data = &snapshot.data;
    let begin = state_begins(data, data.len() as u64).map_err(malformed)?;
    let begin = begin.map_or(data.len(), |begin| begin as usize);
    let Some((head, view)) = Shelf::whole(shelf, &data[begin..])? else {
        return Ok(snapshot.into());
    };
    let size = (head.len() + view.size()) as u64;
    let head = with_state(&data[..begin], size, &head).map_err(malformed)?;
    let head = Bytes::from(head);
    let source = Arc::new(Parcel { head, view });
    Ok(Offered { snapshot, source })
}

/// Snapshots from other nodes go to the files of a database.
#[derive(Debug)]
pub struct ToDisk {
    /// The files.
    pub shelf: Arc<Shelf>,
    /// Is told whenever much has come.
    pub work: SyncSender<ParcelWork>,
}

impl Intakes for ToDisk {
    fn begin(&self, at: At, size: u64) -> Option<Box<dyn Intake>> {
        Some(Box::new(Arrival {
            size,
            head: Vec::new(),
            begin: None,
            landing: Landing::new(self.shelf.clone(), at.index),
            work: self.work.clone(),
            unwritten: 0,
            told: false,
            is_broken: false,
        }))
    }
}

/// A snapshot that is coming in.
#[derive(Debug)]
struct Arrival {
    /// Of all of it, bytes.
    size: u64,
    /// What stands before the database's state; until it is known how much that is, what has come.
    head: Vec<u8>,
    /// Where that state begins.
    begin: Option<u64>,
    landing: Landing,
    work: SyncSender<ParcelWork>,
    /// Bytes since that was told.
    unwritten: usize,
    /// Why it goes on no further has been said.
    told: bool,
    /// It never will.
    is_broken: bool,
}

impl Arrival {
    fn add(&mut self, data: &[u8]) -> io::Result<()> {
        if let Some(begin) = self.begin {
            return self.split(begin, data);
        }
        let mut known = std::mem::take(&mut self.head);
        known.extend_from_slice(data);
        let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        self.begin = state_begins(&known, self.size).map_err(malformed)?;
        if let Some(begin) = self.begin {
            return self.split(begin, &known);
        }
        self.head = known;
        Ok(())
    }

    /// More bytes, of which those before `begin` belong to the head.
    fn split(&mut self, begin: u64, data: &[u8]) -> io::Result<()> {
        let missing = begin.saturating_sub(self.head.len() as u64);
        let missing = usize::try_from(missing)
            .unwrap_or(usize::MAX)
            .min(data.len());
        let (head, state) = data.split_at(missing);
        if !state.is_empty() {
            self.landing.take(state)?;
        }
        self.head.extend_from_slice(head);
        Ok(())
    }
}

impl Intake for Arrival {
    fn take(&mut self, data: &[u8]) -> bool {
        if self.is_broken {
            return false;
        }
        let taken = self.add(data);
        if let Err(error) = &taken {
            // A piece that found no room comes once more; of others it is not known what has become of them.
            self.is_broken = error.kind() != io::ErrorKind::StorageFull;
            if !std::mem::replace(&mut self.told, true) {
                note(format_args!("a snapshot cannot be received: {error}"));
            }
        }
        self.unwritten += data.len();
        if self.unwritten > WRITE_OUT {
            self.unwritten = 0;
            // If it has that much to do, it need not be told now.
            let _ = self.work.try_send(ParcelWork::WriteOut);
        }
        taken.is_ok()
    }

    fn finish(self: Box<Self>) -> Option<Bytes> {
        let finished = self.landing.finish().and_then(|state| {
            with_state(&self.head, state.len() as u64, &state)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        });
        let finished = finished.inspect_err(|error| {
            note(format_args!("a snapshot cannot be received: {error}"));
        });
        finished.ok().map(Bytes::from)
    }
}

/// Makes the snapshots durable that came from other nodes: their pages, before what refers to them.
pub fn sync(shelf: Option<&Shelf>) -> io::Result<()> {
    shelf.map_or(Ok(()), Shelf::sync)
}

/// A snapshot from another node is durable.
pub fn keep(shelf: Option<&Shelf>, snapshot: &Snapshot) {
    let data = &snapshot.data[..];
    let begin = state_begins(data, data.len() as u64);
    if let (Some(shelf), Ok(Some(begin))) = (shelf, begin) {
        shelf.keep_landed(&data[begin as usize..]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{NODE, entry, entry_with, founding, step};
    use super::*;
    use crate::consensus::Apply;
    use crate::database::capture::{Capturing, Wanted};
    use crate::database::{Database, death};
    use crate::ids::Term;
    use crate::log::snapshot::assemble;
    use crate::machine::{Machine, Saved as _};
    use crate::message::Command;
    use proptest::prelude::*;
    use raft::eraftpb::{ConfState, Entry};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::mpsc;

    fn apply(machine: &mut Machine<Database>, entry: &Entry) {
        machine.apply(step(entry)).unwrap();
    }

    fn on_disk(folder: &Path) -> Machine<Database> {
        Machine::new(Database::on_disk(folder, NODE).unwrap())
    }

    fn founded(mut machine: Machine<Database>) -> Machine<Database> {
        machine.recall(|_| None).unwrap();
        machine.apply(founding(NODE)).unwrap();
        machine
    }

    /// Gives a snapshot's pieces, of these lengths in turn, to an intake.
    fn carry(offered: &Offered, intake: &mut dyn Intake, lengths: &[u64], limit: u64) -> Vec<u8> {
        let size = offered.source.size();
        let full = Arc::new(AtomicBool::new(false));
        death::fill(full.clone());
        let mut whole = Vec::new();
        for (number, length) in lengths.iter().cycle().enumerate() {
            full.store(number % 3 == 2, Relaxed);
            let at = whole.len() as u64;
            if at >= size.min(limit) {
                break;
            }
            let piece = offered.source.read(at, *length).unwrap();
            if !intake.take(&piece) {
                // There was no room for it.
                assert!(full.swap(false, Relaxed));
                assert!(intake.take(&piece));
            }
            whole.extend_from_slice(&piece);
        }
        full.store(false, Relaxed);
        whole
    }

    fn to_disk(shelf: &Arc<Shelf>) -> ToDisk {
        let (shelf, work) = (shelf.clone(), mpsc::sync_channel(1).0);
        ToDisk { shelf, work }
    }

    fn received(at: At, intake: Box<dyn Intake>) -> Snapshot {
        let conf_state = ConfState::from((vec![1], vec![]));
        assemble(at.index, at.term, conf_state, intake.finish().unwrap())
    }

    fn everything() -> Wanted {
        Wanted {
            row_ids_only: false,
            table_filter: None,
            limit: 1 << 20,
        }
    }

    fn used(shelf: &Shelf) -> usize {
        let (free, all) = shelf.usage();
        all - free
    }

    #[test]
    fn nothing_is_left_of_a_snapshot_from_elsewhere_after_the_next_of_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut leader = founded(Machine::new(Database::new().unwrap()));
        let sql = "CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob(100000))";
        apply(&mut leader, &entry(2, sql));
        let offered = offer(&leader.draft());
        let mut follower = founded(on_disk(folder.path()));
        let shelf = follower.look().shelf().unwrap();
        let at = At {
            index: leader.applied(),
            term: Term::new(1),
        };
        // It is here twice, and only one is taken.
        let snapshots = [(); 2].map(|()| {
            let mut intake = to_disk(&shelf).begin(at, offered.source.size()).unwrap();
            carry(&offered, &mut *intake, &[10_000], u64::MAX);
            received(at, intake)
        });
        keep(Some(&shelf), &snapshots[0]);
        follower
            .apply(Apply::Restore(snapshots[0].clone()))
            .unwrap();
        follower.commit().unwrap();
        apply(
            &mut follower,
            &entry(3, "UPDATE t SET a = randomblob(50000)"),
        );
        follower.commit().unwrap();
        let draft = follower.draft_reference().unwrap();
        draft.state().sync().unwrap();
        draft.state().keep();
        drop(draft);
        assert_eq!(used(&shelf), follower.executor().view().size() / 4096);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// From memory or a file to a file, while both go on; and the receiver begins from it again.
        #[test]
        fn a_snapshot_goes_from_file_to_file(
            from_memory: bool, told: bool, rows in prop::collection::vec(1..9_000u32, 0..40),
            lengths in prop::collection::vec(1..20_000u64, 1..5), broken_off in 0..200_000u64,
        ) {
            let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
            let [source, target] = [folders[0].path(), folders[1].path()];
            let mut leader = founded(if from_memory {
                Machine::new(Database::new().unwrap())
            } else {
                on_disk(source)
            });
            let mut follower = founded(on_disk(target));
            let sql = "CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(50000))";
            apply(&mut follower, &entry(2, sql));
            follower.commit().unwrap();
            apply(&mut leader, &entry(2, "CREATE TABLE t (a)"));
            // Rows that nobody has been told of yet are part of the state.
            let capture = if told { Capturing::Off } else { Capturing::On(everything()) };
            let capture = Command::Capture(capture.encode().into());
            apply(&mut leader, &entry_with(NODE, 3, capture));
            for (number, row) in rows.iter().enumerate() {
                let sql = format!("INSERT INTO t VALUES (randomblob({row}))");
                apply(&mut leader, &entry(4 + number as u64, &sql));
                leader.commit().unwrap();
            }
            let draft = leader.draft();
            let offered = offer(&draft);
            let next = entry(leader.applied().get() + 1, "UPDATE t SET a = hex(a); VACUUM");
            apply(&mut leader, &next);
            leader.commit().unwrap();
            let shelf = follower.look().shelf().unwrap();
            let at = At { index: draft.index(), term: Term::new(1) };
            let begin = || to_disk(&shelf).begin(at, offered.source.size()).unwrap();
            let mut cut = begin();
            carry(&offered, &mut *cut, &lengths, broken_off);
            drop(cut);
            let mut intake = begin();
            let whole = carry(&offered, &mut *intake, &lengths, u64::MAX);
            let expected = draft.finish().unwrap();
            prop_assert!(whole == expected.data);
            apply(&mut follower, &entry(3, "DELETE FROM t"));
            follower.commit().unwrap();
            let received = received(at, intake);
            sync(Some(&shelf)).unwrap();
            follower.apply(Apply::Restore(received.clone())).unwrap();
            prop_assert!(follower.snapshot().unwrap().data == expected.data);
            keep(Some(&shelf), &received);
            apply(&mut follower, &next);
            follower.commit().unwrap();
            // What it began from stays, whatever comes after.
            let more: Vec<Entry> = (1..4)
                .map(|place| entry(next.index + place, "UPDATE t SET a = 'x' || a"))
                .collect();
            for entry in &more {
                apply(&mut leader, entry);
                apply(&mut follower, entry);
                follower.commit().unwrap();
            }
            let after = leader.snapshot().unwrap().data;
            prop_assert!(follower.snapshot().unwrap().data == after);
            drop((follower, shelf));
            let mut again = on_disk(target);
            again.apply(Apply::Restore(received.clone())).unwrap();
            prop_assert!(again.snapshot().unwrap().data == expected.data);
            let entries = || more.iter().chain([&next]);
            again.recall(|index| entries().find(|entry| entry.index == index.get())).unwrap();
            prop_assert_eq!(again.applied().get(), next.index + 3);
            prop_assert!(again.snapshot().unwrap().data == after);
            // Nothing is left of what was not finished.
            let shelf = again.look().shelf().unwrap();
            drop(draft);
            let before = used(&shelf);
            let mut cut = to_disk(&shelf).begin(at, offered.source.size()).unwrap();
            carry(&offered, &mut *cut, &lengths, broken_off);
            drop(cut);
            prop_assert_eq!(before, used(&shelf));
            // Nor of what Raft did not want, as soon as the database is beyond it.
            let mut intake = to_disk(&shelf).begin(at, offered.source.size()).unwrap();
            carry(&offered, &mut *intake, &lengths, u64::MAX);
            intake.finish().unwrap();
            prop_assert!(before < used(&shelf));
            apply(&mut again, &entry(next.index + 4, "SELECT 1"));
            again.commit().unwrap();
            prop_assert_eq!(before, used(&shelf));
            // Another node's list of pages is no state.
            let elsewhere = tempfile::tempdir().unwrap();
            let mut other = founded(on_disk(elsewhere.path()));
            prop_assert!(other.apply(Apply::Restore(received)).is_err());
        }
    }
}
