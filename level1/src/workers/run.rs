//! Threads that search until one of them has a match or somebody calls a halt.
//!
//! Rows are handed out from one counter, a kernel's table of them at a time, so that threads of
//! any speed share the search space and no nonce is tried twice. Threads look at the halt after
//! every column: a few microseconds.

use super::Workers;
use crate::job::{Job, Match};
use crate::kernel::{Batch, Kernel, KernelError, Sink};
use crate::nonce::{COLUMNS, Nonce, ROWS};
use std::mem;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What a search shares with those who watch it.
#[derive(Debug, Default)]
pub struct Control {
    halted: AtomicBool,
    tried: AtomicU64,
    notes: Mutex<Vec<String>>,
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A commit was found.
    Found(Match),
    /// Somebody called [`Control::halt`], or the watcher said to stop.
    Halted,
    /// All 2^64 nonces were tried.
    Exhausted,
}

impl Control {
    /// Stops the search that is on, or the next one.
    pub fn halt(&self) {
        self.halted.store(true, Ordering::Release);
    }

    /// Lets searches run again.
    pub fn resume(&self) {
        self.halted.store(false, Ordering::Release);
    }

    /// How many nonces have been tried, in all searches together.
    pub fn tried(&self) -> u64 {
        self.tried.load(Ordering::Relaxed)
    }

    /// What the workers have had to say since the last call, such as that a device has failed.
    pub fn take_notes(&self) -> Vec<String> {
        mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Acquire)
    }
}

/// How often the watcher of a search is called.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// How many nonces a thread tries between two additions to the common count.
const COUNT_INTERVAL: u64 = 1 << 16;

/// Searches until a match, a halt or the end of all nonces. Meanwhile `watch` is called several
/// times a second on the calling thread; it may end the search.
pub fn search(
    job: &Job,
    workers: &Workers,
    control: &Control,
    watch: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Outcome, KernelError> {
    let kernels = workers.kernels()?;
    // Set by the first match and by a halt: the threads' own reason to stop.
    let over = AtomicBool::new(false);
    let next_row = AtomicU64::new(0);
    let mut end = Outcome::Exhausted;
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for mut kernel in kernels {
            let (sender, over, next_row) = (sender.clone(), &over, &next_row);
            scope.spawn(move || {
                let mut worker = WorkerThread {
                    job,
                    control,
                    over,
                    found: None,
                    uncounted: 0,
                };
                worker.run(kernel.as_mut(), next_row);
                // The receiver lives until all senders are gone.
                let _ = sender.send(worker.found);
            });
        }
        drop(sender);
        loop {
            match receiver.recv_timeout(WATCH_INTERVAL) {
                Ok(Some(found)) => end = Outcome::Found(found),
                Ok(None) => {}
                Err(RecvTimeoutError::Timeout) => {
                    if watch().is_break() {
                        control.halt();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    if end == Outcome::Exhausted && control.is_halted() {
        end = Outcome::Halted;
    }
    Ok(end)
}

/// One thread's part in a search.
struct WorkerThread<'a> {
    job: &'a Job,
    control: &'a Control,
    over: &'a AtomicBool,
    found: Option<Match>,
    uncounted: u64,
}

impl WorkerThread<'_> {
    fn run(&mut self, kernel: &mut dyn Kernel, next_row: &AtomicU64) {
        let rows = kernel.rows_per_batch();
        loop {
            // The counter passes the end by one table a thread at most, so it cannot wrap.
            let first = next_row.fetch_add(rows, Ordering::Relaxed);
            if first >= ROWS {
                break;
            }
            let batch = Batch {
                rows: first..ROWS.min(first + rows),
                columns: 0..COLUMNS,
            };
            if kernel.scan(self.job.work(), &batch, self).is_break() {
                break;
            }
        }
        self.count();
    }

    fn count(&mut self) {
        self.control
            .tried
            .fetch_add(self.uncounted, Ordering::Relaxed);
        self.uncounted = 0;
    }
}

impl Sink for WorkerThread<'_> {
    fn candidate(&mut self, nonce: Nonce) -> ControlFlow<()> {
        self.found = self.job.check(nonce);
        if self.found.is_none() {
            return ControlFlow::Continue(());
        }
        self.over.store(true, Ordering::Release);
        ControlFlow::Break(())
    }

    fn note(&mut self, text: String) {
        let notes = self.control.notes.lock();
        notes.unwrap_or_else(PoisonError::into_inner).push(text);
    }

    fn progress(&mut self, tried: u64) -> ControlFlow<()> {
        self.uncounted += tried;
        if self.uncounted >= COUNT_INTERVAL {
            self.count();
        }
        if self.over.load(Ordering::Acquire) || self.control.is_halted() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Worker;
    use super::*;
    use crate::commit::Commit;
    use crate::kernel::Backend;
    use crate::target::Target;
    use crate::template::CommitTemplate;
    use std::num::NonZeroUsize;

    fn job(difficulty: &str) -> Job {
        let text = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                    author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nTitle\n";
        let template = CommitTemplate::new(&Commit::parse(text.as_bytes()).unwrap().in_a_line(), 3);
        Job::new(template, Target::below(difficulty).unwrap())
    }

    fn workers(threads: usize) -> Workers {
        Worker::cpu(Backend::Scalar, NonZeroUsize::new(threads).unwrap()).into()
    }

    #[test]
    fn a_match_ends_the_search() {
        let control = Control::default();
        for threads in [1, 3] {
            let job = job("0001");
            let end = search(&job, &workers(threads), &control, &mut || {
                ControlFlow::Continue(())
            });
            let Ok(Outcome::Found(found)) = end else {
                panic!("{end:?}")
            };
            assert!(found.id.to_string().starts_with("0000"));
        }
    }

    #[test]
    fn a_halt_ends_the_search_and_resuming_allows_another() {
        let control = Control::default();
        let hopeless = job(&format!("{}1", "0".repeat(39)));
        let mut stop = || ControlFlow::Break(());
        assert_eq!(
            search(&hopeless, &workers(2), &control, &mut stop),
            Ok(Outcome::Halted)
        );
        assert!(control.tried() > 0);
        let mut go_on = || ControlFlow::Continue(());
        assert_eq!(
            search(&job("0001"), &workers(2), &control, &mut go_on),
            Ok(Outcome::Halted)
        );
        control.resume();
        let end = search(&job("0001"), &workers(2), &control, &mut go_on);
        assert!(matches!(end, Ok(Outcome::Found(_))));
    }
}
