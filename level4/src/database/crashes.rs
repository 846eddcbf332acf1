//! A process dies at any of its writes to the database's files, a machine at any moment: what is found
//! afterwards is the state as of one entry, as a database in memory has it there, and nothing that was noted
//! before the process died is executed again.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use raft::eraftpb::{ConfState, Entry, EntryType, Snapshot};

use super::Database;
use super::capture::{Capturing, Wanted};
use super::changes::Boot;
use super::engine::pages::{PAGE, death};
use super::staging::Stage;
use crate::consensus::{Apply, Members};
use crate::ids::{Incarnation, Index, NodeId, Term};
use crate::machine::{Executor as _, Machine, Moment, Saved as _};
use crate::message::{Batch, Command, Request, RequestId};

const NODE: NodeId = NodeId::new(1);

fn shell(sql: String) -> Command {
    Command::Shell(sql.into())
}

/// A file that a client loads.
fn loadable() -> Bytes {
    let mut database = Database::new().unwrap();
    let moment = Moment {
        time_ms: 0,
        seed: 1,
    };
    let sql =
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b); INSERT INTO t SELECT 1, randomblob(30000)";
    database.execute(moment, &shell(sql.to_owned())).unwrap();
    database.view().to_vec().unwrap().into()
}

/// Changes are kept; of large ones some have no room.
fn wanted(size: u32) -> Wanted {
    Wanted {
        row_ids_only: size.is_multiple_of(2),
        table_filter: None,
        limit: 70_000 + u64::from(size),
    }
}

fn command(kind: u8, size: u32) -> Command {
    match kind {
        0..4 => shell(format!(
            "CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b); \
             INSERT INTO t (b) VALUES (randomblob({size})); SELECT count(*), sum(length(b)) FROM t"
        )),
        4 => shell(format!(
            "UPDATE t SET b = randomblob({size}) WHERE a % 3 = 0"
        )),
        5 => shell(format!("DELETE FROM t WHERE length(b) > {size}")),
        6 => shell("VACUUM; CREATE INDEX IF NOT EXISTS i ON t (b)".to_owned()),
        7 => Command::Load(loadable()),
        10 => Command::Capture(Capturing::On(wanted(size)).encode().into()),
        11 => Command::Capture(
            Capturing::Delivered(Index::new(u64::from(size) % 30))
                .encode()
                .into(),
        ),
        12 => Command::Capture(Capturing::Off.encode().into()),
        _ => shell("not SQL".to_owned()),
    }
}

/// A file that comes in piece by piece: the next one of so many bytes, or its end.
fn stage(kind: u8, size: u32, file: &[u8], come: &mut usize) -> Command {
    let stage = match kind {
        13..16 => {
            let offset = *come;
            *come = file.len().min(offset + 3 * size as usize);
            Stage::Piece {
                file: 1,
                offset: offset as u64,
                bytes: &file[offset..*come],
            }
        }
        16 => {
            let length = std::mem::take(come);
            Stage::Adopt {
                file: 1,
                length: length as u64,
                sum: crc32c::crc32c(&file[..length]),
            }
        }
        _ => {
            *come = 0;
            Stage::Discard { file: 1 }
        }
    };
    Command::Stage(stage.encode().into())
}

/// A log: the configuration, then batches.
fn log(commands: &[(u8, u32)]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let (file, mut come) = (loadable(), 0);
    for (number, &(kind, size)) in commands.iter().enumerate() {
        let index = number as u64 + 1;
        let mut entry = Entry {
            index,
            term: 1 + index / 7,
            ..Entry::default()
        };
        if number == 0 || kind == 9 {
            entry.entry_type = EntryType::EntryConfChangeV2;
        } else {
            let id = |counter| RequestId {
                node: NODE,
                incarnation: Incarnation::new(1),
                counter,
            };
            let request = |place, command| Request {
                id: id(2 * index + place),
                floor: index,
                key: (kind == 3).then(|| format!("key {}", index / 2)),
                command,
            };
            let first = match kind {
                13.. => stage(kind, size, &file, &mut come),
                _ => command(kind, size),
            };
            let requests = vec![request(0, first), request(1, command(0, size / 7))];
            let time_ms = 1_700_000_000_000 + index;
            entry.data = Batch { time_ms, requests }.encode().into();
        }
        entries.push(entry);
    }
    entries
}

fn step(entry: &Entry) -> Apply {
    let (index, term) = (Index::new(entry.index), Term::new(entry.term));
    if entry.entry_type == EntryType::EntryNormal {
        let data = entry.data.clone();
        return Apply::Batch { index, term, data };
    }
    Apply::Members {
        index,
        term,
        conf_state: ConfState::from((vec![1], vec![1 + entry.index])),
        members: Members::from([(NODE, "n".to_owned())]),
    }
}

/// Everything that other nodes can see of a state.
fn content(machine: &mut Machine<Database>) -> Bytes {
    machine.snapshot().unwrap().data
}

/// A disk with a node's folder on it, and what was made durable besides.
struct Home<'a> {
    folder: &'a Path,
    entries: &'a [Entry],
    snapshot: Option<Snapshot>,
    /// The last entry that a living process has noted.
    noted: Index,
    /// Everybody's state after each entry.
    states: &'a BTreeMap<Index, Bytes>,
}

#[derive(Debug)]
struct Dead;

