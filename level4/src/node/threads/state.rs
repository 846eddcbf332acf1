//! The state thread: applies committed entries to the database, hands reads on,
//! takes snapshots.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::super::fault::Fault;
use super::super::{Node, locked};
use super::room::{FULL_DISK_PAUSE, Room};
use super::snapshot::{Purpose, Save};
use super::{Input, StateWork, now_ms};
use crate::consensus::{Applied, Apply, Standing, asks_for_comparison};
use crate::database::{Content, Database, Read, Readers};
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
    machine: Machine<Database>,
    works: &Receiver<StateWork>,
    core: &Sender<Input>,
    save: &Sender<Save>,
    node: &Node,
) -> Result<(), Fault> {
    let readers = Readers::start().map_err(|cause| Fault::NoThread {
        thread: "reader",
        cause,
    })?;
    node.applying.watch(machine.place());
    let mut state = State {
        machine,
        readers,
        pace: Pace::default(),
        owed: None,
        room: Room::new(core, &node.figures),
        later: VecDeque::new(),
        core,
        save,
        node,
    };
    while let Ok(first) = state.wait(works) {
        let mut applied = Applied::default();
        let (before, begun) = (state.machine.applied(), Instant::now());
        let (mut next, mut count) = (first, 0);
        while let Some(work) = next {
            state.take(work, &mut applied)?;
            count += 1;
            let has_time = count < APPLY_GROUP && begun.elapsed() < APPLY_GROUP_TIME;
            next = if has_time { state.look(works) } else { None };
        }
        let index = state.machine.applied();
        // A snapshot that replaces a state that has parted may stand at the same index.
        if index > before || applied.restored {
            node.figures.applied.store(index.get(), Relaxed);
            node.figures.applied_at.store(now_ms(), Relaxed);
            applied.index = index;
            applied.links = state.machine.take_links();
            let _ = core.send(Input::Applied(applied));
            state.settle()?;
        } else if state.room.is_due() {
            state.settle()?;
        }
    }
    Ok(())
}

/// The state, and what it is doing.
struct State<'a> {
    machine: Machine<Database>,
    readers: Readers,
    pace: Pace,
    /// A snapshot of this entry that found no room.
    owed: Option<Purpose>,
    room: Room<'a>,
    /// What waits until there is room, as more may not be applied before that. Reads that may come before it do not.
    later: VecDeque<StateWork>,
    core: &'a Sender<Input>,
    save: &'a Sender<Save>,
    node: &'a Node,
}

