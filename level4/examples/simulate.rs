//! Runs the simulation of whole clusters (`tests/simulation.rs`) over many seeds, on all cores: for a night,
//! and on a machine that has nothing but this file.
//!
//! ```sh
//! cargo run --release -p level4 --example simulate -- --seeds 0..1000000
//! target/release/examples/simulate --seeds 0..1000000 --threads 16 --minutes 60
//! ```
//!
//! Ends with status 1 at the first seed that fails, and the command that replays it.

#[path = "../tests/simulated/mod.rs"]
mod simulated;

use std::num::NonZero;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use simulated::cluster::{Cluster, Summary};

/// Simulates a cluster for each of many seeds.
#[derive(Parser)]
#[command(after_help = "Examples:
  simulate --seeds 0..20000
  simulate --seeds 0..1000000 --threads 16 --minutes 60")]
struct Flags {
    /// Which seeds: from the first to before the second
    #[arg(long, value_parser = seeds, value_name = "FROM..TO", default_value = "0..10000")]
    seeds: Range<u64>,
    /// Threads; all cores' if not given
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// Stop after so many minutes, with the seeds that are done by then
    #[arg(long)]
    minutes: Option<f64>,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || "give two numbers, the smaller one first: 0..1000".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) if from < to => Ok(from..to),
        _ => Err(wrong()),
    }
}

/// What the threads share.
struct Run {
    seeds: Range<u64>,
    next: AtomicU64,
    done: AtomicU64,
    ends: AtomicBool,
    failed: Mutex<Vec<u64>>,
}

impl Run {
    fn work(&self) -> Summary {
        let mut sum = Summary::default();
        while !self.ends.load(Relaxed) {
            let seed = self.next.fetch_add(1, Relaxed);
            if seed >= self.seeds.end {
                break;
            }
            let ran = panic::catch_unwind(AssertUnwindSafe(|| Cluster::new(seed).run()));
            if let Ok(summary) = ran {
                sum += summary;
            } else {
                self.ends.store(true, Relaxed);
                if let Ok(mut failed) = self.failed.lock() {
                    failed.push(seed);
                }
            }
            self.done.fetch_add(1, Relaxed);
        }
        sum
    }

    /// Tells how far it is, until it is done or the time is over.
    fn watch(&self, limit: Option<Duration>) {
        let (start, total) = (Instant::now(), self.seeds.end - self.seeds.start);
        let mut told = start;
        loop {
            thread::sleep(Duration::from_millis(50));
            let (done, elapsed) = (self.done.load(Relaxed), start.elapsed());
            let ends = done >= total || self.ends.load(Relaxed);
            if ends || told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                let (seconds, a_minute) = (
                    elapsed.as_secs(),
                    done as f64 * 60.0 / elapsed.as_secs_f64(),
                );
                eprintln!("{seconds} s: {done} of {total} seeds, {a_minute:.0} a minute");
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

fn main() -> ExitCode {
    let flags = Flags::parse();
    let threads = flags
        .threads
        .or_else(|| thread::available_parallelism().ok());
    let run = Run {
        next: AtomicU64::new(flags.seeds.start),
        seeds: flags.seeds,
        done: AtomicU64::new(0),
        ends: AtomicBool::new(false),
        failed: Mutex::default(),
    };
    let limit = flags
        .minutes
        .map(|minutes| Duration::try_from_secs_f64(60.0 * minutes).unwrap_or(Duration::MAX));
    let mut sum = Summary::default();
    thread::scope(|scope| {
        let count = threads.map_or(1, NonZero::get);
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(|| run.work())).collect();
        run.watch(limit);
        for summary in threads.into_iter().filter_map(|thread| thread.join().ok()) {
            sum += summary;
        }
    });
    let failed = run.failed.into_inner().unwrap_or_default();
    println!("{} seeds: {sum:?}", run.done.into_inner());
    for seed in &failed {
        let next = seed + 1;
        println!("seed {seed} failed; replay with: simulate --seeds {seed}..{next} --threads 1");
    }
    ExitCode::from(u8::from(!failed.is_empty()))
}
