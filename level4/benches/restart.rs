//! How long a node that has applied a million entries takes from its start to its first answer.
//!
//! ```sh
//! cargo bench -p level4 --bench restart
//! ```
//!
//! The folder is written through the crate's own log and state machine, with the node's rules for
//! snapshots: one INSERT an entry, and nearly as many entries after the last snapshot as there can be.
//! Then the real binary is started on it, killed, and started again.

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use common::Node;
use level4::Identity;
use level4::consensus::{Apply, Members, Persist, founding_entry};
use level4::database::Database;
use level4::ids::{ClusterId, Incarnation, Index, NodeId, Term};
use level4::log::{Folder, Log};
use level4::machine::Machine;
use level4::message::{Batch, Command, Request, RequestId};
use level4::{SNAPSHOT_EVERY, SNAPSHOT_KEEP};
use raft::eraftpb::{ConfState, Entry, HardState};

/// Not a multiple of the distance between snapshots: some entries have to be applied again.
const ENTRIES: u64 = 1_049_000;
/// Entries of one record of the log.
const GROUP: u64 = 1_000;
const STARTS: usize = 5;
const NODE: NodeId = NodeId::new(1);
const TERM: Term = Term::new(1);

fn insert(index: u64) -> Entry {
    let sql = match index {
        2 => "CREATE TABLE t (id INTEGER PRIMARY KEY, text)".to_owned(),
        _ => format!("INSERT INTO t (text) VALUES ('row of entry {index}')"),
    };
    let id = RequestId {
        node: NODE,
        incarnation: Incarnation::new(1),
        counter: index,
    };
    let batch = Batch {
        time_ms: 1_700_000_000_000,
        requests: vec![Request {
            id,
            floor: index,
            key: None,
            command: Command::Shell(sql.into()),
        }],
    };
    Entry {
        index,
        term: TERM.get(),
        data: batch.encode().into(),
        ..Entry::default()
    }
}

fn fill(folder: &Path) -> anyhow::Result<()> {
    let identity = Identity {
        node: NODE,
        cluster: ClusterId::new(1),
        incarnation: Incarnation::new(1),
        has_log: true,
    };
    identity.save(folder)?;
    let (mut log, _) = Log::open(Folder::open(folder.join("log"))?)?;
    let mut machine = Machine::new(Database::new()?);
    let hard_state = |commit| {
        Some(HardState {
            term: TERM.get(),
            commit,
            ..HardState::default()
        })
    };
    log.append(&[Persist {
        entries: vec![founding_entry(NODE, "restart")],
        hard_state: hard_state(1),
        ..Persist::default()
    }])?;
    machine.apply(Apply::Members {
        index: Index::new(1),
        term: TERM,
        conf_state: ConfState {
            voters: vec![NODE.get()],
            ..ConfState::default()
        },
        members: Members::from([(NODE, "restart".to_owned())]),
    })?;
    let mut snapshotted = 0;
    let mut first = 2;
    while first <= ENTRIES {
        let last = (first + GROUP - 1).min(ENTRIES);
        let entries: Vec<Entry> = (first..=last).map(insert).collect();
        for entry in &entries {
            machine.apply(Apply::Batch {
                index: Index::new(entry.index),
                term: TERM,
                data: entry.data.clone(),
            })?;
        }
        log.append(&[Persist {
            entries,
            hard_state: hard_state(last),
            ..Persist::default()
        }])?;
        if last >= snapshotted + SNAPSHOT_EVERY {
            snapshotted = last;
            log.save_snapshot(&machine.snapshot())?;
            log.compact(Index::new(last - SNAPSHOT_KEEP))?;
        }
        first = last + 1;
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    fill(root.path())?;
    let expected = ENTRIES - 2;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let start = Instant::now();
        let mut node = Node::start(root.path(), "127.0.0.1:0", None);
        let answer = node.sql("SELECT count(*) FROM t");
        times.push(start.elapsed());
        ensure!(
            answer.ends_with(&format!("\n{expected}\n")),
            "expected {expected} rows: {answer}"
        );
        node.kill();
    }
    times.sort_unstable();
    println!(
        "{ENTRIES} entries applied: first answer after {:.2?} (median of {STARTS} starts, slowest {:.2?})",
        times[STARTS / 2],
        times[STARTS - 1]
    );
    Ok(())
}