impl State<'_> {
    /// The next work; nothing, if it is time to look for room again.
    fn wait(&mut self, works: &Receiver<StateWork>) -> Result<Option<StateWork>, RecvError> {
        if !self.room.is_full() {
            let next = self.later.pop_front();
            return next.map_or_else(|| works.recv().map(Some), |work| Ok(Some(work)));
        }
        match works.recv_timeout(FULL_DISK_PAUSE) {
            Ok(work) => Ok(Some(work)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(RecvError),
        }
    }

    /// The next work, if there is any.
    fn look(&mut self, works: &Receiver<StateWork>) -> Option<StateWork> {
        let late = if self.room.is_full() {
            None
        } else {
            self.later.pop_front()
        };
        late.or_else(|| works.try_recv().ok())
    }

    /// Does it, or puts it off.
    fn take(&mut self, work: StateWork, applied: &mut Applied) -> Result<(), Fault> {
        let waits = match &work {
            StateWork::Apply(_) | StateWork::Save(_) => self.room.is_full(),
            // It has to see what came before it.
            StateWork::Read(_) => self.room.is_full() && self.later.iter().any(is_step),
            StateWork::ReadNow(_) | StateWork::Snapshot | StateWork::View(_) => false,
        };
        if waits {
            self.later.push_back(work);
            return Ok(());
        }
        match work {
            StateWork::Apply(step) => self.apply(step, applied)?,
            StateWork::Read(token) => {
                let waiting = locked(&self.node.reads).remove(&token);
                if let Some(read) = waiting {
                    self.read(read);
                }
            }
            StateWork::ReadNow(read) => self.read(read),
            StateWork::Snapshot => match self.node.trust.get() {
                Standing::Sound => {
                    let draft = self.machine.draft();
                    let _ = self.save.send(Save::Finish(draft, Purpose::Follower));
                }
                Standing::Doubtful(index) => {
                    let _ = self.save.send(Save::OfferSaved(index));
                }
                Standing::Parted(_) => {
                    let _ = self.core.send(Input::Offer(None));
                }
            },
            StateWork::Save(done) => self.save(done)?,
            StateWork::View(sender) => {
                let _ = sender.send(self.machine.executor().view());
            }
        }
        Ok(())
    }

    fn read(&mut self, read: Read) {
        let moment = self.machine.moment();
        self.readers
            .submit(self.machine.executor().view(), moment, read);
    }

    /// Applies one step, unless it is an entry to be skipped.
    fn apply(&mut self, step: Apply, applied: &mut Applied) -> Result<(), Fault> {
        let restores = matches!(step, Apply::Restore(_));
        applied.restored |= restores;
        let asked = matches!(&step, Apply::Batch { data, .. } if asks_for_comparison(data));
        let begun = Instant::now();
        let mut bytes = 0;
        if let Apply::Batch { index, data, .. } = &step {
            bytes = data.len();
            self.machine.skip(&self.node.applying.begin(*index, data));
        }
        applied.executed.append(&mut self.machine.apply(step)?);
        self.node.applying.end();
        let restored = &self.node.figures.restores;
        restored.fetch_add(u64::from(restores), Relaxed);
        self.pace.applied(bytes, begun.elapsed());
        let index = self.machine.applied();
        if index.is_multiple_of(SNAPSHOT_EVERY) && !applied.restored {
            self.snapshot(Purpose::Compare)?;
        } else if asked && !matches!(self.node.trust.get(), Standing::Parted(_)) {
            let draft = self.machine.draft();
            let _ = self.save.send(Save::Finish(draft, Purpose::Doubt));
        }
        let is_due = self.pace.is_due() || self.machine.look().noted() > SNAPSHOT_EVERY_NOTES;
        if is_due && self.owed.is_none() {
            self.snapshot(Purpose::Restart)?;
        }
        Ok(())
    }

    /// What is applied is to be found by the next process, and a snapshot that is owed taken. Nobody waits for
    /// this: without it the next process would execute the entries again.
    fn settle(&mut self) -> Result<(), Fault> {
        if let Some(purpose) = self.owed.take() {
            return self.snapshot(purpose);
        }
        let committed = self.machine.commit().map_err(LogError::Database);
        self.room.check(committed).map(drop)
    }

    /// Takes a snapshot, unless the state is not to be trusted.
    fn snapshot(&mut self, purpose: Purpose) -> Result<(), Fault> {
        self.pace.begin();
        let purpose = match self.node.trust.get() {
            Standing::Sound => purpose,
            // Contents that agree end the doubt; until then this one is not kept.
            Standing::Doubtful(_) if purpose == Purpose::Compare => Purpose::Doubt,
            Standing::Doubtful(_) | Standing::Parted(_) => return Ok(()),
        };
        match self.reference()? {
            Some(draft) => {
                self.pace.size = draft.size();
                let _ = self.save.send(Save::Finish(draft, purpose));
            }
            None => self.owed = Some(purpose),
        }
        Ok(())
    }

    /// An operator wants one.
    fn save(&mut self, done: oneshot::Sender<bool>) -> Result<(), Fault> {
        let saved = self.node.figures.saved.load(Relaxed);
        match self.node.trust.get() {
            Standing::Sound if self.machine.applied().get() > saved => {
                self.pace.begin();
                match self.reference()? {
                    Some(draft) => {
                        let _ = self.save.send(Save::Keep(draft, done));
                    }
                    None => self.later.push_front(StateWork::Save(done)),
                }
            }
            Standing::Sound => {
                // Whoever asked may have gone.
                let _ = done.send(false);
            }
            Standing::Doubtful(_) | Standing::Parted(_) => {}
        }
        Ok(())
    }

    /// A snapshot to begin from after a restart; `None`: there is no room.
    fn reference(&mut self) -> Result<Option<Draft<Content>>, Fault> {
        let draft = self.machine.draft_reference().map_err(LogError::Database);
        self.room.check(draft)
    }
}

fn is_step(work: &StateWork) -> bool {
    matches!(work, StateWork::Apply(_))
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
}

impl Pace {
    fn applied(&mut self, bytes: usize, time: Duration) {
        self.bytes += bytes;
        self.time += time;
    }

    fn is_due(&self) -> bool {
        let writing = Duration::from_secs((self.size / SNAPSHOT_BYTES_A_SECOND) as u64);
        self.bytes >= SNAPSHOT_EVERY_BYTES.max(self.size)
            || self.time >= SNAPSHOT_EVERY_TIME.max(writing)
    }

