//! Whole clusters in virtual time: real cores, logs and state machines over a simulated network that
//! drops, delays, duplicates, reorders and partitions, and simulated disks that lose what was not
//! synced. One seed decides everything; a failing one prints the command that replays it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod simulated;

use simulated::cluster::Cluster;

/// Seeds run by default; `LEVEL4_SEEDS=FROM..TO` runs others.
const SEEDS: std::ops::Range<u64> = 0..400;

fn seeds() -> std::ops::Range<u64> {
    let Ok(range) = std::env::var("LEVEL4_SEEDS") else {
        return SEEDS;
    };
    let (from, to) = range.split_once("..").expect("LEVEL4_SEEDS is FROM..TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn every_request_runs_exactly_once_and_in_one_order_through_faults() {
    let mut answered = 0;
    for seed in seeds() {
        match std::panic::catch_unwind(|| Cluster::new(seed).run()) {
            Ok(count) => answered += count,
            Err(panic) => {
                eprintln!(
                    "replay with: LEVEL4_SEEDS={seed}..{} cargo test -p level4 --test simulation",
                    seed + 1
                );
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(
        answered as u64 > 10 * (seeds().end - seeds().start),
        "only {answered} requests answered"
    );
}
