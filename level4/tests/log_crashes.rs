//! Kills the log at random operations, thousands of times, with torn last writes, and looks whether
//! recovery finds everything that was reported durable and nothing that was never written.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use level4::consensus::Persist;
use level4::ids::{Index, Term};
use level4::log::{Log, snapshot};
use level4::simulation::SimulatedDisk;
use raft::Storage as _;
use raft::eraftpb::{ConfState, Entry, HardState};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The log as it should be: entries by index (term and content), after a base.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    base: (u64, u64),
    entries: Vec<(u64, Vec<u8>)>,
    term: u64,
}

impl Model {
    fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }

    fn write(&mut self, rng: &mut ChaCha8Rng) -> Persist {
        let mut persist = Persist::default();
        self.term = self.term.max(1);
        if rng.random_bool(0.05) {
            // The leader sends a snapshot from ahead.
            self.term += 1;
            self.base = (self.last() + rng.random_range(1..20), self.term);
            self.entries.clear();
            let conf = ConfState::default();
            persist.snapshot = Some(snapshot::assemble(
                Index::new(self.base.0),
                Term::new(self.base.1),
                conf,
                vec![7; 900].into(),
            ));
        }
        if rng.random_bool(0.2) && !self.entries.is_empty() {
            // A new leader replaces the end of the log.
            let keep = rng.random_range(0..self.entries.len());
            self.entries.truncate(keep);
            self.term += 1;
        }
        let first = self.last() + 1;
        for index in first..first + rng.random_range(1..4) {
            let data = vec![index as u8 ^ self.term as u8; rng.random_range(0..2000)];
            self.entries.push((self.term, data.clone()));
            persist.entries.push(Entry {
                index,
                term: self.term,
                data: data.into(),
                ..Entry::default()
            });
        }
        persist.hard_state = Some(HardState {
            term: self.term,
            commit: self.base.0,
            ..HardState::default()
        });
        persist
    }

    fn check(&self, disk: SimulatedDisk, seed: u64) -> Option<SimulatedDisk> {
        let (log, recovered) =
            Log::open_with(disk, 8192).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let memory = recovered.log;
        let found = (
            memory.first_index().unwrap() - 1,
            memory.last_index().unwrap(),
        );
        let matches = found == (self.base.0, self.last())
            && memory.initial_state().unwrap().hard_state.term == self.term
            && (found.0 + 1..=found.1)
                .zip(&self.entries)
                .all(|(index, (term, data))| {
                    let context = raft::GetEntriesContext::empty(false);
                    let entry = memory
                        .entries(index, index + 1, None, context)
                        .unwrap()
                        .remove(0);
                    entry.term == *term && entry.data == data[..]
                });
        matches.then(|| log.into_disk())
    }
}

fn run(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut disk = SimulatedDisk::default();
    let mut durable = Model::default();
    for _ in 0..6 {
        let (mut log, recovered) =
            Log::open_with(disk, 8192).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        if recovered.is_new {
            // As every node does before it says anything.
            log.begin().unwrap();
        }
        let mut after = durable.clone();
        let mut power = log.into_disk();
        power.budget = Some(rng.random_range(0..40));
        log = match Log::open_with(power.clone(), 8192) {
            Ok((log, _)) => log,
            Err(_) => unreachable!("opening an intact log writes nothing"),
        };
        loop {
            after.clone_from(&durable);
            let write = after.write(&mut rng);
            if log.append(&[write]).is_err() {
                break;
            }
            durable.clone_from(&after);
            if rng.random_bool(0.1) && durable.entries.len() > 3 {
                // This node compacts its own log.
                let cut = rng.random_range(1..durable.entries.len());
                let base = (durable.base.0 + cut as u64, durable.entries[cut - 1].0);
                let (index, term) = (Index::new(base.0), Term::new(base.1));
                let data = vec![9; 700].into();
                let snapshot = snapshot::assemble(index, term, ConfState::default(), data);
                after.base = base;
                after.entries.drain(..cut);
                if log.save_snapshot(&snapshot).is_err() {
                    break;
                }
                durable.clone_from(&after);
                if log.compact(index).is_err() {
                    break;
                }
            }
        }
        disk = log.into_disk().crash(&mut rng);
        // The interrupted write may have survived whole, or not at all; a snapshot may have survived
        // without the entries that came with it.
        let mut snapshot_only = after.clone();
        if after.base != durable.base {
            snapshot_only.entries.clear();
            snapshot_only.term = snapshot_only.base.1.max(durable.term);
        }
        let candidates = [after, durable, snapshot_only];
        let found = candidates
            .iter()
            .find(|model| model.check(disk.clone(), seed).is_some());
        let Some(found) = found else {
            let (_, recovered) = Log::open_with(disk, 8192).expect("opened before");
            panic!("seed {seed}: expected one of {candidates:?}, found {recovered:?}");
        };
        durable = found.clone();
    }
}

#[test]
fn nothing_durable_is_lost_at_any_crash_point() {
    for seed in 0..1500 {
        run(seed);
    }
}