    /// Counts from here on.
    fn begin(&mut self) {
        (self.bytes, self.time) = (0, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Figures;
    use super::super::super::applying::Applying;
    use super::super::super::fixture::{NODE, entry, founding, step};
    use super::super::super::trust::Trust;
    use super::*;
    use crate::database::capture::Feed;
    use crate::database::{Cancel, ReadAnswer, death};
    use crate::statement::{Outcome, Statement, Statements, Value};
    use std::fs::File;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::sync::{Arc, Mutex, mpsc};

    /// A node of which only the state thread is at work, in `folder`.
    fn node(folder: &Path) -> Arc<Node> {
        Arc::new(Node {
            input: mpsc::channel().0,
            state: mpsc::channel().0,
            answers: Mutex::default(),
            reads: Mutex::default(),
            tokens: AtomicU64::new(0),
            applying: Applying::default(),
            trust: Trust::new(folder.to_owned(), None),
            _lock: File::create(folder.join("lock")).unwrap(),
            figures: Figures::default(),
            feed: Feed::default(),
        })
    }

    fn count() -> (Read, oneshot::Receiver<ReadAnswer>, Cancel) {
        let statement = Statement::plain("SELECT count(*) FROM t");
        Read::new(Statements::query(vec![statement]), 1, None)
    }

    fn counted(answer: oneshot::Receiver<ReadAnswer>) -> Value {
        match &answer.blocking_recv().unwrap().0[..] {
            [Outcome::Rows(rows)] => rows.values[0][0].clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn of_much_that_waits_at_once_nothing_is_left_out() {
        const ENTRIES: u64 = 3 * APPLY_GROUP as u64;
        let folder = tempfile::tempdir().unwrap();
        let node = node(folder.path());
        let (core, _inputs) = mpsc::channel();
        let (save, _saves) = mpsc::channel();
        let (work, works) = mpsc::channel();
        work.send(StateWork::Apply(founding(NODE))).unwrap();
        let sql = "CREATE TABLE IF NOT EXISTS t (a); INSERT INTO t VALUES (1)";
        for index in 2..ENTRIES + 2 {
            let step = step(&entry(index, sql));
            work.send(StateWork::Apply(step)).unwrap();
        }
        let (read, answer, _cancel) = count();
        work.send(StateWork::ReadNow(read)).unwrap();
        drop(work);
        let machine = Machine::new(Database::new().unwrap());
        run(machine, &works, &core, &save, &node).unwrap();
        assert_eq!(counted(answer), Value::Integer(ENTRIES as i64));
    }

    #[test]
    fn on_a_full_disk_reads_go_on_and_entries_wait() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(folder.path());
        let (core, inputs) = mpsc::channel();
        let (save, _saves) = mpsc::channel();
        let (work, works) = mpsc::channel();
        let full = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (node, full, folder) = (node.clone(), full.clone(), folder.path().join("database"));
            move || {
                let mut machine = Machine::new(Database::on_disk(&folder, NODE).unwrap());
                machine.recall(|_| None).unwrap();
                death::fill(full);
                run(machine, &works, &core, &save, &node).unwrap();
            }
        });
        work.send(StateWork::Apply(founding(NODE))).unwrap();
        let insert = "CREATE TABLE IF NOT EXISTS t (a); INSERT INTO t VALUES (1)";
        work.send(StateWork::Apply(step(&entry(2, insert))))
            .unwrap();
        let read_now = || {
            let (read, answer, _cancel) = count();
            work.send(StateWork::ReadNow(read)).unwrap();
            counted(answer)
        };
        assert_eq!(read_now(), Value::Integer(1));
        full.store(true, Relaxed);
        work.send(StateWork::Apply(step(&entry(3, insert))))
            .unwrap();
        // This one is applied, and cannot be noted.
        assert!(
            inputs
                .iter()
                .any(|input| matches!(input, Input::StepDown(None)))
        );
        assert!(node.figures.is_disk_full());
        work.send(StateWork::Apply(step(&entry(4, insert))))
            .unwrap();
        let (read, mut answer, _cancel) = count();
        locked(&node.reads).insert(7, read);
        work.send(StateWork::Read(7)).unwrap();
        assert_eq!(read_now(), Value::Integer(2));
        assert!(
            answer.try_recv().is_err(),
            "it has to see what came before it"
        );
        full.store(false, Relaxed);
        assert_eq!(counted(answer), Value::Integer(3));
        assert!(!node.figures.is_disk_full());
        drop(work);
        thread.join().unwrap();
        // The next process finds everything.
        let entries = [entry(2, insert), entry(3, insert), entry(4, insert)];
        let database = Database::on_disk(&folder.path().join("database"), NODE).unwrap();
        let mut machine = Machine::new(database);
        let founding = raft::eraftpb::Entry {
            index: 1,
            term: 1,
            entry_type: raft::eraftpb::EntryType::EntryConfChangeV2,
            ..Default::default()
        };
        let entries = || entries.iter().chain([&founding]);
        machine
            .recall(|index| entries().find(|entry| entry.index == index.get()))
            .unwrap();
        assert_eq!(machine.applied().get(), 4);
    }

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
