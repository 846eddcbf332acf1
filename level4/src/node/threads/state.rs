//! The state thread: applies committed entries to the database, hands reads on,
//! takes snapshots.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use super::super::fault::Fault;
use super::super::{Node, locked};
use super::snapshot::{Purpose, Save};
use super::{Input, StateWork, retry};
use crate::consensus::{Applied, Apply, Standing, asks_for_comparison};
use crate::database::{Content, Database, Readers};
use crate::log::LogError;
use crate::machine::{Draft, Machine};

/// A snapshot is taken at every multiple of this, on all nodes at the same index, so that their contents
/// can be compared.
pub const SNAPSHOT_EVERY: u64 = 50_000;
/// Or when entries of so many bytes have come, and more than the last snapshot's.
const SNAPSHOT_EVERY_BYTES: usize = 64 * 1024 * 1024;
/// Or when a process that starts again would have to read so many bytes of what a database on disk notes.
const SNAPSHOT_EVERY_NOTES: u64 = 64 * 1024 * 1024;
/// Or when applying them has taken this long, and longer than writing the last snapshot may take: a node that
/// restarts executes again what came after its snapshot, before it answers anybody.
const SNAPSHOT_EVERY_TIME: Duration = Duration::from_secs(5);
/// So many bytes of snapshots are written in a second, at least.
const SNAPSHOT_BYTES_A_SECOND: usize = 50_000_000;
/// Steps applied before the core hears of it, unless they take longer than this.
const APPLY_GROUP: usize = 256;
const APPLY_GROUP_TIME: Duration = Duration::from_millis(50);

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
        let (before, begun) = (machine.applied(), Instant::now());
        for work in std::iter::once(first).chain(works.try_iter().take(APPLY_GROUP)) {
            match work {
                StateWork::Apply(step) => {
                    applied.restored |= matches!(step, Apply::Restore(_));
                    let asked =
                        matches!(&step, Apply::Batch { data, .. } if asks_for_comparison(data));
                    apply(&mut machine, step, node, &mut pace, &mut applied)?;
                    let index = machine.applied();
                    if index.is_multiple_of(SNAPSHOT_EVERY) && !applied.restored {
                        pace.take(&mut machine, save, core, node, Purpose::Compare)?;
                    } else if asked && !matches!(node.trust.get(), Standing::Parted(_)) {
                        let _ = save.send(Save::Finish(machine.draft(), Purpose::Doubt));
                    }
                    if pace.is_due() || machine.look().noted() > SNAPSHOT_EVERY_NOTES {
                        pace.take(&mut machine, save, core, node, Purpose::Restart)?;
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
                StateWork::Save(done) => match node.trust.get() {
                    Standing::Sound
                        if machine.applied().get() > node.figures.saved.load(Relaxed) =>
                    {
                        pace.begin();
                        let draft = reference(&mut machine, core, node)?;
                        let _ = save.send(Save::Keep(draft, done));
                    }
                    Standing::Sound => {
                        // Whoever asked may have gone.
                        let _ = done.send(false);
                    }
                    Standing::Doubtful(_) | Standing::Parted(_) => {}
                },
                StateWork::View(sender) => {
                    let _ = sender.send(machine.executor().view());
                }
            }
            if begun.elapsed() >= APPLY_GROUP_TIME {
                break;
            }
        }
        let index = machine.applied();
        // A snapshot that replaces a state that has parted may stand at the same index.
        if index > before || applied.restored {
            node.figures.applied.store(index.get(), Relaxed);
            applied.index = index;
            applied.links = machine.take_links();
            let _ = core.send(Input::Applied(applied));
            // Nobody waits for this: without it the next process would execute the entries again.
            retry(core, &node.figures, || {
                machine.commit().map_err(LogError::Database)
            })?;
        }
    }
    Ok(())
}

