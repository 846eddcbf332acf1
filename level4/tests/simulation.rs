//! Whole clusters in virtual time: real cores, logs and state machines over a simulated network that
//! drops, delays, duplicates, reorders and partitions, and simulated disks that lose what was not
//! synced. One seed decides everything; a failing one prints the command that replays it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod simulated;

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use simulated::cluster::{Cluster, Summary};

/// Seeds run by default; `LEVEL4_SEEDS=FROM..TO` runs others.
const SEEDS: std::ops::Range<u64> = 0..400;

fn seeds() -> std::ops::Range<u64> {
    let Ok(range) = std::env::var("LEVEL4_SEEDS") else {
        return SEEDS;
    };
    let (from, to) = range.split_once("..").expect("LEVEL4_SEEDS is FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// Runs seeds on as many threads as there are processors.
fn run(seeds: std::ops::Range<u64>) -> Summary {
    let next = AtomicU64::new(seeds.start);
    let workers = std::thread::available_parallelism().map_or(2, NonZero::get);
    let work = || {
        let mut sum = Summary::default();
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                return sum;
            }
            match std::panic::catch_unwind(|| Cluster::new(seed).run()) {
                Ok(summary) => sum += summary,
                Err(panic) => {
                    let command = "cargo test -p level4 --test simulation";
                    eprintln!("replay with: LEVEL4_SEEDS={seed}..{} {command}", seed + 1);
                    std::panic::resume_unwind(panic);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut sum = Summary::default();
        for thread in threads {
            match thread.join() {
                Ok(summary) => sum += summary,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        sum
    })
}

#[test]
fn every_request_runs_exactly_once_and_in_one_order_through_faults() {
    let seeds = seeds();
    let count = seeds.end - seeds.start;
    let sum = run(seeds);
    println!("{count} seeds: {sum:?}");
    assert!(sum.answered > 10 * count, "{sum:?}");
    if count >= 100 {
        // It all happens, and is found.
        assert!(
            sum.parted > 0 && sum.skipped > 0 && sum.replaced > 0,
            "{sum:?}"
        );
    }
}