impl Home<'_> {
    /// A process starts, and goes on until it dies or there is nothing more to do.
    fn live(&mut self, snapshots: &[bool]) -> Result<Machine<Database>, Dead> {
        let entry = |index: Index| self.entries.get(index.get().checked_sub(1)? as usize);
        let database = Database::on_disk(self.folder, NODE).map_err(|_| Dead)?;
        let mut machine = Machine::new(database);
        if let Some(snapshot) = &self.snapshot {
            let restored = machine.apply(Apply::Restore(snapshot.clone()));
            restored.expect("a snapshot's pages are there");
        }
        if let Err(error) = machine.recall(entry) {
            assert!(error.to_string().contains("dead"), "{error}");
            return Err(Dead);
        }
        let applied = machine.applied();
        assert_eq!(applied, self.noted);
        if applied > Index::START {
            assert!(content(&mut machine) == self.states[&applied], "{applied}");
        }
        let mut old = None;
        while let Some(entry) = entry(machine.applied().next()) {
            machine.apply(step(entry)).map_err(|_| Dead)?;
            let index = machine.applied();
            if index.get() % 4 == 1 {
                // Somebody reads for a while.
                old = Some((
                    machine.executor().view(),
                    machine.executor().view().to_vec(),
                ));
            }
            if index.get() % 3 == 0 {
                continue;
            }
            machine.commit().map_err(|_| Dead)?;
            self.noted = index;
            if snapshots[index.get() as usize % snapshots.len()] {
                let draft = machine.draft_reference().map_err(|_| Dead)?;
                draft.state().sync().map_err(|_| Dead)?;
                self.snapshot = Some(draft.finish_reference().unwrap());
                draft.state().keep();
            }
            if let Some((view, bytes)) = &old {
                assert_eq!(&view.to_vec().unwrap(), bytes.as_ref().unwrap());
            }
        }
        assert!(content(&mut machine) == self.states[&machine.applied()]);
        machine.commit().map_err(|_| Dead)?;
        self.noted = machine.applied();
        Ok(machine)
    }

    /// The machine's power fails: of what was not synced some is on the disk, some is not, some is neither.
    fn lose_power(&mut self, machine: &Machine<Database>, mut chance: u64) {
        let file = OpenOptions::new()
            .write(true)
            .open(self.folder.join("pages"))
            .unwrap();
        for (number, before) in machine.look().unsynced() {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let offset = u64::from(number) * PAGE as u64;
            match chance >> 62 {
                0 => file.write_all_at(&before[..], offset).unwrap(),
                1 => file.write_all_at(&[0xaa; PAGE / 2], offset).unwrap(),
                _ => {}
            }
        }
        Boot::other().note(self.folder).unwrap();
    }
}

fn states(entries: &[Entry]) -> BTreeMap<Index, Bytes> {
    let mut machine = Machine::new(Database::new().unwrap());
    entries
        .iter()
        .map(|entry| {
            machine.apply(step(entry)).unwrap();
            (machine.applied(), content(&mut machine))
        })
        .collect()
}

fn commands() -> impl Strategy<Value = Vec<(u8, u32)>> {
    let kind = prop_oneof![4 => 0..10u8, 1 => 10..13u8, 3 => 13..18u8];
    prop::collection::vec((kind, 1..20_000u32), 4..28)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_process_that_dies_at_any_write_leaves_the_state_as_of_the_last_note(
        commands in commands(), snapshots in prop::collection::vec(any::<bool>(), 1..9),
        deaths in prop::collection::vec(1..120u64, 0..8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let entries = log(&commands);
        let states = states(&entries);
        let mut home = Home {
            folder: folder.path(),
            entries: &entries,
            snapshot: None,
            noted: Index::START,
            states: &states,
        };
        for writes in deaths {
            death::after(writes);
            let _ = home.live(&snapshots);
        }
        death::after(u64::MAX);
        let mut machine = home.live(&snapshots).unwrap();
        prop_assert_eq!(home.noted, Index::new(entries.len() as u64));
        // After the next snapshot nothing is left of the one before it.
        let draft = machine.draft_reference().unwrap();
        draft.state().sync().unwrap();
        draft.state().keep();
        drop(draft);
        let (free, all) = machine.look().shelf().unwrap().usage();
        let database = machine.executor();
        let bytes = [database.view().size(), database.staging.image.len()];
        prop_assert_eq!(all - free, bytes.map(|bytes| bytes.div_ceil(PAGE)).iter().sum::<usize>());
    }

    #[test]
    fn a_machine_that_loses_power_has_the_last_snapshot_and_nothing_else(
        commands in commands(), snapshots in prop::collection::vec(any::<bool>(), 1..9),
        chances in prop::collection::vec(any::<u64>(), 1..4), ends in 1..28usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let entries = log(&commands);
        let states = states(&entries);
        let mut home = Home {
            folder: folder.path(),
            entries: &entries[..ends.min(entries.len())],
            snapshot: None,
            noted: Index::START,
            states: &states,
        };
        for chance in chances {
            let at = home.snapshot.as_ref().map_or(0, |s| s.get_metadata().index);
            let machine = home.live(&snapshots).unwrap();
            home.lose_power(&machine, chance);
            drop(machine);
            let saved = home.snapshot.as_ref().map_or(0, |s| s.get_metadata().index);
            prop_assert!(saved >= at);
            home.noted = Index::new(saved);
        }
        home.entries = &entries;
        home.live(&snapshots).unwrap();
    }
}