/// A snapshot to begin from after a restart.
fn reference(
    machine: &mut Machine<Database>,
    core: &Sender<Input>,
    node: &Node,
) -> Result<Draft<Content>, Fault> {
    let mut draft = None;
    retry(core, &node.figures, || {
        draft = Some(machine.draft_reference().map_err(LogError::Database)?);
        Ok(())
    })?;
    // It is there, unless the above failed.
    Ok(draft.unwrap_or_else(|| machine.draft()))
}

/// Applies one step, unless it is an entry to be skipped.
fn apply(
    machine: &mut Machine<Database>,
    step: Apply,
    node: &Node,
    pace: &mut Pace,
    applied: &mut Applied,
) -> Result<(), Fault> {
    let begun = Instant::now();
    let mut bytes = 0;
    if let Apply::Batch { index, data, .. } = &step {
        bytes = data.len();
        machine.skip(&node.applying.begin(*index, data));
    }
    let restores = matches!(step, Apply::Restore(_));
    applied.executed.append(&mut machine.apply(step)?);
    // The leader's snapshot has all pages once more, and would be read as a whole at the next start.
    pace.is_owed |= restores && machine.look().shelf().is_some();
    node.applying.end();
    pace.applied(bytes, begun.elapsed());
    Ok(())
}

/// When the next snapshot is due.
#[derive(Default)]
struct Pace {
    /// Bytes of the entries applied since the last one.
    bytes: usize,
    /// How long that took.
    time: Duration,
    /// The last one's size, bytes.
    size: usize,
    /// One is due as soon as the state can be trusted.
    is_owed: bool,
}

impl Pace {
    fn applied(&mut self, bytes: usize, time: Duration) {
        self.bytes += bytes;
        self.time += time;
    }

    fn is_due(&self) -> bool {
        let writing = Duration::from_secs((self.size / SNAPSHOT_BYTES_A_SECOND) as u64);
        self.is_owed
            || self.bytes >= SNAPSHOT_EVERY_BYTES.max(self.size)
            || self.time >= SNAPSHOT_EVERY_TIME.max(writing)
    }

    /// Counts from here on.
    fn begin(&mut self) {
        (self.bytes, self.time) = (0, Duration::ZERO);
    }

    /// Takes a snapshot, unless the state is not to be trusted.
    fn take(
        &mut self,
        machine: &mut Machine<Database>,
        save: &Sender<Save>,
        core: &Sender<Input>,
        node: &Node,
        purpose: Purpose,
    ) -> Result<(), Fault> {
        self.begin();
        let purpose = match node.trust.get() {
            Standing::Sound => purpose,
            // Contents that agree end the doubt; until then this one is not kept.
            Standing::Doubtful(_) if purpose == Purpose::Compare => Purpose::Doubt,
            Standing::Doubtful(_) | Standing::Parted(_) => return Ok(()),
        };
        self.is_owed = false;
        let draft = reference(machine, core, node)?;
        self.size = draft.size();
        let _ = save.send(Save::Finish(draft, purpose));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_after_much_to_read_or_long_work_and_large_ones_are_rare() {
        let mut pace = Pace::default();
        pace.applied(SNAPSHOT_EVERY_BYTES - 1, SNAPSHOT_EVERY_TIME / 2);
        assert!(!pace.is_due());
        pace.applied(1, Duration::ZERO);
        assert!(pace.is_due());
        pace.begin();
        assert!(!pace.is_due());
        pace.applied(1, SNAPSHOT_EVERY_TIME / 2);
        pace.applied(1, SNAPSHOT_EVERY_TIME / 2);
        assert!(pace.is_due());
        // A gigabyte.
        pace.begin();
        pace.size = 20 * SNAPSHOT_BYTES_A_SECOND;
        pace.applied(SNAPSHOT_EVERY_BYTES, Duration::from_secs(19));
        assert!(!pace.is_due());
        pace.applied(0, Duration::from_secs(1));
        assert!(pace.is_due());
    }
}
