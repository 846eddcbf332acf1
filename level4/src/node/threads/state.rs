//! The state thread: applies committed entries to the database, hands reads on,
//! takes snapshots.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender};

use raft::eraftpb::Snapshot;

use super::super::fault::Fault;
use super::super::{Node, locked};
use super::{Input, StateWork};
use crate::consensus::Apply;
use crate::database::{Database, Readers};
use crate::machine::Machine;
use crate::message::Index;
use crate::notes::note;

/// A snapshot is taken every so many entries, and a few more by the node's id, so that not all nodes are
/// busy with theirs at once.
pub const SNAPSHOT_EVERY: Index = 50_000;
/// Or when entries of so many bytes have come, and more than the last snapshot's.
const SNAPSHOT_EVERY_BYTES: usize = 64 * 1024 * 1024;
/// Steps applied before the core hears of it.
const APPLY_GROUP: usize = 256;

/// Applies until the core is gone.
pub(in crate::node) fn run(
    mut machine: Machine<Database>,
    works: &Receiver<StateWork>,
    core: &Sender<Input>,
    save: &Sender<Snapshot>,
    node: &Node,
    snapshot_every: Index,
) -> Result<(), Fault> {
    let readers = Readers::start().map_err(|cause| Fault::NoThread {
        thread: "reader",
        cause,
    })?;
    let mut snapshotted = machine.applied();
    let (mut bytes, mut snapshot_bytes) = (0, SNAPSHOT_EVERY_BYTES);
    while let Ok(first) = works.recv() {
        let mut executed = Vec::new();
        let before = machine.applied();
        for work in std::iter::once(first).chain(works.try_iter().take(APPLY_GROUP)) {
            match work {
                StateWork::Apply(step) => {
                    if let Apply::Batch { data, .. } = &step {
                        bytes += data.len();
                    }
                    executed.append(&mut machine.apply(step)?);
                }
                StateWork::Read(token) => {
                    let waiting = locked(&node.reads).remove(&token);
                    if let Some(read) = waiting {
                        readers.submit(machine.executor().view(), machine.moment(), read);
                    }
                }
                StateWork::ReadNow(read) => {
                    readers.submit(machine.executor().view(), machine.moment(), read);
                }
                StateWork::Snapshot => {
                    let snapshot = machine.snapshot();
                    if let Err(error) = &snapshot {
                        note(format_args!("no snapshot for a follower: {error}"));
                    }
                    let _ = core.send(Input::Offer(snapshot.ok()));
                }
                StateWork::View(sender) => {
                    let _ = sender.send(machine.executor().view());
                }
            }
        }
        let index = machine.applied();
        if index > before {
            node.figures.applied.store(index, Relaxed);
            let _ = core.send(Input::Applied(index, executed));
        }
        if index >= snapshotted + snapshot_every || bytes >= snapshot_bytes {
            (snapshotted, bytes) = (index, 0);
            match machine.snapshot() {
                Ok(snapshot) => {
                    snapshot_bytes = SNAPSHOT_EVERY_BYTES.max(snapshot.data.len());
                    let _ = save.send(snapshot);
                }
                Err(error) => {
                    note(format_args!(
                        "the log grows, as no snapshot can be taken: {error}"
                    ));
                }
            }
        }
    }
    Ok(())
}
