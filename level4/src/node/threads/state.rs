//! The state thread: applies committed entries to the database, hands reads on,
//! takes snapshots.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender};

use super::super::fault::Fault;
use super::super::{Node, locked};
use super::snapshot::{Purpose, Save};
use super::{Input, StateWork};
use crate::consensus::{Applied, Apply, Standing, asks_for_comparison};
use crate::database::{Database, Readers};
use crate::machine::Machine;

/// A snapshot is taken at every multiple of this, on all nodes at the same index, so that their contents
/// can be compared.
pub const SNAPSHOT_EVERY: u64 = 50_000;
/// Or when entries of so many bytes have come, and more than the last snapshot's.
const SNAPSHOT_EVERY_BYTES: usize = 64 * 1024 * 1024;
/// Steps applied before the core hears of it.
const APPLY_GROUP: usize = 256;

/// Applies until the core is gone.
pub(in crate::node) fn run(
    mut machine: Machine<Database>,
    works: &Receiver<StateWork>,
    core: &Sender<Input>,
    save: &Sender<Save>,
    node: &Node,
) -> Result<(), Fault> {
    let readers = Readers::start().map_err(|cause| Fault::NoThread {
        thread: "reader",
        cause,
    })?;
    let mut pace = Pace::default();
    node.applying.watch(machine.place());
    while let Ok(first) = works.recv() {
        let mut applied = Applied::default();
        let before = machine.applied();
        for work in std::iter::once(first).chain(works.try_iter().take(APPLY_GROUP)) {
            match work {
                StateWork::Apply(step) => {
                    applied.restored |= matches!(step, Apply::Restore(_));
                    let asked =
                        matches!(&step, Apply::Batch { data, .. } if asks_for_comparison(data));
                    apply(&mut machine, step, node, &mut pace, &mut applied)?;
                    let index = machine.applied();
                    if index.is_multiple_of(SNAPSHOT_EVERY) && !applied.restored {
                        pace.take(&mut machine, save, node, Purpose::Compare);
                    } else if asked && !matches!(node.trust.get(), Standing::Parted(_)) {
                        let _ = save.send(Save::Finish(machine.draft(), Purpose::Doubt));
                    }
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
                StateWork::Snapshot => match node.trust.get() {
                    Standing::Sound => {
                        let _ = save.send(Save::Finish(machine.draft(), Purpose::Follower));
                    }
                    Standing::Doubtful(index) => {
                        let _ = save.send(Save::OfferSaved(index));
                    }
                    Standing::Parted(_) => {
                        let _ = core.send(Input::Offer(None));
                    }
                },
                StateWork::View(sender) => {
                    let _ = sender.send(machine.executor().view());
                }
            }
        }
        let index = machine.applied();
        // A snapshot that replaces a state that has parted may stand at the same index.
        if index > before || applied.restored {
            node.figures.applied.store(index.get(), Relaxed);
            applied.index = index;
            applied.links = machine.take_links();
            let _ = core.send(Input::Applied(applied));
        }
        if pace.is_due() {
            pace.take(&mut machine, save, node, Purpose::Restart);
        }
    }
    Ok(())
}

/// Applies one step, unless it is an entry to be skipped.
fn apply(
    machine: &mut Machine<Database>,
    step: Apply,
    node: &Node,
    pace: &mut Pace,
    applied: &mut Applied,
) -> Result<(), Fault> {
    if let Apply::Batch { index, data, .. } = &step {
        pace.bytes += data.len();
        machine.skip(&node.applying.begin(*index, data));
    }
    applied.executed.append(&mut machine.apply(step)?);
    node.applying.end();
    Ok(())
}

/// When the next snapshot is due.
struct Pace {
    /// Of entries applied since the last one.
    bytes: usize,
    /// How many make the next one due.
    limit: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            bytes: 0,
            limit: SNAPSHOT_EVERY_BYTES,
        }
    }
}

impl Pace {
    fn is_due(&self) -> bool {
        self.bytes >= self.limit
    }

    /// Takes a snapshot, unless the state is not to be trusted.
    fn take(
        &mut self,
        machine: &mut Machine<Database>,
        save: &Sender<Save>,
        node: &Node,
        purpose: Purpose,
    ) {
        self.bytes = 0;
        let purpose = match node.trust.get() {
            Standing::Sound => purpose,
            // Contents that agree end the doubt; until then this one is not kept.
            Standing::Doubtful(_) if purpose == Purpose::Compare => Purpose::Doubt,
            Standing::Doubtful(_) | Standing::Parted(_) => return,
        };
        let draft = machine.draft();
        self.limit = SNAPSHOT_EVERY_BYTES.max(draft.size());
        let _ = save.send(Save::Finish(draft, purpose));
    }
}
