//! Many seeds on all cores: progress, failures with the seeds that replay them, and a sum.

use std::num::NonZero;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, Summary};

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(20);
/// Between two lines of progress.
const TELL: Duration = Duration::from_secs(10);
/// The run ends at so many failed seeds.
const FAILURES: usize = 8;

/// What the threads of a run share.
pub struct Run {
    seeds: Range<u64>,
    next: AtomicU64,
    done: AtomicU64,
    ends: AtomicBool,
    failed: Mutex<Vec<u64>>,
}

/// How a run ended.
pub struct Outcome {
    /// Seeds that were run.
    pub count: u64,
    /// Those of them that failed.
    pub failed: Vec<u64>,
    /// What the others came by.
    pub sum: Summary,
}

impl Run {
    /// Of these seeds.
    pub fn new(seeds: Range<u64>) -> Self {
        Self {
            next: AtomicU64::new(seeds.start),
            seeds,
            done: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            failed: Mutex::default(),
        }
    }

    /// Runs them on so many threads (`None`: as many as there are cores), for no longer than `limit`.
    /// `tell` is given a line whenever some time has passed, and one for each seed that fails.
    pub fn run(
        self,
        threads: Option<NonZero<usize>>,
        limit: Option<Duration>,
        tell: impl Fn(String),
    ) -> Outcome {
        let threads = threads.or_else(|| thread::available_parallelism().ok());
        let mut sum = Summary::default();
        thread::scope(|scope| {
            let count = threads.map_or(1, NonZero::get);
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(|| self.work())).collect();
            self.watch(limit, tell);
            for summary in threads.into_iter().filter_map(|thread| thread.join().ok()) {
                sum += summary;
            }
        });
        let mut failed = self.failed.into_inner().unwrap_or_default();
        failed.sort_unstable();
        let count = self.done.into_inner();
        Outcome { count, failed, sum }
    }

    fn work(&self) -> Summary {
        let mut sum = Summary::default();
        while !self.ends.load(Relaxed) {
            let seed = self.next.fetch_add(1, Relaxed);
            if seed >= self.seeds.end {
                break;
            }
            let ran = panic::catch_unwind(AssertUnwindSafe(|| Cluster::new(seed).run()));
            match (ran, self.failed.lock()) {
                (Ok(summary), _) => sum += summary,
                (Err(_), Ok(mut failed)) => {
                    failed.push(seed);
                    let enough = failed.len() >= FAILURES;
                    self.ends.fetch_or(enough, Relaxed);
                }
                (Err(_), Err(_)) => self.ends.store(true, Relaxed),
            }
            self.done.fetch_add(1, Relaxed);
        }
        sum
    }

    /// Tells how far it is, until it is done or the time is over.
    fn watch(&self, limit: Option<Duration>, tell: impl Fn(String)) {
        let (start, total) = (Instant::now(), self.seeds.end - self.seeds.start);
        let mut told = start;
        let mut told_failed = 0;
        loop {
            thread::sleep(LOOK);
            let (done, elapsed) = (self.done.load(Relaxed), start.elapsed());
            let ends = done >= total || self.ends.load(Relaxed);
            let failed = self
                .failed
                .lock()
                .map_or_else(|_| Vec::new(), |f| f.clone());
            for seed in failed.get(told_failed..).unwrap_or_default() {
                tell(format!("seed {seed} failed"));
            }
            told_failed = failed.len();
            if told.elapsed() >= TELL || ends && told > start {
                told = Instant::now();
                let seconds = elapsed.as_secs();
                let a_minute = done as f64 * 60.0 / elapsed.as_secs_f64();
                tell(format!(
                    "{seconds} s: {done} of {total} seeds, {a_minute:.0} a minute, {told_failed} failed"
                ));
            }
            if limit.is_some_and(|limit| elapsed >= limit) {
                self.ends.store(true, Relaxed);
            }
            if ends {
                return;
            }
        }
    }
}
