//! Threads that search until one of them finds something or somebody calls a halt.
//!
//! Rows are handed out from one counter, a kernel's table of them at a time, so that threads of
//! any speed share the work and no nonce is tried twice. Threads look at the halt after every
//! column: a few microseconds.

#[cfg(feature = "gpu")]
use crate::kernel::gpu::{Device, GpuKernel};
use crate::kernel::{Backend, Batch, Kernel, KernelError, Sink};
use crate::search::{Find, Question};
use crate::template::{COLUMNS, Nonce, ROWS};
use std::fmt;
use std::ops::ControlFlow;
#[cfg(feature = "gpu")]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Who searches: a kernel on some threads of the processor, a graphics processor, or both.
#[derive(Clone, Debug)]
pub struct Crew {
    backend: Backend,
    threads: usize,
    #[cfg(feature = "gpu")]
    device: Option<Arc<Device>>,
}

impl Crew {
    /// A kernel on so many threads (at least one) of the processor.
    pub fn processor(backend: Backend, threads: usize) -> Self {
        Self {
            backend,
            threads: threads.max(1),
            #[cfg(feature = "gpu")]
            device: None,
        }
    }

    /// A graphics processor alone.
    #[cfg(feature = "gpu")]
    pub fn device(device: Arc<Device>) -> Self {
        Self {
            backend: Backend::Scalar,
            threads: 0,
            device: Some(device),
        }
    }

    /// The same threads, and a graphics processor beside them.
    #[cfg(feature = "gpu")]
    #[must_use]
    pub fn and_device(self, device: Arc<Device>) -> Self {
        Self {
            device: Some(device),
            ..self
        }
    }

    /// The backend of the processor's threads.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Threads of the processor that search; zero where a graphics processor works alone.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// A kernel for each who searches, the graphics processor's first.
    ///
    /// # Errors
    /// The processor, or the graphics processor, cannot do what the crew is made for.
    pub fn kernels(&self) -> Result<Vec<Box<dyn Kernel>>, KernelError> {
        let mut kernels: Vec<Box<dyn Kernel>> = Vec::new();
        #[cfg(feature = "gpu")]
        if let Some(device) = &self.device {
            kernels.push(Box::new(GpuKernel::new(device)?));
        }
        for _ in 0..self.threads {
            kernels.push(self.backend.kernel()?);
        }
        Ok(kernels)
    }
}

impl fmt::Display for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "gpu")]
        if let Some(device) = &self.device {
            write!(f, "{}", device.info())?;
            if self.threads > 0 {
                f.write_str(" and ")?;
            }
        }
        match self.threads {
            0 => Ok(()),
            1 => write!(f, "{} on 1 thread", self.backend),
            threads => write!(f, "{} on {threads} threads", self.backend),
        }
    }
}

/// What a race shares with those who watch it.
#[derive(Debug, Default)]
pub struct Control {
    halted: AtomicBool,
    tried: AtomicU64,
}

/// How a race ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RaceEnd {
    /// A commit was found.
    Found(Find),
    /// Somebody called [`Control::halt`], or the watcher said to stop.
    Halted,
    /// All 2^64 nonces were tried.
    Exhausted,
}

impl Control {
    /// Stops the race that is on, or the next one.
    pub fn halt(&self) {
        self.halted.store(true, Ordering::Release);
    }

    /// Lets races run again.
    pub fn resume(&self) {
        self.halted.store(false, Ordering::Release);
    }

    /// How many nonces have been tried, in all races together.
    pub fn tried(&self) -> u64 {
        self.tried.load(Ordering::Relaxed)
    }

    fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Acquire)
    }
}

/// How often the watcher of a race is called.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

/// How many nonces a thread tries between two additions to the common count.
const COUNT_INTERVAL: u64 = 1 << 16;

/// Searches until a find, a halt or the end of all nonces. Meanwhile `watch` is called several
/// times a second on the calling thread; it may end the race.
pub fn race(
    question: &Question,
    crew: &Crew,
    control: &Control,
    watch: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<RaceEnd, KernelError> {
    let kernels = crew.kernels()?;
    // Set by the first find and by a halt: the threads' own reason to stop.
    let over = AtomicBool::new(false);
    let next_row = AtomicU64::new(0);
    let mut end = RaceEnd::Exhausted;
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for mut kernel in kernels {
            let (sender, over, next_row) = (sender.clone(), &over, &next_row);
            scope.spawn(move || {
                let mut racer = Racer {
                    question,
                    control,
                    over,
                    find: None,
                    uncounted: 0,
                };
                racer.run(kernel.as_mut(), next_row);
                // The receiver lives until all senders are gone.
                let _ = sender.send(racer.find);
            });
        }
        drop(sender);
        loop {
            match receiver.recv_timeout(WATCH_INTERVAL) {
                Ok(Some(find)) => end = RaceEnd::Found(find),
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
    if end == RaceEnd::Exhausted && control.is_halted() {
        end = RaceEnd::Halted;
    }
    Ok(end)
}

/// One thread's part in a race.
struct Racer<'a> {
    question: &'a Question,
    control: &'a Control,
    over: &'a AtomicBool,
    find: Option<Find>,
    uncounted: u64,
}

impl Racer<'_> {
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
            if kernel.scan(self.question.job(), &batch, self).is_break() {
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

impl Sink for Racer<'_> {
    fn candidate(&mut self, nonce: Nonce) -> ControlFlow<()> {
        self.find = self.question.check(nonce);
        if self.find.is_none() {
            return ControlFlow::Continue(());
        }
        self.over.store(true, Ordering::Release);
        ControlFlow::Break(())
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
    use super::*;
    use crate::commit::Commit;
    use crate::target::Target;
    use crate::template::CommitTemplate;

    fn question(difficulty: &str) -> Question {
        let text = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                    author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nTitle\n";
        let template = CommitTemplate::new(&Commit::parse(text.as_bytes()).unwrap(), 3);
        Question::new(template, Target::below(difficulty).unwrap())
    }

    fn crew(threads: usize) -> Crew {
        Crew::processor(Backend::Scalar, threads)
    }

    #[test]
    fn a_find_ends_the_race() {
        let control = Control::default();
        for threads in [1, 3] {
            let question = question("0001");
            let end = race(&question, &crew(threads), &control, &mut || {
                ControlFlow::Continue(())
            });
            let Ok(RaceEnd::Found(find)) = end else {
                panic!("{end:?}")
            };
            assert!(find.id.to_string().starts_with("0000"));
        }
    }

    #[test]
    fn a_halt_ends_the_race_and_resuming_allows_another() {
        let control = Control::default();
        let hopeless = question(&format!("{}1", "0".repeat(39)));
        let mut stop = || ControlFlow::Break(());
        assert_eq!(
            race(&hopeless, &crew(2), &control, &mut stop),
            Ok(RaceEnd::Halted)
        );
        assert!(control.tried() > 0);
        let mut go_on = || ControlFlow::Continue(());
        assert_eq!(
            race(&question("0001"), &crew(2), &control, &mut go_on),
            Ok(RaceEnd::Halted)
        );
        control.resume();
        let end = race(&question("0001"), &crew(2), &control, &mut go_on);
        assert!(matches!(end, Ok(RaceEnd::Found(_))));
    }
}
